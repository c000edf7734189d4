"""Every command that README and docs show is run, as far as it can be without internet, GPU and hours.

A command that cannot run has a reason: by its kind (`NOT_RUN`), or in the page, in the line above its block
(`<!-- not run: why -->`). What is run is the command as printed, with a tiny model or a small run in place of PATH, RUN
and the like, and one document of each task. All commands of ours are at least read by their command line.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_commands import OTHERS, PAGES, ROOT, SHELLS, blocks, commands, program_of

import mibe
from mibe.cli import main
from mibe.cli.main import parser

COMMANDS = [command for page in PAGES for command in commands(page)]

NOT_RUN = {
    r"^(make|\.ci/run|tox|nox)\b": "builds environments; .ci/run does it",
    r"^(pip|pipx|uv|uvx|git|hf|tar|ssh|export|docker|curl|cd)\b": "installs, fetches or sets up a machine",
    r"^(python3 -m venv|MIBE_DATA_DIR=carry)": "installs, fetches or sets up a machine",
    r"^(torchrun|accelerate|vllm)\b|--model vllm|--data-parallel": "several processes or a GPU's engine; tests/models",
    r"--model (openai|lm_eval:)|--judge (openai|hf):|judge openai|--model my-api": "asks a server; tests/models",
    r"(\bpretrained=|--model )[\w-]+/[\w.-]+": "a model of the hub; tests/docs/test_model_families.py reads it",
    r"^lm_eval\b|\bmibe lm-eval\b": "lm-eval's own command line; tests/harness/test_harness.py",
    r"^python src/eval.py": "the released code's command line; tests/cli/test_spellings.py",
    r"models.toml": "two large models; tests/cli/test_run_files.py",
    r"pretrained=me-llama|--model hf.*trust_remote_code": "a model of one's own, or a GPU; tests/cli/test_spellings.py",
    r"--to inspect": "wants the extra inspect; tests/interchange",
    r"--bartscore": "wants a run of summaries and an encoder; tests/reproduction",
    r"--data (notes|questions|triage)|data add": "tests/own runs own data",
    r"^mibe data (prepare|verify|download) \w+|^mibe check ddi": "wants an official download; tests/data",
    r"^mibe rate\b": "serves a page until it is ended; tests/rating",
    r"^mibe view\b": "serves pages until it is ended; tests/view",
    r"^mibe ratings\b|sqlite:": "wants ratings of people; tests/rating",
    r"^mibe plan\b": "lays out the documents of all tasks; tests/forecast/test_forecast.py",
    r"^mibe merge\b|--shard": "wants all shards of a run; tests/run/test_shards.py",
    r"^mibe pairs\b": "you bring the files; tests/analysis/test_pairs.py",
    r"--tasks nejm_cpc": "you bring the cases; tests/judge/test_judging.py",
    r"^mellama-train (train|pretrain|instruct|finetune|forgetting|export)\b": "trains; tests/mellama_train",
    r"^mellama-train (pairs|traces)\b": "wants a run over a train split, or makes one; tests/mellama_train/draws",
    r"\bnorms\b": "tests/mellama_train/trainers/test_add_a_trainer.py runs the page",
    r"mellama-train (corpus|instructions) (build|show|verify)": "builds a corpus; tests/mellama_train",
    r"^python examples/(demo_|leaderboard/\S+ --(models|format))": "scores or trains real models; make demo-train",
    r"--include triage.py|\btriage\b": "tests/tasks/test_add_a_dataset.py runs the page",
}  # fmt: skip
"""Pattern of a command → why it is not run, and who does what it does."""

IN_PLACE = (
    (r"(?<=pretrained=)(PATH_OR_HUB_NAME|PATH|FOLDER|NAME|before|after|…)", "model"),
    (r"\bRUN…", "runs/one"),
    (r"\bruns/RUN\b", "runs/one"),
    (r"\b(RUN|RUN_A|RUN_B)(?=$|[\s/\"])", "runs/one"),
)


def in_place(text):
    for pattern, here in IN_PLACE:
        text = re.sub(pattern, here, text)
    return text


def reason(command):
    """Why a command is not run; None where it is."""
    if command.mark is not None:
        return command.mark
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command.text)), None)


def runs(command):
    return reason(command) is None


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder as a user's may be: a model, runs, outputs, and the checkout's examples and recipes."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("examples", "recipes", "docs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "system.txt").write_text("You are a careful physician.\n", encoding="utf-8")
    ids = [example.id for example in mibe.examples(mibe.load_task("pubmedqa"), "test")]
    with (folder / "outputs.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": ident, "output": "yes"}) + "\n" for ident in ids)
    (folder / "outputs.csv").write_text("id,output\n" + "".join(f"{ident},yes\n" for ident in ids), encoding="utf-8")
    for rater, match in (("judge", True), ("physician", False)):
        rows = [{"id": str(n), "rank": 1, "match": match or n % 2 == 0} for n in range(6)]
        (folder / f"{rater}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(folder / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(folder / "data"))
        made = mibe.evaluate(
            model="dummy", tasks="pubmedqa,medqa", limit=4, resamples=50, output_dir=folder, progress=mibe.Silent()
        )
    (folder / "runs").mkdir()
    made.path.rename(folder / "runs" / "one")
    for name in ("one", "two"):
        shutil.copytree(folder / "runs" / "one", folder / "two-runs" / name)
    return folder


@pytest.fixture
def alone(world):
    """The same, of which each test finds one run."""
    yield world
    for path in (world / "runs").iterdir():
        if path.name != "one":
            shutil.rmtree(path)


@pytest.fixture(scope="module")
def model(world):
    """A tiny Llama that takes long prompts, in the folder `model`."""
    pytest.importorskip("torch")
    from tiny_llama import save_tiny_llama

    config = save_tiny_llama(world / "model") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 8192}))


def words_of(text, world):
    """The words of a command, with file patterns filled in and each run that it names made."""
    words = []
    for word in shlex.split(in_place(text)):
        is_read = re.fullmatch(r"runs/[\w.-]+", word) and words[-1] not in ("--output-dir", "--html")
        if is_read and not (world / word).exists():
            shutil.copytree(world / "runs" / "one", world / word)
        words += sorted(str(path.relative_to(world)) for path in world.glob(word)) if "*" in word else [word]
    return words


def written_by(words):
    """The file or folder that a command writes instead of printing, if it is told of one."""
    found = (words[at + 1] for at, word in enumerate(words) if word in ("--output", "--html"))
    return next((path.replace("{run}", "one") for path in found), None)


def small(words):
    """An evaluation of one document, and of what is here."""
    if words[:2] != ["mibe", "eval"]:
        return words
    if "--limit" in words:
        words[words.index("--limit") + 1] = "1"
    else:
        words += ["--limit", "1"]
    if "hf" in words and "--max-new-tokens" not in words:
        words += ["--max-new-tokens", "4"]
    return [*words, "--resamples", "20", *(["--skip-missing"] if "--skip-missing" not in words else [])]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=str(command)[:120], marks=[pytest.mark.slow] if "--model hf" in command.text else [])
        for command in COMMANDS
        if runs(command)
    ],
)
def test_it_runs(command, alone, request, monkeypatch, capsys):
    world = alone
    monkeypatch.chdir(world)
    if "--model hf" in command.text:
        request.getfixturevalue("model")
    program = program_of(command.text)
    if program == "mibe" and not set("|$>;&") & set(re.sub(r'"[^"]*"', "", command.text)):
        words = small(words_of(command.text, world))
        assert main(words[1:]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out or (world / written_by(words)).exists()
        return
    # Whatever else a shell has to read: the programs are those of this environment.
    programs = {"mibe": "-m mibe", "mellama-train": "-m mellama_train", "python": ""}
    shell = "".join(f'{name}() {{ "{sys.executable}" {how} "$@"; }}\n' for name, how in programs.items())
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell + in_place(command.text)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=str(command)[:120])
        for command in COMMANDS
        if program_of(command.text) == "mibe" and not runs(command) and "lm-eval" not in command.text
    ],
)
def test_what_is_not_run_is_read_by_the_command_line(command):
    text = re.sub(r"^(\w+=\S+\s+)+", "", command.text)
    parser().parse_args(shlex.split(re.sub(r"\[[^\]]*\]", "", text))[1:])


def test_every_reason_is_needed():
    unused = [pattern for pattern in NOT_RUN if not any(re.search(pattern, command.text) for command in COMMANDS)]
    assert not unused


def test_no_block_is_forgotten():
    """A fence says what it holds; and no line that begins with a program of ours stands in a block of another kind."""
    for page in PAGES:
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            assert block.language in SHELLS | OTHERS | {""}, f"{where}: say what the block holds, as ```console"
            if not block.has_commands:
                hidden = [row for row in block.rows if re.match(r"(\$ )?(mibe|mellama-train) [a-z-]+", row)]
                assert not hidden, f"{where}: commands stand in a block that is not ```console: {hidden[0]}"
    assert len(COMMANDS) > 100
    assert sum(runs(command) for command in COMMANDS) > 30


def test_blocks_are_read_as_they_stand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text.\n\n    mibe tasks   # all\n    A=1 mibe \\\n        show x\n\n<!-- not run: why -->\n"
        "```console\n$ mibe a 'b' # c\nprinted\n```\n\n```json\n{}\n```\n\n    a folder/\n",
        encoding="utf-8",
    )
    found = list(commands(page))
    assert [(command.line, command.text, command.mark) for command in found] == [
        (3, "mibe tasks", None),
        (4, "A=1 mibe show x", None),
        (9, "mibe a 'b'", "why"),
    ]
    assert [block.language for block in blocks(page)] == ["", "console", "json", ""]
    assert program_of("A=1 B=2 mibe x") == "mibe"
    assert Path(page).name == "page.md"
