"""Continual pretraining: the mixture of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mellama_train.corpus.mixture import Mixture, held_out
from mellama_train.corpus.shards import Corpus
from mellama_train.loop.training import TrainingData
from mellama_train.model.loading import load_tokenizer
from mellama_train.recipe.stages import PretrainRecipe


def pretraining_data(recipe: PretrainRecipe) -> TrainingData:
    """The mixture of the corpus, and its held-out documents. Raises `CorpusError`."""
    tokenizer, data = load_tokenizer(recipe.model), recipe.data
    Corpus.open(data.folder).check_tokenizer(_tokenizer_folder(recipe.model.path))
    rows = Mixture.open(
        data.folder, length=recipe.context, weights=data.weights, max_epochs=data.max_epochs, tokens=data.tokens
    )
    return TrainingData(rows, held_out(data.folder, length=recipe.context), tokenizer)


def _tokenizer_folder(path: str) -> Path:
    """The folder in which the tokenizer of a model is: the model's own, or that of the hub's cache."""
    if Path(path).is_dir():
        return Path(path)
    from transformers.utils import cached_file

    found: Any = cached_file(path, "tokenizer.json")
    return Path(found).parent
