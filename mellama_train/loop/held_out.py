"""Perplexity on rows that are not trained on, per source."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mellama_train.engines.engine import Engine
from mellama_train.engines.ranks import Ranks
from mellama_train.loop.stopping import Stop
from mellama_train.rows.batches import collate
from mellama_train.rows.row import IGNORED, Rows

if TYPE_CHECKING:
    from mellama_train.rows.row import Row


def held_out_losses(engine: Engine, sets: Mapping[str, Rows], most: int, ranks: Ranks, stop: Stop) -> dict[str, float]:
    """Figures "held_out_loss/SOURCE" (nats a target) and "perplexity/SOURCE" over the first `most` rows of each set.

    The ranks share the rows; each makes the same number of forward passes, since sharded weights are gathered in them.
    Raises `StoppedError` between two of them.
    """
    own: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    for rows in sets.values():
        count = min(most, len(rows))
        for start in range(0, count, ranks.size):
            stop.look()
            index = min(start + ranks.rank, count - 1)
            loss, number = _measure(engine, rows[index])
            if start + ranks.rank < count:
                own[rows[index].source] += loss  # type: ignore[assignment]
                targets[rows[index].source] += number
    return _merge(ranks.gather((dict(own), dict(targets))))


def _measure(engine: Engine, row: Row) -> tuple[float, int]:
    batch = collate([row])
    return engine.summed_loss(batch), int((batch.targets != IGNORED).sum())


def _merge(parts: list[tuple[dict[str, float], dict[str, int]]]) -> dict[str, float]:
    figures = {}
    for source in sorted({source for losses, _ in parts for source in losses}):
        count = sum(targets.get(source, 0) for _, targets in parts)
        if count:
            mean = sum(losses.get(source, 0.0) for losses, _ in parts) / count
            figures[f"held_out_loss/{source}"] = mean
            figures[f"perplexity/{source}"] = math.exp(min(mean, 700.0))
    return figures
