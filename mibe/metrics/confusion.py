"""The confusion matrix of a run, as it stands in the run record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mibe.errors import DataError
from mibe.task import Value


def confusion_matrix(
    predictions: Sequence[Value | None], targets: Sequence[Value], labels: Sequence[str]
) -> list[list[int]]:
    """Row = gold label, column = predicted label, and a last column for answers that are missing or outside the labels.

    Raises `DataError` for a target that is not among the labels.
    """
    if strangers := sorted(set(targets) - set(labels)):
        raise DataError(f"the target {strangers[0]!r} is not among the labels; prepare the data again")
    known = set(labels)
    cells = Counter((t, p if p in known else None) for p, t in zip(predictions, targets, strict=True))
    return [[cells[gold, predicted] for predicted in (*labels, None)] for gold in labels]
