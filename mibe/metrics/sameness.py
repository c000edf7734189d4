"""How far a model gives one and the same answer, whatever it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from itertools import count

from mibe.metrics.arrays import np
from mibe.task import Value

SIZE = 16
"""Bytes of an answer's digest: two answers of one run share one as seldom as two files share a hash."""

NUMBER = 8
"""Bytes of a document's number."""


def answer_counts(predictions: Iterable[Value | None], documents: Iterable[int] | None = None) -> dict[str, int]:
    """Answers that were `read`, how many of them are `distinct`, and how often the `commonest` of them was given.

    `documents` has the number of the document that each is of: what several draws of one say alike counts once. By
    default each is of another.
    """
    # Digests in a row take 24 bytes an answer, where a table of a million summaries would hold each of them.
    digests = bytearray()
    for number, prediction in zip(count() if documents is None else documents, predictions, strict=False):
        if prediction is not None:
            text = prediction if isinstance(prediction, str) else json.dumps(prediction, sort_keys=True)
            digests += blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()
            digests += int(number).to_bytes(NUMBER, "big")
    given = np.unique(np.frombuffer(digests, dtype=f"S{SIZE + NUMBER}"))
    answers = np.ascontiguousarray(given.view(np.uint8).reshape(-1, SIZE + NUMBER)[:, :SIZE]).view(f"S{SIZE}")
    counts = np.unique(answers, return_counts=True)[1]
    return {"read": int(counts.sum()), "distinct": len(counts), "commonest": int(counts.max(initial=0))}
