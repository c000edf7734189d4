"""A model fine-tuned on a task of one's own, and evaluated on it: slow, with a tiny real model."""

import json

import pytest

pytest.importorskip("peft", reason="peft comes with the extra train")

from training_parts import save_chat_model

import mibe
from mellama_train.cli import main as train
from mibe.cli.main import main

pytestmark = pytest.mark.slow


def test_a_model_learns_from_the_train_split_of_an_own_task(tmp_path):
    for split, word in (("train", "wasp"), ("test", "bee")):
        rows = "".join(f"{word} {n},{('urgent', 'routine')[n % 2]}\n" for n in range(8))
        (tmp_path / f"{split}.csv").write_text("note,urgency\n" + rows, encoding="utf-8")
    (tmp_path / "stings.toml").write_text(
        'columns = { input = "note", target = "urgency" }\nfiles = { train = "train.csv", test = "test.csv" }\n',
        encoding="utf-8",
    )
    assert main(["data", "add", str(tmp_path / "stings.toml")]) == 0
    model = save_chat_model(tmp_path / "model")
    settings = ["context=512", "batch.rows=4", "steps=1", "reporting.tensorboard=false"]
    asked = [part for setting in settings for part in ("--set", setting)]
    command = ["finetune", "--model", str(model), "--task", "stings", "--output", str(tmp_path / "run"), *asked]
    assert train(command) == 0
    history = json.loads((tmp_path / "run" / "final" / "training.json").read_text())
    (source,) = history["stages"][-1]["sources"]
    assert (source["name"], source["access"]) == ("stings", "credentialed")
    arguments = {"pretrained": str(tmp_path / "run" / "final"), "device": "cpu"}
    run = mibe.evaluate(model="hf", model_args=arguments, tasks="stings", output_dir=tmp_path / "runs")
    assert run.record["tasks"]["stings"]["samples"] == 8
