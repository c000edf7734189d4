"""From the sources' files to the samples that are kept, with what was counted on the way.

A source is read and cleaned; an item that is drawn is compared with the test sets. The draws of a row of the paper's
table are merged and cut to its size, then all rows are merged in the order of their seeded keys, which is a shuffle.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from mellama_train.corpus.decontaminate import TestIndex, report_line
from mellama_train.instructions.cleaning import cleaned
from mellama_train.instructions.config import InstructionsConfig
from mellama_train.instructions.drawing import Draw, key_of
from mellama_train.instructions.items import Item
from mellama_train.instructions.near_copies import NearCopies
from mellama_train.instructions.sources import ROWS, SOURCES, Row, Source

REPORT = "decontamination.jsonl"
Samples: TypeAlias = Iterator[tuple[int, Source, Item]]
"""(key, source, item) of each sample, the smallest key first."""

# Near copies are found after the draw; this much more is drawn, so that the cap is met all the same.
RESERVE = 0.1


class Making:
    """The samples of all rows, with what was counted and found while they were made."""

    def __init__(
        self, config: InstructionsConfig, inputs: dict[str, list[Path]], index: TestIndex | None, work: Path
    ) -> None:
        self.counts = {name: Counter[str]() for name in config.sources}
        self.hits: dict[str, Counter[str]] = {}
        self._config = config
        self._inputs = inputs
        self._index = index
        self._work = work

    def samples(self) -> Samples:
        """What is kept of all rows; each key once."""
        given = [SOURCES[name] for name in self._config.sources]
        rows = [(row, [source for source in given if source.row is row]) for row in ROWS]
        with ExitStack() as stack:
            report = stack.enter_context((self._work / REPORT).open("w", encoding="utf-8"))
            draws = {s.name: stack.enter_context(self._draw(s)) for s in given}
            for source in given:
                self._fill(draws[source.name], source, report)
            last = None
            for key, source, item in _merged(
                self._row(row, [(s, draws[s.name]) for s in some]) for row, some in rows if some
            ):
                if key == last:
                    self.counts[source.name]["duplicates"] += 1
                else:
                    self.counts[source.name]["kept"] += 1
                    yield key, source, item
                last = key

    @contextmanager
    def _draw(self, source: Source) -> Iterator[Draw]:
        cap = self._config.cap(source.name)
        reserve = RESERVE if self._near(source.row) else 0
        draw = Draw(self._work / f"{source.name}.drawn", None if cap is None else cap + int(cap * reserve))
        try:
            yield draw
        finally:
            draw.close()

    def _near(self, row: Row) -> bool:
        return row.near and self._config.deduplicate == "near"

    def _fill(self, draw: Draw, source: Source, report: IO[str]) -> None:
        """Read a source. What cannot be drawn any more is not looked at any closer."""
        counts = self.counts[source.name]
        for raw in source.reader.read(self._inputs[source.name]):
            counts["read"] += 1
            item = cleaned(raw, source.prompt)
            if item is None:
                counts["null"] += 1
                continue
            key = key_of(item, self._config.seed)
            if draw.has(key):
                counts["duplicates"] += 1
            elif draw.wants(key):
                if self._is_contaminated(item, source, report):
                    counts["contaminated"] += 1
                else:
                    draw.add(key, item)

    def _is_contaminated(self, item: Item, source: Source, report: IO[str]) -> bool:
        if self._index is None or self._config.decontaminate == "off":
            return False
        removed = False
        for hit in self._index.hits("\n".join(item.texts())):
            over = hit.coverage >= self._config.decontaminate.coverage
            removed |= over
            self.hits.setdefault(hit.task, Counter(hits=0, removed=0)).update(hits=1, removed=int(over))
            level = source.access.level
            line = report_line(self._index, hit, document=item.id, source=source.name, access=level, removed=over)
            report.write(line + "\n")
        return removed

    def _row(self, row: Row, draws: list[tuple[Source, Draw]]) -> Samples:
        """The samples of a row, at most as many as the paper has, the smallest keys of each source's own draw first."""
        kept: Counter[str] = Counter()
        new = NearCopies() if self._near(row) else None
        for key, source, item in _merged(_named(source, draw) for source, draw in draws):
            cap = self._config.cap(source.name)
            if (row.size is not None and kept.total() >= row.size) or (cap is not None and kept[source.name] >= cap):
                continue
            if new is not None and not new.is_new("\n".join(item.texts())):
                self.counts[source.name]["near copies"] += 1
                continue
            kept[source.name] += 1
            yield key, source, item


def _named(source: Source, draw: Draw) -> Samples:
    for key, item in draw.drawn():
        yield key, source, item


def _merged(streams: Iterable[Samples]) -> Samples:
    return heapq.merge(*streams, key=lambda sample: sample[0])
