"""The output folder of a run: its lock, and the ordinary Hugging Face model folder at the end."""

from __future__ import annotations

import copy
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import TrainError
from mellama_train.loop.checkpoints import WRITE_ERRORS
from mellama_train.loop.layout import FINAL, LOCK, RECORD
from mellama_train.model import provenance
from mellama_train.model.endings import add_ends, save_settings_of_adapters
from mellama_train.model.loading import DTYPE
from mellama_train.model.provenance import TestSets
from mellama_train.recipe.config import Recipe
from mellama_train.recipe.yaml_schema import as_json


@contextmanager
def locked(output: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the output folder: two runs in one would spoil each other. Raises `TrainError` on all ranks."""
    problem, stream = None, None
    if ranks.is_first:
        try:
            output.mkdir(parents=True, exist_ok=True)
            stream = (output / LOCK).open("w")
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"another run is writing to {output}; wait for it, or choose another output"
        except OSError as error:
            problem = f"cannot write to {output}: {error.strerror}"
    problem = ranks.from_first(problem)
    try:
        if problem:
            raise TrainError(problem)
        yield
    finally:
        if stream is not None:
            stream.close()


def write_model(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    weights: dict[str, torch.Tensor],
    ranks: Ranks,
    *,
    steps: int,
    tokens: Mapping[str, int],
    record: Mapping[str, Any],
    ends: Sequence[int],
    test_sets: TestSets | None = None,
    name: str = FINAL,
) -> Path:
    """Write a folder `name` in the output: a model folder, or an adapter folder after LoRA; weights in the precision.

    `weights` are the trained ones, on the first rank; `steps` and `tokens` (per source) go into the record of how the
    model came to be, as does `test_sets`; `record` is by which the run is known again; `ends` are the tokens that
    its answers end with. Written aside and renamed when whole. Raises
    `TrainError` on all ranks when it cannot be written.
    """
    final, problem = recipe.output / name, None
    if ranks.is_first:
        try:
            with replaced(final) as aside:
                save(recipe, model, tokenizer, weights, aside, ends=ends)
                made = provenance.grown(as_json(recipe), steps=steps, tokens=tokens, test_sets=test_sets)
                provenance.write(aside, made)
                (aside / RECORD).write_text(json.dumps(record, indent=1))
        except WRITE_ERRORS as error:
            problem = f"cannot write {final}: {error}; make room, and the same command writes it again"
    if problem := ranks.from_first(problem):
        raise TrainError(problem)
    return final


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A folder aside to write into, which takes the place of `folder` when it is whole."""
    aside = folder.with_suffix(".partial")
    shutil.rmtree(aside, ignore_errors=True)
    yield aside
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def save(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    weights: dict[str, torch.Tensor],
    folder: Path,
    *,
    ends: Sequence[int] = (),
) -> None:
    """Weights, in the recipe's precision, with tokenizer and settings: a model folder, or one of adapters."""
    with _as_it_was(model):
        add_ends(model, ends)
        _write(recipe, model, tokenizer, weights, folder)
        save_settings_of_adapters(model, folder)


@contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """The settings that are written with a model do not stay in one that is trained on."""
    generation, cached = copy.deepcopy(model.generation_config), model.config.use_cache
    try:
        yield
    finally:
        model.generation_config, model.config.use_cache = generation, cached


def _write(recipe: Recipe, model: Any, tokenizer: Any, weights: dict[str, torch.Tensor], folder: Path) -> None:
    dtype = DTYPE[recipe.precision]
    whole = {name: value.to(dtype).contiguous() for name, value in weights.items()}
    if recipe.lora:
        model.save_pretrained(folder, state_dict=whole)
    else:
        model.config.use_cache = True
        for name, owner in _tied(model).items():
            whole[name] = whole[owner]
        model.save_pretrained(folder, state_dict=whole)
        _say_precision(folder / "config.json", dtype)
    tokenizer.save_pretrained(folder)
    (folder / provenance.RECIPE).write_text(json.dumps(as_json(recipe), indent=1))


def _say_precision(config: Path, dtype: torch.dtype) -> None:
    """transformers writes the precision of the model in training, which is not that of the weights written."""
    content = json.loads(config.read_text())
    content["dtype"] = str(dtype).removeprefix("torch.")
    config.write_text(json.dumps(content, indent=2) + "\n")


def _tied(model: Any) -> dict[str, str]:
    """Name of a tied weight → the name under which it is trained."""
    first: dict[int, str] = {}
    tied = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = first.setdefault(id(parameter), name)
        if owner != name:
            tied[name] = owner
    return tied
