"""Wrong inputs of the commands: all told at once, a line each with its place, before a library is loaded."""

import json
import subprocess
import sys

import pytest
import yaml
from launching import environment

from mellama_train.cli import main
from mellama_train.recipe.problems import problem_of_output

QUICK = """
import sys
from mellama_train.cli import main
code = main(sys.argv[1:])
loaded = [name for name in ("torch", "transformers", "deepspeed", "peft", "datasets") if name in sys.modules]
print(code, *loaded)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model's folder of empty weights, and a sample file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"max_position_embeddings": 256}))
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "s.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    return tmp_path


def said(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("mellama-train: ") for line in lines), lines
    return [line.removeprefix("mellama-train: ") for line in lines]


def instruct(**changes):
    keys = {
        "model": {"path": "model"},
        "output": "run",
        "context": 64,
        "batch": {"rows": 4},
        "data": {"files": ["s.jsonl"]},
    }
    with open("r.yaml", "w") as file:
        yaml.safe_dump(keys | changes, file, sort_keys=False)
    return ("instruct", "r.yaml")


WRONG = """\
model: {path: modle/13b/final, chat_template: no.jinja}
context: 64
output: s.jsonl
batch: {rows: 4}
data:
  files: [s.jsonl, gone.jsonl, model, {dataset: ./gone}, {dataset: s.jsonl}]
  held_out: [a/s.jsonl, s.jsonl, empty.jsonl]
probe:
  tasks: [medqa, medqua, bionli]
best: {figure: perplexity/t}
"""


def test_everything_that_is_wrong_is_told_at_once(here, capsys):
    (here / "empty.jsonl").touch()
    (here / "r.yaml").write_text(WRONG)
    found = said(capsys, "instruct", "r.yaml")
    starts = [
        "r.yaml:1: model.path: there is no folder modle/13b/final",
        "r.yaml:1: model.chat_template: there is no file no.jinja",
        "r.yaml:6: data.files[1]: there is no file gone.jsonl",
        "r.yaml:6: data.files[2]: model is a folder; a data set in one is given as {dataset: model}",
        "r.yaml:6: data.files[3]: there is no folder gone",
        "r.yaml:6: data.files[4]: s.jsonl is a file; give it without dataset:",
        "r.yaml:7: data.held_out[0]: there is no file a/s.jsonl",
        "r.yaml:7: data.held_out[2]: empty.jsonl holds no sample",
        "r.yaml:7: data.held_out[1]: another held-out set is called s too",
        "r.yaml:10: best.figure: perplexity/t is no figure of this run, which has perplexity/empty, perplexity/s",
        "r.yaml:9: probe.tasks[1]: unknown task 'medqua'; did you mean medqa",
        "r.yaml:9: probe.tasks[2]: the data of bionli is not here",
        "r.yaml:3: output: s.jsonl is a file",
    ]
    assert len(found) == len(starts)
    for line, start in zip(found, starts, strict=True):
        assert line.startswith(start), line
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("pretrain", "p.yaml"),
        ("instruct", "i.yaml", "--set", "steps=-1"),
        ("instruct", "i.yaml", "--dry-run"),
        ("finetune", "--task", "pubmedq", "--model", "model"),
        ("finetune", "--task", "pubmedqa", "--model", "no/such/folder"),
        ("finetune", "--task", "pubmedqa", "--model", "model", "--set", "context=5000"),
        ("export", "nowhere", "--to", "out"),
        ("corpus", "build", "c.yaml"),
    ],
)
def test_nothing_is_loaded_for_it(here, arguments):
    recipe = "model: {path: no/such/folder}\noutput: run\nbatch: {rows: 4}\n"
    (here / "p.yaml").write_text(recipe + "data: {folder: nowhere}\n")
    (here / "i.yaml").write_text(recipe + "data: {files: [gone.jsonl]}\n")
    (here / "c.yaml").write_text("output: o\ntokenizer: {path: gone}\nsources:\n  a: {weight: 1, inputs: []}\n")
    done = subprocess.run(
        [sys.executable, "-c", QUICK, *arguments], capture_output=True, text=True, env=environment(), cwd=here
    )
    assert done.stdout.split() == ["2"], (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and all(
        line.startswith("mellama-train: ") for line in done.stderr.splitlines()
    )


def test_what_the_command_line_gives_is_called_by_its_option(here, capsys):
    asked = ("finetune", "--task", "pubmedq", "--model", "./modle", "--output", "s.jsonl", "--set", "seed=-1")
    assert said(capsys, *asked) == [
        "--set seed:1: seed: must be at least 0 and below 9,223,372,036,854,775,808, and is -1"
    ]
    found = said(capsys, *asked[:-2])
    assert [line.split(": ")[0] for line in found] == ["--model", "--task"]
    assert "there is no folder ./modle" in found[0] and "did you mean pubmedqa" in found[1]
    # What `--set` puts over an option is not the option's any more.
    assert said(capsys, *asked[:-2], "--set", "data.task=nope")[1].startswith("--set data.task:1: data.task: unknown")


@pytest.mark.parametrize("output", ["file", "file/below/it"])
def test_nothing_is_written_where_a_file_stands(output, tmp_path):
    (tmp_path / "file").write_text("")
    found = problem_of_output(tmp_path / output)
    assert found == f"{tmp_path / 'file'} is a file; give a folder, which need not be there"
    assert problem_of_output(tmp_path / "not" / "there") is None


def test_an_output_that_no_folder_can_be_is_told_first(here, capsys):
    found = said(capsys, *instruct(output="s.jsonl/run"))
    assert found == ["r.yaml:3: output: s.jsonl is a file; give a folder, which need not be there"]
    assert said(capsys, *instruct(output=" ")) == ["r.yaml:3: output is ' ', which is empty; give a path"]


def test_names_that_no_file_has_are_one_line_for_an_export(here, capsys):
    long = "a" * 300
    found = said(capsys, "export", long, "--to", long)
    assert found[0].startswith(f"{long} is no folder") and "has a name of more than 255 bytes" in found[1]


def test_the_context_is_held_against_the_model(here, capsys):
    assert said(capsys, *instruct(context=512)) == [
        "r.yaml:4: context: 512 is longer than the 256 positions that model knows"
    ]


def test_rows_that_the_ranks_cannot_share_are_told_first(here, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    (found,) = said(capsys, *instruct())
    assert found.startswith("r.yaml:5: batch: batch.rows 4 is no multiple of 3 ranks")


def test_a_configuration_of_deepspeed_is_looked_at(here, capsys):
    for content, problem in {
        "[1]": "is no JSON object",
        '{"zero_optimization": 3}': "zero_optimization in ds.json is no JSON object",
        '{"checkpoint": []}': "checkpoint in ds.json is no JSON object",
        '{"checkpoint": {"writer": {"decoupled": {}}}': "cannot read ds.json",
    }.items():
        (here / "ds.json").write_text(content)
        (found,) = said(capsys, *instruct(engine={"name": "deepspeed", "config": "ds.json"}))
        assert found.startswith("r.yaml:12: engine.config: ") and problem in found


def test_what_another_recipe_left_in_the_output_is_told_first(here, capsys):
    arguments = instruct()
    from mellama_train.recipe.stages import TuningRecipe
    from mellama_train.recipe.yaml_schema import as_json, load

    recipe = as_json(load(here / "r.yaml", TuningRecipe, [("seed", "7")]))
    step = here / "run" / "checkpoints" / "step-00000004"
    step.mkdir(parents=True)
    (step / "COMPLETE.json").write_text("{}")
    (step / "state.json").write_text(json.dumps({"recipe": recipe, "rows": {"samples": 1}}))
    problem = "made by another recipe: seed (7 → 0)"
    assert said(capsys, *arguments) == [
        f"r.yaml:3: output: run/checkpoints/step-00000004 was {problem}; go back to the old values, or choose another "
        "output for a new run"
    ]
    # One that is damaged will be passed over, so it does not count.
    state = (step / "state.json").read_text()
    (step / "state.json").write_text(state[:-9])
    from mellama_train.loop.resuming import problem_of
    from mellama_train.recipe.stages import MAY_CHANGE

    assert problem_of(load(here / "r.yaml", TuningRecipe), MAY_CHANGE) is None
    final = here / "run" / "final"
    final.mkdir()
    assert "of whose recipe nothing is known" in said(capsys, *arguments)[0]
    (final / "run.json").write_text(json.dumps({"recipe": recipe, "rows": {"samples": 1}}))
    assert f"run/final is there already, {problem}; choose another output, or remove it" in said(capsys, *arguments)[0]


def test_the_probe_has_the_figure_of_the_best_model(here, capsys):
    changes = {"probe": {"tasks": ["medqa"]}, "best": {"figure": "probe/pubmedqa"}}
    assert said(capsys, *instruct(**changes)) == [
        "r.yaml:13: best: probe/pubmedqa is no figure of this run; probe.tasks names medqa"
    ]


CORPUS = """\
output: s.jsonl
tokenizer: {path: model}
sources:
  medical: {weight: 3, inputs: [{format: text, path: gone}]}
  general:
    weight: 1
    inputs:
      - {format: jsonl, path: [s.jsonl, gone.jsonl]}
decontaminate: {tasks: [medqa, medqua, bionli]}
"""


def test_a_corpus_file_is_looked_at_before_a_build(here, capsys):
    pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
    (here / "c.yaml").write_text(CORPUS)
    found = said(capsys, "corpus", "build", "c.yaml")
    starts = [
        "c.yaml:1: output: s.jsonl is a file",
        "c.yaml:2: tokenizer: there is no model/tokenizer.json",
        "c.yaml:4: sources.medical.inputs[0].path: no file of the format text at gone",
        "c.yaml:8: sources.general.inputs[0].path[1]: no file of the format jsonl at gone.jsonl",
        "c.yaml:9: decontaminate.tasks[1]: unknown task 'medqua'",
        "c.yaml:9: decontaminate.tasks[2]: the test set of bionli is not prepared",
    ]
    assert len(found) == len(starts) and all(map(str.startswith, found, starts)), found
    for content in ("{", "[]", '{"model": 3}'):
        (here / "model" / "tokenizer.json").write_text(content)
        damaged = said(capsys, "corpus", "build", "c.yaml", "--set", "tokenizer.eos=</s>")
        assert "model/tokenizer.json is damaged" in damaged[1]


def test_an_import_is_looked_at_before_it_begins(here, capsys):
    pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
    asked = ("--source", "../x", "--tokenizer", "gone", "--access", "open", "--to", "s.jsonl", "--length", "-3")
    found = said(capsys, "corpus", "import", "model", *asked)
    assert [line.split(" ")[0] for line in found] == ["no", "--source:", "--tokenizer:", "--length:", "--to:"]


def test_an_instructions_file_is_looked_at_before_a_build(here, capsys):
    pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
    text = "output: o\nsources:\n  dolly: gone\n  alpaca: {path: [no1, no2]}\ndecontaminate: {tasks: [medqua]}\n"
    (here / "i.yaml").write_text(text)
    found = said(capsys, "instructions", "build", "i.yaml")
    assert [line.split(" ")[0] for line in found] == ["i.yaml:3:", "i.yaml:4:", "i.yaml:5:"]
    assert "dolly: no file at gone; get it from" in found[0] and not (here / "o").exists()
