"""Traces for instruction tuning: the draws whose answer is right, reasoning included (rejection sampling).

Zelikman et al. 2022 ("STaR") and Yuan et al. 2023 ("Scaling relationship on learning mathematical reasoning", rejection
sampling fine-tuning), with the task's own parser and metric as the judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mellama_train.draws.judged import Asked, Draw
from mellama_train.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceChoice:
    """Which draws are kept: those with at least the score `right`, `most` of a document (None: all that differ)."""

    right: float = 1.0
    most: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.right <= 1:
            raise DataError(f"--right {self.right:g} is out of range; it is a score, above 0 and at most 1")
        if self.most is not None and self.most < 1:
            raise DataError(f"--per-document {self.most} is out of range; it is a number of traces, at least 1")


def traces_of(document: Asked, choice: TraceChoice) -> list[Draw]:
    """The draws that are kept, in their order."""
    return document.right(choice.right)[: choice.most]


def trace_rows(document: Asked, choice: TraceChoice, source: str) -> Iterator[dict[str, Any]]:
    """The traces of a document as lines that `mellama-train instruct` reads."""
    for draw in traces_of(document, choice):
        yield {
            "messages": [*document.messages, {"role": "assistant", "content": draw.text}],
            "source": source,
            "id": document.id,
            "draw": draw.number,
            "score": draw.score,
        }
