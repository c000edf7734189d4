"""Which documents of a data set depend on each other: the pairs of one abstract, the questions about one note.

Each function makes the `cluster` of a `Task`: example → the name of its cluster. Uncertainty goes by these names, which
stand in sample logs; a text is therefore named by a digest, which tells nothing of a credentialed note.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from mibe.data.splits import normalised
from mibe.task import Example

SIZE = 8
"""Bytes of a text's digest: among a million texts two share one with a probability of 3e-8."""


def of_id(separator: str, parts: int = 1) -> Callable[[Example], str]:
    """The id without its last parts: "test/note-7/12" → "test/note-7"."""
    return lambda example: example.id.rsplit(separator, parts)[0]


def of_input(field: str) -> Callable[[Example], str]:
    """The text of an input field, the same for texts that differ in case and white space alone."""
    return lambda example: blake2b(normalised(example.inputs[field]).encode(), digest_size=SIZE).hexdigest()


def blocks(size: int) -> Callable[[Example], str]:
    """So many neighbours in the file, where an id is "split/number" and nothing marks where a document ends.

    An example with another id, as of data that its user made, is a cluster by itself.

    The block bootstrap (Carlstein 1986, "The use of subseries values for estimating the variance of a general statistic
    from a stationary sequence"): a block should be longer than what depends on each other.
    """

    def block(example: Example) -> str:
        split, _, number = example.id.rpartition("/")
        return f"{split}/{int(number) // size}" if number.isdecimal() else example.id

    return block
