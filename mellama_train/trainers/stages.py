"""The three stages of training: what data each reads. All else is the same loop."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import mibe
from mellama_train.loop.training import TrainingData
from mellama_train.model.loading import context_window, load_tokenizer, tokenizer_sha256
from mellama_train.recipe.config import FinetuneRecipe, PretrainRecipe, TuningRecipe
from mellama_train.recipe.yaml_schema import Change
from mellama_train.rows.packed import SampleRows, SampleSet, file_samples, padding_token
from mellama_train.rows.samples import Sample
from mellama_train.trainers.finetuning import open_task, say_terms, task_samples

CONTEXT, DEFAULT_ROWS = 4096, 32

SMALL_SET, SMALL_SET_EPOCHS, LARGE_SET_EPOCHS = 10_000, 5, 3
"""Task fine-tuning takes 5 epochs below 10,000 samples, else 3 (paper, section 2.3)."""


def pretraining_data(recipe: PretrainRecipe) -> TrainingData:
    """The mixture of the corpus, and its held-out documents. Raises `CorpusError`."""
    from mellama_train.corpus.mixture import Mixture, held_out
    from mellama_train.corpus.shards import Corpus

    tokenizer, data = load_tokenizer(recipe.model), recipe.data
    Corpus.open(data.folder).check_tokenizer(_tokenizer_folder(recipe.model.path))
    rows = Mixture.open(
        data.folder, length=recipe.context, weights=data.weights, max_epochs=data.max_epochs, tokens=data.tokens
    )
    return TrainingData(rows, held_out(data.folder, length=recipe.context), tokenizer)


def tuning_data(recipe: TuningRecipe) -> TrainingData:
    """Packed samples for instruction tuning. Raises `DataError`."""
    tokenizer, data = load_tokenizer(recipe.model), recipe.data
    train = _sample_rows(recipe, tokenizer, file_samples(data.files), recipe.epochs)
    held_out = {file.stem: _sample_rows(recipe, tokenizer, file_samples([file]), 1) for file in data.held_out}
    return TrainingData(train, held_out, tokenizer)


def finetuning_data(recipe: FinetuneRecipe) -> TrainingData:
    """Packed samples of a task, the paper's number of epochs; its validation split is held out.

    Raises `DataError`, and mibe's errors where the task is unknown or its data not here.
    """
    task, tokenizer = open_task(recipe.data.task), load_tokenizer(recipe.model)
    say_terms(task)

    def rows(split: str, epochs: int | None) -> SampleRows:
        samples = task_samples(task, split, recipe.data, tokenizer, context=recipe.context)
        return _sample_rows(recipe, tokenizer, samples, epochs)

    held_out = {"valid": rows("valid", 1)} if "valid" in mibe.prepared_splits(task) else {}
    return TrainingData(rows("train", recipe.epochs), held_out, tokenizer)


def default_finetuning(model: str, task: str) -> list[Change]:
    """What a recipe must say and the paper does not, for a run without one.

    The context is 4,096 tokens or as many as the model knows, the precision bf16 or what this machine is good at.
    """
    precision = "bf16" if torch.cuda.is_available() else "fp32"
    context = min(CONTEXT, context_window(model) or CONTEXT)
    return [
        ("output", str(Path("runs") / f"{Path(model).name}-{task}")),
        ("context", str(context)),
        ("precision", precision),
        ("batch.rows", str(DEFAULT_ROWS)),
    ]


def epochs_for(samples: int) -> int:
    """The paper's rule for task fine-tuning."""
    return SMALL_SET_EPOCHS if samples < SMALL_SET else LARGE_SET_EPOCHS


def _sample_rows(
    recipe: TuningRecipe | FinetuneRecipe, tokenizer: Any, samples: Iterable[Sample], epochs: int | None
) -> SampleRows:
    """Samples packed into rows for so many passes (None: by the paper's rule)."""
    kept, left_out = SampleSet.of(
        samples,
        tokenizer,
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        context=recipe.context,
        form=recipe.data.form,
        too_long=recipe.data.too_long,
    )
    if left_out:
        what = f"{len(left_out)} samples are longer than {recipe.context} tokens and were left out"
        print(f"{what}: {', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''}", file=sys.stderr)
    return SampleRows(
        kept,
        length=recipe.context,
        epochs=epochs_for(len(kept)) if epochs is None else epochs,
        window=recipe.data.window,
        seed=recipe.seed,
        padding=padding_token(tokenizer),
    )


def _tokenizer_folder(path: str) -> Path:
    """The folder in which the tokenizer of a model is: the model's own, or that of the hub's cache."""
    if Path(path).is_dir():
        return Path(path)
    from transformers.utils import cached_file

    found: Any = cached_file(path, "tokenizer.json")
    return Path(found).parent
