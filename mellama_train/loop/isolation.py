"""Whether documents in one row see each other: measured on the model itself, with the weights and kernels of the run.

transformers keeps packed documents apart by their positions, for most models. State-space and other recurrent layers,
models that take positions from an attention mask, and some masks of a model's own let the first document into the
second, without a word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mellama_train.engines.engine import Engine
from mellama_train.model.adapters import bare
from mellama_train.recipe.config import Recipe
from mellama_train.rows.batches import collate
from mellama_train.rows.row import IGNORED, Row

LENGTH = 96
"""Tokens of a document of the measurement: three make a row long enough for the kernels that training uses.

Below 128 tokens FlexAttention takes another one on GPUs.
"""

TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 1e-2}
"""Nats a target by which rounding alone may part two losses. Models that see the first document differ by 0.1 or so."""


def seen(engine: Engine, recipe: Recipe) -> float | None:
    """By how much the loss of a document changes with what stands before it in its row, in nats a target.

    None where that is no more than rounding. The document is read behind two other ones, and alone.
    """
    length = max(2, min(LENGTH, recipe.context // 3))
    chance = np.random.default_rng(0)
    vocabulary = bare(engine.model).get_input_embeddings().num_embeddings
    document, *others = chance.integers(vocabulary, size=(3, length))
    rows = [_row([*before, document], 3 * length) for before in ([others[0]], [others[1]], [])]
    losses = [engine.summed_loss(collate([row])) / (length - 1) for row in rows]
    most = max(abs(loss - losses[0]) for loss in losses[1:])
    return most if most > TOLERANCE[recipe.precision] else None


def _row(documents: list[NDArray[np.int64]], length: int) -> Row:
    """A packed row of which the last document is learned; padding is a document of its own, as in training."""
    tokens, positions = np.zeros(length, np.int64), np.zeros(length, np.int64)
    labels, at = np.full(length, IGNORED), 0
    for document in documents:
        part = slice(at, at + len(document))
        tokens[part], positions[part] = document, np.arange(len(document))
        at += len(document)
    labels[at - len(documents[-1]) + 1 : at] = documents[-1][1:]
    positions[at:] = np.arange(length - at)
    return Row(tokens, positions, labels, "")
