"""What a sample is known by, and sets of that which a million samples do not make large."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from mibe.metrics.arrays import BoolArray, np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 16
"""Bytes of a digest: two samples of one log share one as seldom as two prompts share a hash."""


Key = tuple[str, int]
"""The id of the document, and the number of the draw from 0."""


def draw_of(row: Mapping[str, Any]) -> int:
    """The number of the row's draw; a run of one draw says none."""
    return int(row.get("draw", 0))


def cluster_of(row: Mapping[str, Any]) -> str:
    """The name of what the document shares with others; a row that says none is of a document by itself."""
    return str(row.get("cluster", row["id"]))


def identity(row: Mapping[str, Any]) -> Key:
    """Document and draw: two rows of one log with the same are the same sample."""
    return row["id"], draw_of(row)


def digest(ident: str, draw: int = 0) -> bytes:
    """The digest of the draw of a document."""
    return blake2b(f"{draw}/{ident}".encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


class Digests:
    """A set of digests in one sorted string of bytes."""

    def __init__(self, digests: Iterable[bytes] = ()) -> None:
        found = _joined(digests)
        # numpy is not needed, nor loaded, where there is nothing.
        self._sorted: bytes = np.unique(_array(found)).tobytes() if found else b""

    def __len__(self) -> int:
        return len(self._sorted) // SIZE

    def __contains__(self, wanted: bytes) -> bool:
        at = bisect_left(range(len(self)), wanted, key=self._at)
        return at < len(self) and self._at(at) == wanted

    def _at(self, index: int) -> bytes:
        return self._sorted[index * SIZE : (index + 1) * SIZE]


def last_of_each(digests: Iterable[bytes]) -> BoolArray:
    """Shape (digests,): whether none of those behind it is the same."""
    keys = _array(_joined(digests))
    last = np.zeros(len(keys), dtype=np.bool_)
    _, first_from_behind = np.unique(keys[::-1], return_index=True)
    last[len(keys) - 1 - first_from_behind] = True
    return last


def _joined(digests: Iterable[bytes]) -> bytearray:
    # One by one: `join` would first make a list of objects, three times as large.
    joined = bytearray()
    for each in digests:
        joined += each
    return joined


def _array(digests: bytearray) -> NDArray[Any]:
    """Shape (digests,), compared as bytes."""
    return np.frombuffer(digests, dtype=f"S{SIZE}")
