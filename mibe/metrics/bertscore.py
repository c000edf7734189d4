"""BERTScore (Zhang et al. 2020): how well the words of two texts match as an encoder sees them.

The settings of the paper's code are the default: multilingual BERT, layer 9, no IDF weights, no baseline rescaling.
Needs `pip install "mibe[summarization]"`. The encoder is loaded at the first use and kept, on the GPU if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mibe.errors import ModelError
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import Mean
from mibe.task import Value

DEFAULT_MODEL = "bert-base-multilingual-cased"
LONGEST = 512
"""Tokens of a text that are looked at where the tokenizer's own limit is none."""


@dataclass(frozen=True)
class BertScore(Mean):
    """Mean precision, recall and F1 of BERTScore. None and empty texts score 0.

    `model` is a hub name or a folder. `layer` is the hidden layer compared; None means the one that bert-score's
    authors recommend for a model of that name, 9 for the default one. It is no `SampleMean`: all samples are scored in
    one go, since an encoder is slow on one pair at a time.
    """

    model: str = DEFAULT_MODEL
    layer: int | None = None
    batch_size: int = 64

    @property
    def names(self) -> tuple[str, ...]:
        """Three figures."""
        return ("bertscore_precision", "bertscore_recall", "bertscore_f1")

    def check(self) -> None:
        """Look at the encoder's configuration, without its weights."""
        source, layer = encoder_of(self.model, self.layer)
        from transformers import AutoConfig

        try:
            layers = AutoConfig.from_pretrained(source).num_hidden_layers
        except (OSError, ValueError) as error:
            raise ModelError(f"BERTScore cannot load {self.model}: {error}") from error
        if layer > layers:
            raise ModelError(f"BERTScore cannot load {self.model}, layer {layer}: it has {layers}")

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): precision, recall and F1."""
        values = np.zeros((len(targets), 3))
        pairs = [(p or "", t) for p, t in zip(predictions, targets, strict=True)]
        # bert-score scores empty texts 0 too, but with transformers 5 breaks off on them.
        full = [row for row, pair in enumerate(pairs) if all(text.strip() for text in pair)]
        if full:
            texts, references = zip(*(pairs[row] for row in full), strict=True)
            # The scorer puts texts of like length into a batch and each distinct text through the encoder once.
            scores = _scorer(self.model, self.layer).score(list(texts), list(references), batch_size=self.batch_size)
            values[full] = np.stack([column.numpy() for column in scores], axis=1)
        return values


def encoder_of(model: str, layer: int | None) -> tuple[str, int]:
    """Hub name or folder, and the layer to compare. Raises `ModelError` when bert-score is missing or knows none."""
    try:
        from bert_score.utils import model2layers
    except ImportError as error:
        raise ModelError(f'BERTScore needs `pip install "mibe[summarization]"` ({error})') from error
    source = str(Path(model).expanduser()) if model.startswith("~") else model
    if layer is None:
        layer = model2layers.get(model) or model2layers.get(Path(model).name)
    if layer is None:
        raise ModelError(f"bert-score's authors recommend no layer of {model}; say which hidden layer to compare")
    return source, layer


@lru_cache(maxsize=1)
def _scorer(model: str, layer: int | None) -> Any:
    """The scorer of bert-score with its encoder loaded. Raises `ModelError` when it cannot be."""
    source, layer = encoder_of(model, layer)
    import bert_score

    try:
        scorer = bert_score.BERTScorer(model_type=source, num_layers=layer)
    except (OSError, ValueError, AssertionError) as error:
        raise ModelError(f"BERTScore cannot load {model}, layer {layer}: {error}") from error
    tokenizer, config = scorer._tokenizer, scorer._model.config
    # A tokenizer without a limit names an astronomical one, which no encoder has positions for.
    if tokenizer.model_max_length > getattr(config, "max_position_embeddings", LONGEST):
        tokenizer.model_max_length = LONGEST
    return scorer
