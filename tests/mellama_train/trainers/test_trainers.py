"""Trainers of other packages: found, run, told of in one line where they do not work, and what they hand over."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from launching import environment

from mellama_train.cli import main
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import PluginError
from mellama_train.model import provenance
from mellama_train.model.provenance import Lineage, Source, Stage, TestSets
from mellama_train.trainers import registry
from mellama_train.trainers.contract import Trainer
from mellama_train.trainers.handover import finished_before, hand_over, received

COPYING = '''
"""A trainer whose model is a copy of the one that it begins with."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mellama_train.model.folders import problem_of
from mellama_train.model.provenance import Source
from mellama_train.recipe.problems import Problem
from mellama_train.recipe.ranges import Count
from mellama_train.trainers.contract import Trainer
from mellama_train.trainers.handover import finished_before, hand_over


@dataclass(frozen=True, kw_only=True)
class CopyRecipe:
    model: str
    output: Path
    copies: Count = 1
    lacks: str = ""
    access: str = "open"
    alone: bool = False


def problems(recipe):
    if problem := problem_of(recipe.model):
        yield Problem("model", problem)


def run(recipe, ranks):
    assert ranks.size == 1
    if final := finished_before(TRAINER, recipe):
        print("nothing left to do")
        return final
    final = recipe.output / "final"
    shutil.copytree(recipe.model, final)
    sources = [Source(name="letters", access=recipe.access)]
    hand_over(final, trainer=TRAINER, recipe=recipe, model=recipe.model, sources=sources, test_sets=None)
    for name in recipe.lacks.split():
        (final / name).unlink()
    return str(final) if recipe.lacks == " " else final


TRAINER = Trainer(
    name="copying", about="copies a model", reads="nothing", recipe=CopyRecipe, run=run, problems=problems
)
OWN = Trainer(
    name="own", about="has processes of its own", reads="nothing", recipe=CopyRecipe, run=run, own_processes=True
)
UNNAMED = Trainer(name="another", about="", reads="", recipe=CopyRecipe, run=run)


def raising(*_):
    raise ValueError("out of luck,\\nin two lines")


def ending(*_):
    raise SystemExit(0)


def nothing_said(*_):
    return None


FAILING = Trainer(name="failing", about="", reads="", recipe=CopyRecipe, run=raising, preview=raising, show=raising,
                  forecast=raising)
ENDING = Trainer(name="ending", about="", reads="", recipe=CopyRecipe, run=ending, problems=nothing_said)
QUIET = Trainer(name="quiet", about="", reads="", recipe=CopyRecipe, run=ending, preview=nothing_said,
                forecast=nothing_said)
NO_RECIPE = Trainer(name="norecipe", about="", reads="", recipe=dict, run=run)
'''

POINTS = """\
[mellama_train.trainers]
copying = copying:TRAINER
own = copying:OWN
unnamed = copying:UNNAMED
norecipe = copying:NO_RECIPE
function = copying:run
missing = copying:NOT_THERE
broken = broken:TRAINER
leaving = leaving:TRAINER
failing = copying:FAILING
ending = copying:ENDING
quiet = copying:QUIET
pretrain = copying:TRAINER
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A package with trainers that work and others that do not, in a folder of packages; and a model's folder."""
    site = tmp_path / "site"
    info = site / "copies-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: copies\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    (site / "copying.py").write_text(COPYING)
    (site / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    (site / "broken.py").write_text("raise ZeroDivisionError('on import,\\nin two lines')\n")
    model = tmp_path / "model"
    model.mkdir()
    for name, text in {"config.json": "{}", "model.safetensors": "", "tokenizer.json": "{}"}.items():
        (model / name).write_text(text)
    (tmp_path / "r.yaml").write_text("model: model\noutput: run\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    registry.forget_plugins()
    yield site
    registry.forget_plugins()


def said(capsys, *arguments):
    """The lines of a command that ends with 2."""
    assert main([*map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("mellama-train: ") for line in lines), lines
    return [line.removeprefix("mellama-train: ") for line in lines]


def test_all_trainers_are_listed_and_what_is_wrong_with_one_breaks_none(plugins, capsys):
    assert main(["trainers"]) == 0
    out, err = capsys.readouterr()
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines()[2:]]
    assert [(row[0], row[-1]) for row in rows] == [
        *((name, "mibe") for name in ("pretrain", "instruct", "finetune")),
        ("grpo", "mibe"),
        ("dpo", "mibe"),
        ("copying", "copies"),
        *((name, "copies") for name in ("own", "failing", "ending", "quiet")),
    ]
    assert rows[5] == ["copying", "copies a model", "nothing", "copies"]
    wrong = [line.removeprefix("mellama-train: the trainer ") for line in err.splitlines()]
    assert wrong == [
        "unnamed of copies (copying:UNNAMED) is no trainer: it calls itself 'another' (docs/add-a-trainer.md)",
        "norecipe of copies (copying:NO_RECIPE) is no trainer: its recipe is no dataclass with a field output "
        "(docs/add-a-trainer.md)",
        "function of copies (copying:run) is no trainer: it is a function, and should be a "
        "mellama_train.trainers.contract.Trainer (docs/add-a-trainer.md)",
        "missing of copies cannot be loaded: AttributeError: module 'copying' has no attribute 'NOT_THERE'",
        "broken of copies cannot be loaded: ZeroDivisionError: on import,",
        "leaving of copies cannot be loaded: it ends the process (SystemExit: 3), and should return or raise an error",
        "pretrain of copies is not used: its name is that of a trainer of mibe",
    ]


def test_the_list_wants_no_library_of_the_extra(monkeypatch, capsys):
    """What the base installation lacks is not there."""
    for name in ("yaml", "torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["trainers"]) == 0
    assert "finetune" in capsys.readouterr().out


def test_one_that_is_not_there_or_does_not_load_is_one_line(plugins, capsys):
    assert said(capsys, "train", "copyng", "r.yaml") == ["unknown trainer 'copyng'; did you mean copying?"]
    (line,) = said(capsys, "train", "broken", "r.yaml")
    assert line == "the trainer broken of copies cannot be loaded: ZeroDivisionError: on import,"
    # A plugin does not take the place of a trainer of this package.
    assert registry.find_trainer("pretrain").about == "continual pretraining on a corpus"


def test_a_plugin_s_recipe_is_read_like_any_other_and_nothing_heavy_is_loaded_for_it(plugins, capsys):
    Path("r.yaml").write_text("model: ./modle\noutput: r.yaml\ncopies: 0\ncopy: 1\n")
    assert said(capsys, "train", "copying", "r.yaml") == [
        "r.yaml:4: unknown key 'copy' in the file; did you mean copies?",
        "r.yaml:3: copies: must be at least 1, and is 0",
    ]
    Path("r.yaml").write_text("model: ./modle\noutput: r.yaml\n")
    code = (
        "import sys\nfrom mellama_train.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, *[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "train", "copying", "r.yaml", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.stdout == "2\n", done.stderr
    assert [line.split(": ", 3)[1:3] for line in done.stderr.splitlines()] == [
        ["r.yaml:1", "model"],
        ["r.yaml:2", "output"],
    ]


def test_a_dry_run_says_the_recipe_and_writes_nothing(plugins, capsys):
    assert main(["train", "copying", "r.yaml", "--dry-run", "--set", "copies=2"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "model": "model",
        "output": "run",
        "copies": 2,
        "lacks": "",
        "access": "open",
        "alone": False,
    }
    assert not Path("run").exists()
    assert said(capsys, "train", "copying", "r.yaml", "--show", 1) == [
        "--show: the trainer copying shows no documents; --dry-run says what it would do"
    ]
    assert said(capsys, "plan", "r.yaml", "--gpus", 1, "--gpu", "cpu", "--trainer", "copying") == [
        "the trainer copying makes no forecasts; start a short run of it, and measure"
    ]


def test_what_it_makes_has_a_record_and_is_not_made_twice(plugins, capsys):
    assert main(["train", "copying", "r.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "run/final\n"
    said_of_tests = "nobody looked for documents of test sets in its data; its scores there may be memory"
    assert err == f"mellama-train: run/final: {said_of_tests}\n"
    (stage,) = json.loads(Path("run/final/training.json").read_text())["stages"]
    assert (stage["trainer"], stage["about"], stage["recipe"]["output"]) == ("copying", "copies a model", "run")
    assert main(["train", "copying", "r.yaml"]) == 0
    assert capsys.readouterr().out == "nothing left to do\nrun/final\n"
    (line,) = said(capsys, "train", "copying", "r.yaml", "--set", "copies=3")
    other = "made by another recipe: copies (1 → 3); choose another output, or remove it"
    assert line == f"r.yaml:2: output: run/final is there already, {other}"


@pytest.mark.parametrize(
    ("lacks", "problem"),
    [
        ("config.json", "run/final holds no config.json, so it is no model in the Hugging Face format"),
        ("model.safetensors", "run/final holds no weights (*.safetensors or *.bin)"),
        ("tokenizer.json", "run/final has no tokenizer; save it beside the weights"),
        ("training.json", "run/final has no training.json; its run writes it by"),
    ],
)
def test_what_a_folder_lacks_is_refused(plugins, capsys, lacks, problem):
    (line,) = said(capsys, "train", "copying", "r.yaml", "--set", f"lacks={lacks}")
    assert line.startswith(f"the trainer copying hands over no model: {problem}")


def test_what_is_no_path_is_refused(plugins, capsys):
    (line,) = said(capsys, "train", "copying", "r.yaml", "--set", "lacks=' '")
    assert line == "the run of the trainer copying returned 'run/final', and should return the Path of a model's folder"


def test_data_of_unknown_access_is_said(plugins, capsys):
    assert main(["train", "copying", "r.yaml", "--set", "access=unknown"]) == 0
    first, _ = capsys.readouterr().err.splitlines()
    assert (
        first == "mellama-train: run/final: of letters no access level is recorded, so the model counts as restricted"
    )


def test_what_a_plugin_raises_is_one_line_with_its_place(plugins, capsys, monkeypatch):
    number = Path(plugins / "copying.py").read_text().splitlines().index("def raising(*_):") + 2
    registry.find_trainer("failing")
    where = f"({sys.modules['copying'].__file__}, line {number})"
    looks = {
        "run": ["train", "failing", "r.yaml"],
        "preview": ["train", "failing", "r.yaml", "--dry-run"],
        "show": ["train", "failing", "r.yaml", "--show", 1],
        "forecast": ["plan", "r.yaml", "--gpus", 1, "--gpu", "cpu", "--trainer", "failing"],
    }
    for name, command in looks.items():
        assert said(capsys, *command) == [
            f"{name} of the trainer failing of copies failed: ValueError: out of luck, {where}"
        ]
    (line,) = said(capsys, "train", "ending", "r.yaml")
    assert line.startswith("problems of the trainer ending of copies failed: TypeError: 'NoneType'")
    assert said(capsys, "train", "quiet", "r.yaml")[0].startswith(
        "run of the trainer quiet of copies failed: it ends the process (SystemExit: 0), and should return or raise"
    )
    nothing = "of the trainer quiet of copies returned nothing (docs/add-a-trainer.md)"
    for command in (["train", "quiet", "r.yaml", "--dry-run"], [*looks["forecast"][:-1], "quiet"]):
        assert said(capsys, *command)[0].endswith(nothing)
    # Its author sees all of it.
    monkeypatch.setattr(sys, "flags", SimpleNamespace(dev_mode=True))
    assert main(["train", "failing", "r.yaml"]) == 2
    told = capsys.readouterr().err
    assert "in two lines" in told and "Traceback" in told


def test_one_that_starts_its_own_processes_is_alone_and_refuses_a_launcher(plugins, capsys, monkeypatch):
    asked = []
    trainer = registry.find_trainer("own")
    monkeypatch.setattr(Ranks, "join", lambda: asked.append("joined"))
    assert main(["train", "own", "r.yaml"]) == 0 and not asked and trainer.own_processes
    monkeypatch.setenv("WORLD_SIZE", "2")
    capsys.readouterr()
    (line,) = said(capsys, "train", "own", "r.yaml", "--set", "output=elsewhere")
    assert line == "the trainer own starts its processes itself; run it without a launcher"


def test_a_recipe_says_whose_it_is(plugins, capsys):
    Path("r.yaml").write_text("trainer: copying\nmodel: model\noutput: run\n")
    assert main(["train", "copying", "r.yaml", "--dry-run"]) == 0
    assert "trainer" not in yaml.safe_load(capsys.readouterr().out)
    assert said(capsys, "train", "own", "r.yaml") == ["r.yaml:1: trainer is 'copying', and this is read as one of own"]
    assert said(capsys, "instruct", "r.yaml") == ["r.yaml:1: trainer is 'copying', and this is read as one of instruct"]
    (line,) = said(capsys, "plan", "r.yaml", "--gpus", 1, "--gpu", "cpu")
    assert line.startswith("the trainer copying makes no forecasts")
    assert said(capsys, "plan", "r.yaml", "--gpus", 1, "--gpu", "cpu", "--set", "trainer=copyin") == [
        "unknown trainer 'copyin'; did you mean copying?"
    ]


def test_the_stages_go_the_same_way_by_either_command(plugins, capsys):
    keys = "model: {path: ./gone}\noutput: run\nbatch: {rows: 4}\n"
    Path("i.yaml").write_text(keys + "data: {files: [gone.jsonl]}\n")
    Path("p.yaml").write_text(keys + "data: {folder: gone}\ntrainer: pretrain\n")
    Path("f.yaml").write_text(keys + "data: {task: pubmedq}\n")
    for command, recipe in (("instruct", ["i.yaml"]), ("pretrain", ["p.yaml"]), ("finetune", ["--recipe", "f.yaml"])):
        short = said(capsys, command, *recipe)
        assert said(capsys, "train", command, recipe[-1]) == short and len(short) == 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    output: Path
    rate: float = 0.5


TRAINER = Trainer(name="t", about="what t does", reads="", recipe=Recipe, run=lambda recipe, ranks: recipe.output)


def test_the_record_goes_on_with_what_the_first_model_learned_from(plugins):
    secret = Source(name="notes", access="credentialed", agreements=("DUA 1.5",))
    first = Stage(recipe={"model": {"path": "base"}}, steps=3, sources=(secret,))
    provenance.write(Path("model"), Lineage(origin="base", stages=(first,)))
    looked = TestSets(tasks=("pubmedqa", "medqa"), found=2, left_out=1)
    folder = Path("run/final")
    folder.mkdir(parents=True)
    for file in Path("model").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    recipe = Recipe(output=Path("run"))
    assert finished_before(TRAINER, recipe) is None
    hand_over(
        folder, trainer=TRAINER, recipe=recipe, model="model", sources=[], test_sets=looked, steps=7, about="more"
    )
    found = provenance.lineage("run/final")
    assert found.origin == "base" and found.stages[0] == first
    last = found.stages[1]
    assert (last.trainer, last.title, last.steps, last.test_sets) == ("t", "More", 7, looked)
    assert last.recipe == {"output": "run", "rate": 0.5}
    (note,) = received(TRAINER, folder)
    assert note == "run/final: no data is named in training.json, so the model counts as one of unknown data"
    assert finished_before(TRAINER, recipe) == folder
    assert finished_before(TRAINER, Recipe(output=Path("run"), rate=0.25)) is None
    (folder / "training.json").write_text('{"origin": "base", "stages": [{}]}')
    with pytest.raises(PluginError, match=r"run/final/training.json is damaged \(KeyError\)"):
        received(TRAINER, folder)


def test_sources_and_test_sets_of_files_are_those_of_the_manifest_beside_them(tmp_path):
    (tmp_path / "a.jsonl").touch()
    assert [s.access for s in provenance.file_sources([tmp_path / "a.jsonl"])] == ["unknown"]
    assert provenance.built_test_sets([tmp_path / "a.jsonl"]) is None
    manifest = {
        "sources": {"notes": {"access": "credentialed", "agreement": "DUA 1.5"}},
        "decontamination": {
            "tasks": {"pubmedqa": {}, "medqa": {}},
            "hits": {"medqa": {"hits": 5, "removed": 4}, "pubmedqa": {"hits": 1, "removed": 1}},
        },
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (source,) = provenance.file_sources([tmp_path / "a.jsonl"])
    assert source == Source(name="notes", access="credentialed", agreements=("DUA 1.5",))
    looked = TestSets(tasks=("medqa", "pubmedqa"), found=6, left_out=5)
    assert provenance.built_test_sets([tmp_path / "a.jsonl"]) == looked
    # One file of which nothing is known, and nothing is known of all.
    (tmp_path / "b").mkdir()
    assert provenance.built_test_sets([tmp_path / "a.jsonl", tmp_path / "b" / "c.jsonl"]) is None


def test_tasks_are_sources_with_their_terms():
    assert provenance.task_source("pubmedqa", weight=2) == Source(name="pubmedqa", access="open", weight=2)
    secret = provenance.task_source("i2b2")
    assert (secret.access, secret.agreements) == ("credentialed", ("n2c2 Data Use and Confidentiality Agreement",))
