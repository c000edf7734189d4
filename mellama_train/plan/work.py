"""What is asked of a plan, and what a recipe's data comes to: tokens of an epoch, epochs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

import mibe
from mellama_train.corpus.shards import MANIFEST
from mellama_train.errors import CorpusError, DataError, RecipeError, one_line
from mellama_train.plan.gpus import GPUS
from mellama_train.plan.stopping import DISK
from mellama_train.plan.time import NODE, Machines
from mellama_train.recipe.stages import (
    LARGE_SET_EPOCHS,
    FinetuneRecipe,
    PretrainRecipe,
    TaskData,
    TuningRecipe,
    epochs_for,
)
from mellama_train.recipe.yaml_schema import Change
from mellama_train.rows.tables import PARQUET
from mibe.errors import MibeError

AnyRecipe = PretrainRecipe | TuningRecipe | FinetuneRecipe

CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user says about the run: the machines, and whatever is known better than the planner assumes."""

    gpus: int
    gpu: str
    nodes: int | None = None
    model: str | None = None
    tokens: float | None = None
    samples: int | None = None
    sample_tokens: float | None = None
    throughput: float | None = None
    utilisation: float | None = None
    interconnect: float | None = None
    storage: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        if problems := [*self._problems()]:
            raise RecipeError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not 0 < value < math.inf:
                shown = field.name.replace("_", "-")
                yield f"--{shown}: {value} is out of range; it must be above 0, and finite"
        if self.utilisation and self.utilisation > 1:
            yield f"--utilisation: {self.utilisation} is out of range; it is a share, at most 1"
        if self.nodes and self.gpus % self.nodes:
            yield f"{self.gpus} GPUs are not the same number on each of {self.nodes} nodes"

    @property
    def machines(self) -> int:
        """As stated, or eight GPUs in each."""
        return self.nodes or -(-self.gpus // NODE)

    @property
    def a_node(self) -> int:
        """GPUs of a machine."""
        return self.gpus // self.machines

    @property
    def disk(self) -> float:
        """Bytes a second of the disk for checkpoints."""
        return DISK if self.storage is None else self.storage * 1e9

    @property
    def cluster(self) -> Machines:
        """What a step's time is reckoned from."""
        return Machines(
            gpus=self.gpus,
            gpu=GPUS[self.gpu],
            a_node=self.a_node,
            interconnect=self.interconnect,
            share=self.utilisation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is planned: a recipe of a file, with changes put over it, on some machines; `command` is what runs it."""

    file: Path
    asked: Asked
    changes: Sequence[Change] = ()
    command: str


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one epoch, epochs, and how the tokens were found."""

    tokens: float
    epochs: float
    how: str


def base_model(path: Path, model: str) -> str:
    """The model that a recipe starts from; where another recipe beside it makes that, the one which that starts from.

    So the shape of `runs/pretrain-70b/final` is known before it is there.
    """
    seen = {path.resolve()}
    while not (Path(model) / "config.json").is_file():
        made_by = _maker(model, path.parent, seen)
        if made_by is None:
            break
        seen.add(made_by[0].resolve())
        model = made_by[1]
    return model


def _maker(model: str, folder: Path, seen: set[Path]) -> tuple[Path, str] | None:
    """(file, its model) of the recipe in the folder that writes the model."""
    for file in sorted(folder.glob("*.yaml")):
        if file.resolve() in seen:
            continue
        try:
            keys: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        source = keys.get("model") if isinstance(keys, dict) else None
        if isinstance(source, dict) and "path" in source and Path(model) == Path(str(keys.get("output")), "final"):
            return file, str(source["path"])
    return None


def work(recipe: AnyRecipe, asked: Asked) -> Work | None:
    """The tokens to be trained on, padding included; None where nothing tells."""
    epochs: float = 1
    if isinstance(recipe, PretrainRecipe):
        found = _pretraining(recipe, asked)
    else:
        found, samples = _samples(recipe, asked)
        epochs = recipe.epochs or (LARGE_SET_EPOCHS if samples is None else epochs_for(samples))
    if found is None:
        return None
    tokens, how = found
    if recipe.steps is not None and recipe.steps * recipe.batch.rows * recipe.context < tokens * epochs:
        return Work(recipe.steps * recipe.batch.rows * recipe.context, 1, f"{recipe.steps:,} steps of the recipe")
    return Work(tokens, epochs, how)


def _pretraining(recipe: PretrainRecipe, asked: Asked) -> tuple[float, str] | None:
    if asked.tokens:
        return asked.tokens, "--tokens"
    if recipe.data.tokens:
        return recipe.data.tokens, "data.tokens"
    manifest = recipe.data.folder / MANIFEST
    try:
        about = json.loads(manifest.read_text(encoding="utf-8"))
        tokens = about["mixture"]["tokens"] or sum(entry["train"]["tokens"] for entry in about["sources"].values())
    except OSError:
        steps = recipe.steps
        return (steps * recipe.batch.rows * recipe.context, "the steps of the recipe") if steps else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorpusError(f"{manifest} is damaged (not all of it is there); build the corpus again") from None
    return tokens, f"the corpus {recipe.data.folder}"


def _samples(recipe: TuningRecipe | FinetuneRecipe, asked: Asked) -> tuple[tuple[float, str] | None, int | None]:
    """((tokens of an epoch, how they were found), samples)."""
    if asked.tokens:
        return (asked.tokens, "--tokens"), asked.samples
    if asked.samples:
        each = asked.sample_tokens or recipe.context
        how = f"{asked.samples:,} samples of {each:,.0f} tokens"
        if not asked.sample_tokens:
            how += ", a whole row each, as padded without packing: an upper bound; --sample-tokens states their length"
        return (asked.samples * each, how), asked.samples
    if isinstance(recipe.data, TaskData):
        return _task_samples(recipe.data, recipe.context)
    files = [file for file in recipe.data.files if isinstance(file, Path) and file.is_file() and file.suffix != PARQUET]
    if len(files) < len(recipe.data.files):
        return None, None
    samples, characters = 0, 0
    for file in files:
        try:
            with file.open(encoding="utf-8") as stream:
                for line in stream:
                    samples += 1
                    characters += len(line)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {file}: {one_line(error)}") from None
    how = f"{samples:,} samples in the files, {CHARACTERS_A_TOKEN} characters a token"
    return (characters / CHARACTERS_A_TOKEN, how), samples


def _task_samples(data: TaskData, context: int) -> tuple[tuple[float, str] | None, int | None]:
    try:
        samples = sum(1 for _ in mibe.examples(mibe.load_task(data.task), "train"))
    except MibeError:
        return None, None
    return (samples * context, f"{samples:,} samples of {data.task}, a whole row each: an upper bound"), samples
