"""Rows by number, cut into the micro-batches of one rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from mellama_train.recipe.config import Batch
from mellama_train.rows.row import IGNORED, Row, Rows
from mellama_train.rows.steps import own_indices


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass reads.

    `tokens` and `positions` are (rows, length) int64. `predictors` (n,) are the places in the flattened tokens whose
    next token is in the loss, and `targets` (n,) those tokens. A batch without any has one predictor with target
    -100, so that every parameter still gets a gradient (of zero) on every rank. `bounds` (documents + 1,) int32 are
    the places in the flattened tokens at which documents begin, and their number at the end; `longest` is the number
    of tokens of the longest document.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    bounds: torch.Tensor
    longest: int

    def to(self, device: torch.device) -> MicroBatch:
        """The same on another device."""
        names = ("tokens", "positions", "predictors", "targets", "bounds")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True, slots=True)
class StepBatches:
    """One rank's part of one optimizer step: its micro-batches, its number of targets, its tokens per source.

    `attended` sums over all tokens the mean length of their document, as `flops.Cost` counts it: n² for n tokens.
    """

    micro: tuple[MicroBatch, ...]
    targets: int
    tokens: Counter[str]
    attended: int


def collate(rows: Sequence[Row]) -> MicroBatch:
    """Rows as one micro-batch. What would be predicted across the start of a document is never a target."""
    tokens = np.stack([row.tokens for row in rows])
    positions = np.stack([row.positions for row in rows])
    labels = np.stack([row.labels for row in rows])
    wanted = (labels != IGNORED) & (positions != 0)
    wanted[:, 0] = False
    places = np.flatnonzero(wanted)
    if len(places):
        predictors, targets = places - 1, labels.reshape(-1)[places]
    else:
        predictors, targets = np.zeros(1, np.int64), np.full(1, IGNORED, np.int64)
    begins = positions == 0
    begins[:, 0] = True
    bounds = np.append(np.flatnonzero(begins), tokens.size).astype(np.int32)
    return MicroBatch(
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        predictors=torch.from_numpy(predictors),
        targets=torch.from_numpy(targets),
        bounds=torch.from_numpy(bounds),
        longest=int(np.diff(bounds).max()),
    )


def load_step(rows: Rows, step: int, batch: Batch, rank: int, ranks: int) -> StepBatches:
    """The part of `rank` in step `step`. Rows past the end are blank, so the last step may be short."""
    micro, tokens, attended = [], Counter[str](), 0
    for indices in own_indices(step, batch, rank, ranks):
        found = [rows[index] for index in indices if index < len(rows)]
        for row in found:
            real = real_tokens(row)
            tokens[row.source] += real
            attended += int((2 * row.positions[:real] + 1).sum())
        micro.append(collate([*found, *[_blank(rows.length)] * (len(indices) - len(found))]))
    targets = sum(int((part.targets != IGNORED).sum()) for part in micro)
    return StepBatches(tuple(micro), targets, tokens, attended)


def ahead(rows: Rows, first: int, last: int, batch: Batch, rank: int, ranks: int) -> Iterator[StepBatches]:
    """The parts of steps `first` to `last` - 1, each read while the one before it is being computed."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = None
        for step in range(first, last):
            present = coming or reader.submit(load_step, rows, step, batch, rank, ranks)
            coming = reader.submit(load_step, rows, step + 1, batch, rank, ranks) if step + 1 < last else None
            yield present.result()


def real_tokens(row: Row) -> int:
    """Tokens of a row that are no padding. Padding at the end of a row is a document of its own without labels."""
    starts = np.flatnonzero(row.positions == 0)
    last = int(starts[-1]) if len(starts) else 0
    padded = last > 0 and bool((row.labels[last:] == IGNORED).all())
    return last if padded else len(row.tokens)


def _blank(length: int) -> Row:
    return Row(np.zeros(length, np.int64), np.arange(length), np.full(length, IGNORED), "")
