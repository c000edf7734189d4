"""The three stages of training: what data each reads. All else is the same loop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mellama_train.config import FinetuneRecipe, PretrainRecipe, SampleFiles, TuningRecipe
from mellama_train.models import load_tokenizer, tokenizer_sha256
from mellama_train.sample_rows import SampleRows, SampleSet, padding_token
from mellama_train.training import TrainingData

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
    return _sample_data(recipe, recipe.data, recipe.epochs)


def finetuning_data(recipe: FinetuneRecipe) -> TrainingData:
    """Packed samples of a task, the paper's number of epochs. Raises `DataError`."""
    return _sample_data(recipe, recipe.data, recipe.epochs)


def epochs_for(samples: int) -> int:
    """The paper's rule for task fine-tuning."""
    return SMALL_SET_EPOCHS if samples < SMALL_SET else LARGE_SET_EPOCHS


def _sample_data(recipe: TuningRecipe | FinetuneRecipe, data: SampleFiles, epochs: int | None) -> TrainingData:
    tokenizer = load_tokenizer(recipe.model)

    def rows(files: tuple[Path, ...], epochs: int | None) -> SampleRows:
        samples, left_out = SampleSet.read(
            files,
            tokenizer,
            tokenizer_sha256=tokenizer_sha256(tokenizer),
            context=recipe.context,
            form=data.form,
            too_long=data.too_long,
        )
        if left_out:
            what = f"{len(left_out)} samples are longer than {recipe.context} tokens and were left out"
            print(f"{what}: {', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''}", file=sys.stderr)
        return SampleRows(
            samples,
            length=recipe.context,
            epochs=epochs_for(len(samples)) if epochs is None else epochs,
            window=data.window,
            seed=recipe.seed,
            padding=padding_token(tokenizer),
        )

    held_out = {file.stem: rows((file,), 1) for file in data.held_out}
    return TrainingData(rows(data.files, epochs), held_out, tokenizer)


def _tokenizer_folder(path: str) -> Path:
    """The folder in which the tokenizer of a model is: the model's own, or that of the hub's cache."""
    if Path(path).is_dir():
        return Path(path)
    from transformers.utils import cached_file

    found: Any = cached_file(path, "tokenizer.json")
    return Path(found).parent
