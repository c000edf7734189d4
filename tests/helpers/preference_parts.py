"""Pairs that a tiny model can learn, recipes of `dpo` over them, and runs over a train split to make pairs of."""

import json
from functools import partial
from pathlib import Path

import yaml
from scripted import Scripted

import mibe
from mellama_train.cli import main
from mellama_train.corpus import decontaminate
from mellama_train.recipe.yaml_schema import parse
from mellama_train.rl.dpo_recipe import DpoRecipe

QUICK_INDEX = partial(decontaminate.build_index, tasks=["pubmedqa"])
"""An index of one test set: that of all of the package's own takes half a minute."""


def look_through_one_test_set(monkeypatch):
    monkeypatch.setattr(decontaminate, "build_index", QUICK_INDEX)


def learnable(count=24):
    """Pairs whose better response says yes and whose worse one says no, to prompts of their own."""
    return [
        {"prompt": f"say {n * 7 % 23}", "chosen": f"yes {n % 5}", "rejected": f"no, {n % 3}", "source": "made"}
        for n in range(count)
    ]


def written(path: Path, lines) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def settings(model: Path, pairs: Path, output: Path, /, **changes):
    """The keys of a small recipe; `changes` go over them, key by key at the top."""
    return {
        "trainer": "dpo",
        "model": {"path": str(model)},
        "data": {"pairs": [str(pairs)]},
        "output": str(output),
        "context": 48,
        "precision": "fp32",
        "batch": {"rows": 4, "micro_rows": 2},
        "optimizer": {"learning_rate": 1e-3},
        "checkpoints": {"every_steps": 4, "keep": 4},
        "reporting": {"tensorboard": False},
        **changes,
    }


def recipe(model: Path, pairs: Path, output: Path, /, **changes) -> DpoRecipe:
    """The same as a recipe."""
    keys = settings(model, pairs, output, **changes)
    del keys["trainer"]
    return parse(yaml.safe_dump(keys), DpoRecipe, "the recipe")


def train(model: Path, pairs: Path, output: Path, /, *more: str, **changes) -> int:
    """`mellama-train train dpo` on such a recipe: its exit code."""
    file = output.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings(model, pairs, output, **changes)))
    return main(["train", "dpo", str(file), *more])


def figures(output: Path):
    """The lines of a run's figures."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def answering(answer_of, name="m"):
    """A model whose answer is a function of the right one of a train document of PubMedQA."""
    targets = {s.messages[0]["content"]: s.answer for s in mibe.training_samples(mibe.load_task("pubmedqa"))}
    return Scripted(lambda prompt: answer_of(targets[prompt]), identity=name)
