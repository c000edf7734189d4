"""The example plugin: LLaMA-Factory by its command line, with a program of the same form in its place."""

import json
import stat
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="torch comes with the extra train")

from safetensors.numpy import load_file
from training_parts import make_model

from mellama_train.cli import main
from mellama_train.trainers import registry

ROOT = Path(__file__).resolve().parents[3]
FAKE = ROOT / "tests" / "helpers" / "fake_llama_factory.py"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The plugin as an installation leaves it, a program on the path, a model and two samples of an instruction set."""
    info = tmp_path / "site" / "mellama_llama_factory-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mellama-llama-factory\nVersion: 1.0\n")
    import tomllib

    project = tomllib.loads((ROOT / "examples" / "llama_factory" / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["mellama_train.trainers"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[mellama_train.trainers]", *lines]))
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "llama_factory"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry.forget_plugins()
    program = tmp_path / "bin" / "llamafactory-cli"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    make_model(tmp_path / "model")
    (tmp_path / "set").mkdir()
    lines = [
        {"instruction": "Add.", "input": "1 and 1", "output": "2"},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]},
    ]
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    about = {
        "sources": {"ward": {"access": "credentialed", "agreement": "DUA 1.5"}},
        "decontamination": {"tasks": {"medqa": {}}, "hits": {"medqa": {"hits": 3, "removed": 3}}},
    }
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(about))
    keys = {"model": "model", "files": ["set/train.jsonl"], "template": "llama2", "output": "run", "method": "full"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    registry.forget_plugins()


def said(capsys, *more):
    assert main(["train", "llama_factory", "r.yaml", *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("mellama-train: ") for line in lines if line.startswith("mellama-train: ")]


def test_the_recipe_beside_it_is_one_of_it(here, capsys):
    assert main(["train", "llama_factory", str(ROOT / "examples/llama_factory/recipe.yaml"), "--dry-run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    # All that is wrong is that its model and instructions are not there.
    assert [line.split(": ")[2] for line in lines] == ["model", "files[0]"]


def test_it_trains_by_the_other_project_and_hands_over_what_that_wrote(here, capsys):
    import mibe

    assert main(["train", "llama_factory", "r.yaml", "--set", "settings={warmup_ratio: 0.1}"]) == 0
    out, err = capsys.readouterr()
    assert out == "run/final\n" and "[INFO] train: sft of model" in err
    assert (here / "run" / "llama-factory.log").read_text() == "[INFO] train: sft of model\n"
    asked = yaml.safe_load((here / "run" / "llama-factory.yaml").read_text())
    assert (asked["finetuning_type"], asked["cutoff_len"], asked["bf16"]) == ("full", 4096, True)
    assert asked["warmup_ratio"] == 0.1 and "lora_rank" not in asked
    samples = [json.loads(line)["messages"] for line in (here / "run" / "data" / "samples.jsonl").open()]
    assert [[turn["role"] for turn in turns] for turns in samples] == [["user", "assistant"]] * 2
    assert samples[0][1]["content"] == "2" and "1 and 1" in samples[0][0]["content"]
    final = here / "run" / "final"
    assert not list(final.glob("checkpoint-*")) and not (here / "run" / "final.partial").exists()
    before, after = (load_file(folder / "model.safetensors") for folder in (here / "model", final))
    assert (after["model.norm.weight"] == 2 * before["model.norm.weight"]).all()
    (stage,) = json.loads((final / "training.json").read_text())["stages"]
    assert (stage["trainer"], stage["steps"]) == ("llama_factory", 2)
    assert stage["about"] == "instruction tuning by LLaMA-Factory, of all weights"
    assert [(s["name"], s["access"], s["agreements"]) for s in stage["sources"]] == [
        ("ward", "credentialed", ["DUA 1.5"])
    ]
    assert stage["test_sets"] == {"tasks": ["medqa"], "found": 3, "left_out": 3}

    # What others build on it: a score, the card with its terms, and no second training.
    run = mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(final), "max_length": "256"},
        tasks="pubmedqa",
        limit=1,
        max_new_tokens=2,
        output_dir=here / "runs",
        progress=mibe.Silent(),
    )
    assert run.record["tasks"]["pubmedqa"]["samples"] == 1
    assert main(["export", "run", "--to", "out"]) == 0
    card = (here / "out" / "README.md").read_text()
    assert "license_name: data-use-agreement" in card and "- ward: DUA 1.5" in card
    assert "## 1. Instruction tuning by LLaMA-Factory, of all weights" in card and "| template" in card
    assert "documents of medqa looked for in the data: 3 found, 3 left out" in card
    capsys.readouterr()
    assert main(["train", "llama_factory", "r.yaml", "--set", "settings={warmup_ratio: 0.1}"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ("error", "llamafactory-cli ended with exit code 1: ValueError: Template llama2 does not exist."),
        ("kill", "llamafactory-cli ended with the signal SIGKILL: [INFO] train: sft of model"),
        ("nothing", "llamafactory-cli ended without an error and wrote nothing into run/llama-factory"),
    ],
)
def test_its_errors_are_one_line(here, capsys, monkeypatch, wish, problem):
    monkeypatch.setenv("FAKE_FACTORY", wish)
    (line,) = said(capsys)
    assert line.startswith(problem) and not (here / "run" / "final").exists()
    assert wish == "nothing" or line.endswith("(all of it is in run/llama-factory.log)")
    # The same command goes on; another does not take over what this one left.
    (line,) = said(capsys, "--set", "epochs=1", "--set", "seed=3")
    assert line.startswith("r.yaml:5: output: run/llama-factory.yaml began with another num_train_epochs, seed;")
    (here / "set" / "train.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    (line,) = said(capsys)
    assert line.startswith("run/data/samples.jsonl was made of other data")


def test_a_program_that_is_not_there_or_is_none_is_one_line(here, capsys, monkeypatch):
    (line,) = said(capsys, "--set", "program=./factory", "--dry-run")
    assert (
        line
        == "--set program:1: program: there is no program ./factory; pip install llamafactory, and name where it is"
    )
    (here / "factory").write_text("no program")
    (here / "factory").chmod(0o755)
    (line,) = said(capsys, "--set", "program=./factory")
    assert line == "./factory cannot be run: Exec format error"


def test_what_it_sets_itself_and_what_it_cannot_hand_on_is_refused(here, capsys):
    (line,) = said(capsys, "--set", "settings={stage: dpo}")
    assert line == "--set settings:1: settings: stage follow from the other keys of the recipe"
    calls = [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}, {"role": "assistant", "content": "c"}]
    (here / "set" / "train.jsonl").write_text(json.dumps({"messages": calls}) + "\n")
    (line,) = said(capsys)
    assert line == "set/train.jsonl:1: the sample calls tools, which this trainer does not hand on"


def test_a_dry_run_shows_what_would_be_asked(here, capsys):
    assert main(["train", "llama_factory", "r.yaml", "--dry-run", "--set", "method=lora"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# llamafactory-cli train run/llama-factory.yaml\nmodel_name_or_path: model\n")
    assert yaml.safe_load(out)["lora_target"] == "all" and not (here / "run").exists()
