"""The rows of a sample log as columns, read in one pass: a million samples in some tens of bytes each."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

from mibe.metrics.arrays import BoolArray, IntArray, np
from mibe.metrics.intervals import shared
from mibe.results.digests import identity
from mibe.results.log import Row
from mibe.run.reading import ANSWERED
from mibe.task import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 4096
"""Ids that are put into an array at once."""


class Column(Sequence[Any]):
    """One value of each sample; a text that many samples have (a label, a letter, a subject) is held once."""

    def __init__(self, codes: Sequence[int], pool: Sequence[Any]) -> None:
        self._codes = codes
        self._pool = pool

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._pool[code] for code in self._codes[index]]
        return self._pool[self._codes[index]]

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[Any]:
        return (self._pool[code] for code in self._codes)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The samples of a task that are scored, sorted by document and draw, and what is counted over all.

    `documents`, `draws` and `budget_cuts` are arrays of shape (samples,): the number of each sample's document, in the
    order of the ids, that of its draw, and whether a limit ended its reasoning. `groups` holds a column for each field
    that scores are broken down by, `scores` what the rows say of their own scores. `clusters` is that of
    `mibe.metrics.intervals`, None where each sample is by itself. `failed` are the clusters of the samples with an
    error, which have no place in any of these. `repeats` is the number of draws that each document was asked for, by
    the numbers of its draws. `variants` has what a row says of the version of its document that it is, and what was
    answered as it was written, or None.
    """

    documents: IntArray
    clusters: IntArray | None
    draws: IntArray
    budget_cuts: BoolArray
    outcomes: Column
    predictions: Column
    targets: Column
    groups: tuple[Column, ...]
    scores: Column
    failed: IntArray
    finish_reasons: dict[str, int]
    cut: int
    repeats: int
    variants: Column

    @property
    def count(self) -> int:
        """How many clusters the samples are of."""
        return len(self.documents) if self.clusters is None else len(np.unique(self.clusters))

    @property
    def document_clusters(self) -> IntArray | None:
        """Shape (documents,): the cluster of each document, None where each is by itself."""
        if self.clusters is None:
            return None
        return shared(self.clusters[self.first_draws])

    @property
    def first_draws(self) -> IntArray:
        """Shape (documents,): where the first scored draw of each document stands."""
        return np.unique(self.documents, return_index=True)[1]

    def by_document(self) -> Iterator[slice]:
        """Where the samples of each document stand."""
        bounds = np.flatnonzero(np.diff(self.documents, prepend=-1, append=-1)).tolist()
        return (slice(start, stop) for start, stop in pairwise(bounds))


def read_columns(rows: Iterable[Row], fields: Sequence[str], *, with_scores: bool) -> Columns:
    """The columns of the rows; `fields` are names in their metadata. `scores` holds None where they are not wanted:
    those of answers by likelihood always are."""
    found = GrowingColumns(fields, with_scores=with_scores)
    for row in rows:
        found.add(row)
    return found.columns()


class GrowingColumns:
    """The columns of rows that are added one by one: whoever reads a log once may fill several of them."""

    def __init__(self, fields: Sequence[str], *, with_scores: bool) -> None:
        self._fields, self._with_scores = fields, with_scores
        self._ids, self._draws, self._failed, self._budget_cuts = _Ids(), array("q"), array("b"), array("b")
        self._outcomes, self._predictions, self._targets = _Growing(), _Growing(), _Growing()
        self._scores, self._named, self._variants = _Growing(), _Growing(), _Growing()
        self._groups = tuple(_Growing() for _ in fields)
        self._finish_reasons: Counter[str] = Counter()
        self._cut, self._repeats = 0, 1

    def __len__(self) -> int:
        return len(self._draws)

    def add(self, row: Row) -> None:
        """One more row."""
        self._finish_reasons[row.get("finish_reason") or "unknown"] += 1
        self._cut += bool(row.get("cut"))
        ident, draw = identity(row)
        self._repeats = max(self._repeats, draw + 1)
        self._ids.append(ident)
        self._draws.append(draw)
        self._named.append(row.get("cluster"))
        self._variants.append(_variant(row) if "variant" in row else None)
        self._failed.append(row["outcome"] == Outcome.ERROR)
        self._budget_cuts.append(bool(row.get("budget_cut")))
        self._outcomes.append(row["outcome"])
        self._predictions.append(row["prediction"])
        self._targets.append(row["target"])
        metadata = row.get("metadata") or {}
        for column, field in zip(self._groups, self._fields, strict=True):
            column.append(metadata.get(field, ""))
        self._scores.append(row["scores"] if self._with_scores or "loglikelihoods" in row else None)

    def columns(self) -> Columns:
        """Those of all rows so far."""
        names, numbers = self._ids.array(), np.array(self._draws, dtype=np.int64)
        # The order in which responses happened to arrive bears on no figure, not even in its last digit.
        order = np.lexsort((numbers, names))
        names = names[order]
        documents = np.cumsum(np.append(False, names[1:] != names[:-1]))[: len(names)]
        clusters = self._named.numbers(order, documents, names)
        is_shared = shared(clusters) is not None
        has_failed = np.array(self._failed, dtype=np.bool_)[order]
        order = order[~has_failed]
        return Columns(
            documents=documents[~has_failed],
            clusters=clusters[~has_failed] if is_shared else None,
            draws=numbers[order],
            budget_cuts=np.array(self._budget_cuts, dtype=np.bool_)[order],
            outcomes=self._outcomes.sorted(order),
            predictions=self._predictions.sorted(order),
            targets=self._targets.sorted(order),
            groups=tuple(column.sorted(order) for column in self._groups),
            scores=self._scores.sorted(order),
            failed=clusters[has_failed],
            finish_reasons=dict(self._finish_reasons),
            cut=self._cut,
            repeats=self._repeats,
            variants=self._variants.sorted(order),
        )


def _variant(row: Row) -> dict[str, Any]:
    """Which version of which document a row is, and its answer as it was written."""
    said: dict[str, Any] = row["variant"]
    return said | {"answered": row.get(ANSWERED, row["prediction"]), "itself": row["id"] == said["of"]}


class _Growing:
    """A column while rows are read."""

    def __init__(self) -> None:
        self._codes = array("I")
        self._pool: list[Any] = []
        self._known: dict[str | None, int] = {}

    def append(self, value: Any) -> None:
        code = len(self._pool)
        if value is None or isinstance(value, str):
            code = self._known.setdefault(value, code)
        if code == len(self._pool):
            self._pool.append(value)
        self._codes.append(code)

    def sorted(self, order: IntArray) -> Column:
        """The column in this order of its rows."""
        return Column(array("I", np.array(self._codes, dtype=np.uint32)[order].tobytes()), self._pool)

    def numbers(self, order: IntArray, documents: IntArray, ids: NDArray[Any]) -> IntArray:
        """Shape (samples,): the number of each cluster of a column of their names, in this order of its rows.

        A sample without a name is of its document's cluster, as are those that are named after that document. `ids` are
        the sorted ids, and `documents` their numbers.
        """
        known = [name for name in self._pool if name is not None]
        if not known:
            return documents
        names = np.array([name.encode("utf-8", "surrogatepass") for name in known], dtype=np.bytes_)
        # Numbered in the order of the names, in which nothing of the responses' order stands.
        number = len(ids) + np.unique(names, return_inverse=True)[1]
        at = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
        number = np.where(ids[at] == names, documents[at], number)
        place = {name: int(value) for name, value in zip(known, number, strict=True)}
        of_code = np.array([place.get(name, -1) for name in self._pool], dtype=np.int64)
        found = of_code[np.array(self._codes, dtype=np.uint32)[order]]
        return np.where(found < 0, documents, found)


class _Ids:
    """Ids as an array of bytes, whose order is that of the texts."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._last: list[bytes] = []

    def append(self, ident: str) -> None:
        self._last.append(ident.encode("utf-8", "surrogatepass"))
        if len(self._last) == BLOCK:
            self._close()

    def _close(self) -> None:
        self._blocks.append(np.array(self._last, dtype=np.bytes_))
        self._last = []

    def array(self) -> NDArray[Any]:
        """Shape (ids,)."""
        self._close()
        return np.concatenate(self._blocks)


def by_group(column: Sequence[str]) -> Mapping[str, IntArray]:
    """Value → the places in the column that have it, values in alphabetical order."""
    values = sorted(set(column))
    number = {value: code for code, value in enumerate(values)}
    codes = np.fromiter((number[value] for value in column), dtype=np.int32, count=len(column))
    return {value: np.flatnonzero(codes == code) for code, value in enumerate(values)}
