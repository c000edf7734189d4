"""The whole way of `make demo-train` with a tiny model and a few steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
pytest.importorskip("peft", reason="peft comes with the extra train")

from corpus_tools import write_jsonl
from training_parts import save_chat_model

import mibe
from mellama_train.corpus.config import CorpusConfig
from mellama_train.instructions.config import InstructionsConfig
from mellama_train.recipe.yaml_schema import load

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def arguments(tmp_path):
    """A tiny model, and a corpus and instructions of two sources each."""
    save_chat_model(tmp_path / "model")
    for topic in ("medical", "general"):
        texts = [
            f"The {topic} patient number {n} was given {' '.join(f'{topic}{n}{k}' for k in range(20))}."
            for n in range(90)
        ]
        write_jsonl(tmp_path / topic / "part.jsonl", texts)
    corpus = {
        "output": "set by the script",
        "tokenizer": {"path": "set by the script"},
        "length": 64,
        "held_out": 0.1,
        "decontaminate": "off",
        "sources": {
            topic: {
                "weight": weight,
                "max_epochs": 9,
                "inputs": [{"format": "jsonl", "path": str(tmp_path / topic)}],
            }
            for topic, weight in (("medical", 15), ("general", 4))
        },
    }
    told = [{"instruction": f"What is {n}?", "input": "", "output": f"It is {n}."} for n in range(60)]
    (tmp_path / "alpaca.json").write_text(json.dumps(told))
    instructions = {
        "output": "set by the script",
        "held_out": 0.1,
        "decontaminate": "off",
        "sources": {"alpaca": {"path": str(tmp_path / "alpaca.json")}},
    }
    (tmp_path / "corpus.yaml").write_text(yaml.safe_dump(corpus))
    (tmp_path / "instructions.yaml").write_text(yaml.safe_dump(instructions))
    return [
        *("--model", str(tmp_path / "model"), "--output", str(tmp_path / "demo"), "--limit", "4"),
        *("--corpus", str(tmp_path / "corpus.yaml"), "--instructions", str(tmp_path / "instructions.yaml")),
        *("--set", "steps=2", "--set", "checkpoints.every_steps=1", "--set", "reporting.tensorboard=false"),
        *("--set", "held_out.rows=2"),
    ]


def demo(arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo_train.py"), *arguments], capture_output=True, text=True
    )


@pytest.mark.slow
def test_every_stage_is_trained_and_scored_and_a_stopped_run_goes_on(arguments, tmp_path):
    out = tmp_path / "demo"
    stopped = demo([*arguments, "--finetune", str(tmp_path / "nowhere.yaml")])
    assert stopped.returncode == 2 and "cannot read" in stopped.stderr
    assert "fine-tuning failed (2); the same command goes on from there" in stopped.stderr
    kept = (out / "merged" / "model.safetensors").stat().st_mtime_ns
    done = demo(arguments)
    assert done.returncode == 0, done.stderr
    assert "pretraining: done already" in done.stdout
    assert (out / "merged" / "model.safetensors").stat().st_mtime_ns == kept
    page = (out / "first-training.md").read_text()
    assert page in done.stdout
    for name in ("as it came", "after pretraining", "after instruction tuning", "after fine-tuning on pubmedqa"):
        assert sum(name in line for line in page.splitlines() if line.startswith("|")) == 1
    assert "pubmedqa, 4 test documents" in page and "| medical |" in page and "2 steps, " in page
    # The last model began with the merged one, which began with the pretrained one.
    history = json.loads((out / "finetune" / "final" / "training.json").read_text())
    assert [sorted(source["name"] for source in stage["sources"]) for stage in history["stages"]] == [
        ["general", "medical"],
        ["alpaca"],
        ["pubmedqa"],
    ]
    assert demo(arguments).stdout.count("done already") == 7


def test_the_demo_learns_from_what_the_package_carries(tmp_path, monkeypatch):
    write = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo_texts.py"), str(tmp_path / "texts")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert write.returncode == 0, write.stderr
    found = {
        file.name: [json.loads(line) for line in file.read_bytes().splitlines()]
        for file in (tmp_path / "texts").iterdir()
    }
    # 450 + 50 abstracts and 281 + 40 reports, 285 + 1,542 questions: the splits for training and validation.
    assert {name: len(records) for name, records in found.items()} == {
        "medical.jsonl": 821,
        "general.jsonl": 1_827,
        "abstracts.jsonl": 500,
        "questions.jsonl": 1_827,
    }
    tested = {example.id for example in mibe.examples(mibe.load_task("pubmedqa"), "test")}
    assert not tested & {record["id"] for record in found["abstracts.jsonl"]}
    asked = found["questions.jsonl"][0]
    assert asked["input"].splitlines() == ["A. 0", "B. 1", "C. 2", "D. 3"] and asked["output"] == "B. 1"
    # Both recipes read those files and no others.
    monkeypatch.setenv("DEMO_DIR", str(tmp_path))
    monkeypatch.setenv("DEMO_MODEL", str(tmp_path))
    corpus = load(ROOT / "examples" / "corpus-demo.yaml", CorpusConfig)
    instructions = load(ROOT / "examples" / "instructions-demo.yaml", InstructionsConfig)
    read = [file for source in corpus.sources.values() for part in source.inputs for file in part.files()]
    read += [path for name in instructions.sources for path in instructions.paths(name)]
    assert {path.parent for path in read} == {tmp_path / "texts"} and {path.name for path in read} == set(found)
