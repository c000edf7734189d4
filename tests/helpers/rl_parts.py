"""Recipes of `grpo` for a tiny model on a few documents of its own task, and runs of them."""

import json
from functools import partial
from pathlib import Path

import yaml

from mellama_train.cli import main
from mellama_train.corpus import decontaminate
from mellama_train.recipe.yaml_schema import parse
from mellama_train.rl.recipe import GrpoRecipe
from mibe.data.schema import to_line
from mibe.task import Example

LABELS = ("yes", "no", "maybe")


def pubmedqa_documents(count, start=0):
    """Short questions of PubMedQA's form, no two of which share a passage."""
    return [
        Example(str(n), {"question": f"Does drug {n} help?", "context": f"Trial {n} of {7 * n}."}, LABELS[n % 3])
        for n in range(start, start + count)
    ]


def write_split(data: Path, name: str, split: str, examples):
    """A split of a task's prepared data, in the folder that `MIBE_DATA_DIR` names."""
    path = data / name / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(to_line(example) + "\n" for example in examples))


def small_pubmedqa(data: Path, monkeypatch, count=6):
    """A train and a test split of short questions, and the test sets that are looked through: these alone.

    The index of all of the package's own (14,000 questions of MMLU) takes half a minute.
    """
    write_split(data, "pubmedqa", "train", pubmedqa_documents(count))
    write_split(data, "pubmedqa", "test", pubmedqa_documents(3, start=100))
    monkeypatch.setattr(decontaminate, "build_index", partial(decontaminate.build_index, tasks=["pubmedqa"]))


def settings(model: Path, output: Path, /, **changes):
    """The keys of a small recipe; `changes` go over them, key by key at the top."""
    return {
        "trainer": "grpo",
        "model": {"path": str(model)},
        "data": {"tasks": ["pubmedqa"]},
        "output": str(output),
        "context": 128,
        "precision": "fp32",
        "batch": {"rows": 4, "micro_rows": 4},
        "rollouts": {"group": 4, "tokens": 6},
        "optimizer": {"learning_rate": 1e-3},
        "steps": 4,
        "checkpoints": {"every_steps": 2, "keep": 2},
        "reporting": {"tensorboard": False},
        **changes,
    }


def recipe(model: Path, output: Path, /, **changes) -> GrpoRecipe:
    """The same as a recipe."""
    keys = settings(model, output, **changes)
    del keys["trainer"]
    return parse(yaml.safe_dump(keys), GrpoRecipe, "the recipe")


def train(model: Path, output: Path, /, *more: str, **changes) -> int:
    """`mellama-train train grpo` on such a recipe: its exit code."""
    file = output.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings(model, output, **changes)))
    return main(["train", "grpo", str(file), *more])


def metrics(output: Path):
    """The lines of a run's figures."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
