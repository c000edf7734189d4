"""The page `docs/add-a-trainer.md` is true: its files and commands, as printed, add a trainer."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch comes with the extra train")

from training_parts import save_chat_model

import mellama_train.cli
import mibe.cli
from mellama_train.trainers import registry
from mibe.data.schema import to_line
from mibe.task import Example

PAGE = Path(__file__).resolve().parents[3] / "docs" / "add-a-trainer.md"
BLOCK = re.compile(r"^```\w+ (?:file=(?P<file>\S+)|(?P<run>run))\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"mibe": mibe.cli.main, "mellama-train": mellama_train.cli.main}


@pytest.fixture
def folder(tmp_path, own_folders, monkeypatch):
    """A model, and few documents of which one stands in the test set too."""
    save_chat_model(tmp_path / "model")
    for split, ids in (("train", "abc"), ("test", "cdefgh")):
        path = own_folders / "data" / "pubmedqa" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [Example(x, {"question": f"Is {x}?", "context": f"Of {x}."}, "yes") for x in ids]
        path.write_text("".join(to_line(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    registry.forget_plugins()


@pytest.mark.slow
def test_the_page_adds_a_trainer(folder, monkeypatch, capsys):
    commands = []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["file"]:
            Path(block["file"]).write_text(block["body"], encoding="utf-8")
        else:
            commands += block["body"].splitlines()
    assert [command.split()[:2] for command in commands] == [
        ["pip", "install"],
        *(["mellama-train", each] for each in ("trainers", "plan", "train", "train")),
        ["mibe", "eval"],
        *(["mellama-train", each] for each in ("export", "forgetting")),
    ]
    install = [sys.executable, "-m", "pip", "--quiet", *shlex.split(commands[0])[1:]]
    # Into a folder of the test, with what is installed already: the suite needs no network.
    here = ["--no-deps", "--no-build-isolation", "--target", "site"]
    subprocess.run([*install, *here], check=True, capture_output=True)
    monkeypatch.syspath_prepend("site")
    registry.forget_plugins()

    printed = []
    for command in commands[1:]:
        program, *arguments = shlex.split(command)
        assert PROGRAMS[program](arguments) == 0, capsys.readouterr().err
        printed.append(capsys.readouterr().out)
    listed, plan, dry, trained, scored, exported, forgotten = printed
    assert re.search(
        r"norms +tuning of a model's norms on a task of mibe +the train split of a task +mellama-norms", listed
    )
    assert re.search(r"^pretrain .* mibe$", listed, re.MULTILINE)
    assert plan == "weights: 0.00 GiB; steps: 2\n"
    assert "task: pubmedqa\noutput: runs/norms\nsteps: 2\nlearning_rate: 0.001\nseed: 0" in dry
    assert trained.splitlines()[-1] == "runs/norms/final"
    assert re.search(r"pubmedqa +accuracy", scored) and exported.splitlines()[-1] == "norms-model"
    assert re.search(r"medqa +accuracy", forgotten)
    _check_what_came_out(folder)
    # What looks like a name on the hub is known to be none only when it is loaded.
    assert mellama_train.cli.main(["train", "norms", "norms.yaml", "--set", "model=modle", "--set", "output=o"]) == 2
    (line,) = [said for said in capsys.readouterr().err.splitlines() if said.startswith("mellama-train: ")]
    assert line.startswith("mellama-train: cannot load modle: there is no such folder, and of the hub's: ")


def _check_what_came_out(folder):
    """The record of the model, its card, and that the norms alone were changed."""
    import torch
    from safetensors.torch import load_file

    history = json.loads((folder / "runs" / "norms" / "final" / "training.json").read_text())
    (stage,) = history["stages"]
    assert (history["origin"], stage["trainer"], stage["steps"]) == ("model", "norms", 2)
    assert stage["recipe"]["learning_rate"] == 0.01
    assert [(source["name"], source["access"]) for source in stage["sources"]] == [("pubmedqa", "open")]
    assert stage["test_sets"]["found"] == stage["test_sets"]["left_out"] == 1
    assert "pubmedqa" in stage["test_sets"]["tasks"]
    card = (folder / "norms-model" / "README.md").read_text()
    assert "## 1. Tuning of a model's norms on a task of mibe" in card and "1 found, 1 left out" in card
    before = load_file(folder / "model" / "model.safetensors")
    after = load_file(folder / "runs" / "norms" / "final" / "model.safetensors")
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed == {name for name in before if "norm" in name}
