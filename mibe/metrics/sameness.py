"""How far a model gives one and the same answer, whatever it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b

from mibe.metrics.arrays import np
from mibe.task import Value

SIZE = 16
"""Bytes of an answer's digest: two answers of one run share one as seldom as two files share a hash."""


def answer_counts(predictions: Iterable[Value | None]) -> dict[str, int]:
    """Answers that were `read`, how many of them are `distinct`, and how often the `commonest` of them was given."""
    # Digests in a row take 16 bytes an answer, where a table of a million summaries would hold each of them.
    digests = bytearray()
    for prediction in predictions:
        if prediction is not None:
            text = prediction if isinstance(prediction, str) else json.dumps(prediction, sort_keys=True)
            digests += blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()
    counts = np.unique(np.frombuffer(digests, dtype=f"S{SIZE}"), return_counts=True)[1]
    return {"read": int(counts.sum()), "distinct": len(counts), "commonest": int(counts.max(initial=0))}
