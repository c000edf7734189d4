"""Sources mixed by weight: exact over every window of some thousand rows, and the same for any number of ranks.

Smooth weighted round-robin over rows of fixed length gives a pattern that repeats after the sum of the weights (15:1:4
after 20 rows), so the source of row i, and which of its rows it is, are a division and a look-up away.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mellama_train.corpus.permutation import Permutation, mix
from mellama_train.corpus.shards import Corpus, Split, TokenStream
from mellama_train.errors import CorpusError
from mellama_train.rows.row import IGNORED, Row

LONGEST_PERIOD = 100_000


class PackedSource:
    """The rows of one source in the order of its shards: documents one after another, cut every `length` tokens.

    A document that is cut goes on in the next row, where its positions begin at 0 again, since what was before is not
    there to attend to. The last row is filled with the end-of-text token, outside the loss. No token is lost.
    """

    def __init__(self, corpus: Corpus, source: str, *, length: int, split: Split = "train") -> None:
        self.length = length
        self.source = source
        self.split = split
        self._stream = TokenStream(corpus.folder, corpus.shards(source, split), corpus.dtype)
        self._padding = int(corpus.manifest["tokenizer"]["eos_id"])
        self._sha256 = corpus.sha256

    def __len__(self) -> int:
        return -(-len(self._stream) // self.length)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, without padding."""
        return len(self._stream)

    def __getitem__(self, index: int) -> Row:
        """The row at `index`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.length
        found, begins = self._stream.read(start, min(start + self.length, len(self._stream)))
        tokens = np.full(self.length, self._padding, dtype=np.int64)
        tokens[: len(found)] = found
        if len(found) < self.length:
            begins = np.append(begins, len(found))
        positions = np.arange(self.length) - np.repeat(begins, np.diff(begins, append=self.length))
        labels = tokens.copy()
        labels[begins] = IGNORED
        labels[len(found) :] = IGNORED
        return Row(tokens, positions, labels, self.source)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"corpus": self._sha256, "source": self.source, "split": self.split, "length": self.length}


@dataclass(frozen=True, slots=True)
class Cycle:
    """One period of smooth weighted round-robin.

    `turns`: the source number of each row. `places`: how many rows of that source came before in the period.
    `taken`: (period + 1, sources) rows of each source before each place.
    """

    turns: tuple[int, ...]
    places: tuple[int, ...]
    taken: tuple[tuple[int, ...], ...]

    @property
    def period(self) -> int:
        """Rows after which the pattern repeats."""
        return len(self.turns)

    def count(self, rows: int, source: int) -> int:
        """Rows of a source among the first `rows`."""
        whole, rest = divmod(rows, self.period)
        return whole * self.taken[-1][source] + self.taken[rest][source]


def cycle(weights: list[float]) -> Cycle:
    """The period of these weights: of all orders, the one that spreads each source most evenly (as nginx does).

    Raises `CorpusError` where the period would be above 100,000 rows: it would be exact over no short window.
    """
    fractions = [Fraction(str(weight)) for weight in weights]
    scale = lcm(*(f.denominator for f in fractions))
    parts = [int(f * scale) for f in fractions]
    divisor = gcd(*parts)
    parts = [part // divisor for part in parts]
    total = sum(parts)
    if total > LONGEST_PERIOD:
        raise CorpusError(
            f"the weights {_ratio(weights)} repeat after {total:,} rows only; use rounder ones, as 15:1:4"
        )
    current = [0] * len(parts)
    taken = [tuple(current)]
    turns, places = [], []
    for _ in range(total):
        current = [value + part for value, part in zip(current, parts, strict=True)]
        chosen = max(range(len(parts)), key=lambda i: (current[i], -i))
        current[chosen] -= total
        turns.append(chosen)
        places.append(taken[-1][chosen])
        taken.append(tuple(n + (i == chosen) for i, n in enumerate(taken[-1])))
    return Cycle(tuple(turns), tuple(places), tuple(taken))


class Mixture:
    """Rows of several sources by weight. Each pass over a source has its own seeded order."""

    def __init__(
        self,
        corpus: Corpus,
        *,
        length: int,
        weights: dict[str, float],
        max_epochs: dict[str, float],
        tokens: int | None,
        seed: int,
    ) -> None:
        """`tokens` is the length of the run; None: as long as no source exceeds its `max_epochs`.

        Raises `CorpusError` for a source that is unknown or empty, and for weights that the sources cannot meet, with
        the number of passes that they would need.
        """
        if unknown := sorted((weights.keys() | max_epochs.keys()) - set(corpus.sources)):
            raise CorpusError(
                f"the corpus {corpus.folder} has no source {unknown[0]}; it has {', '.join(corpus.sources)}"
            )
        self.length = length
        self.names = tuple(weights)
        self.sources = tuple(PackedSource(corpus, name, length=length) for name in weights)
        if empty := [s.source for s in self.sources if not len(s)]:
            raise CorpusError(f"the source {empty[0]} is empty; leave it out of the weights")
        self._weights = weights
        self._seed = seed
        self._cycle = cycle(list(weights.values()))
        self._corpus = corpus.sha256
        limits = [int(len(s) * max_epochs.get(s.source, 1.0)) for s in self.sources]
        self._rows = self._longest(limits) if tokens is None else -(-tokens // length)
        self._check(limits, max_epochs, tokens)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        length: int | None = None,
        weights: dict[str, float] | None = None,
        max_epochs: dict[str, float] | None = None,
        tokens: int | None = None,
        seed: int | None = None,
    ) -> Mixture:
        """The mixture of a corpus folder; what is not given is as the corpus file had it."""
        corpus = Corpus.open(folder)
        recipe, sources = corpus.manifest["mixture"], corpus.manifest["sources"]
        return cls(
            corpus,
            length=recipe["length"] if length is None else length,
            weights={name: s["weight"] for name, s in sources.items()} if weights is None else weights,
            max_epochs={name: s["max_epochs"] for name, s in sources.items()} | (max_epochs or {}),
            tokens=recipe["tokens"] if tokens is None else tokens,
            seed=recipe["seed"] if seed is None else seed,
        )

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> Row:
        """The row at `index`; O(1), whatever was read before and by whom."""
        source, place = self.locate(index)
        return self.sources[source][place]

    def locate(self, index: int) -> tuple[int, int]:
        """(number of the source, row of the source) of a row of the mixture."""
        if not 0 <= index < self._rows:
            raise IndexError(index)
        turn = index % self._cycle.period
        source = self._cycle.turns[turn]
        nth = index // self._cycle.period * self._cycle.taken[-1][source] + self._cycle.places[turn]
        epoch, place = divmod(nth, len(self.sources[source]))
        return source, self._order(source, epoch)[place]

    def epochs(self, rows: int | None = None) -> dict[str, float]:
        """Passes over each source in the first `rows` rows (None: in all)."""
        counts = self.counts(self._rows if rows is None else rows)
        return {s.source: counts[s.source] / len(s) for s in self.sources}

    def counts(self, rows: int) -> dict[str, int]:
        """Rows of each source among the first `rows`."""
        return {name: self._cycle.count(rows, number) for number, name in enumerate(self.names)}

    def describe(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, and a resumed run must find again."""
        return {
            "corpus": self._corpus,
            "length": self.length,
            "rows": self._rows,
            "weights": self._weights,
            "epochs": self.epochs(),
            "seed": self._seed,
        }

    def _order(self, source: int, epoch: int) -> Permutation:
        name = xxhash.xxh3_64_intdigest(self.names[source].encode())
        return Permutation(len(self.sources[source]), mix(mix(mix(self._seed) ^ name) ^ epoch))

    def _longest(self, limits: list[int]) -> int:
        """The most rows in which no source gives more than its limit."""
        ceiling = self._cycle.period * (max(limits) + 1)

        def exceeds(rows: int) -> bool:
            return any(self._cycle.count(rows, i) > limit for i, limit in enumerate(limits))

        return bisect_right(range(ceiling), False, key=exceeds) - 1

    def _check(self, limits: list[int], max_epochs: dict[str, float], tokens: int | None) -> None:
        # Without a length there is none that is too long, but less than one period is no mixture at all.
        rows = max(self._rows, self._cycle.period) if tokens is None else self._rows
        short = [
            f"{source.source} has {source.tokens:,} tokens and would be passed {needed / len(source):.2f} times "
            f"(max_epochs {max_epochs.get(source.source, 1.0):g})"
            for number, source in enumerate(self.sources)
            if (needed := self._cycle.count(rows, number)) > limits[number]
        ]
        if short:
            raise CorpusError(
                f"the weights {_ratio(list(self._weights.values()))} cannot be met over {rows * self.length:,} tokens: "
                f"{', '.join(short)}; raise max_epochs, lower the weight, or lower tokens"
            )


def _ratio(weights: list[float]) -> str:
    return ":".join(f"{weight:g}" for weight in weights)


def held_out(folder: Path, *, length: int | None = None) -> dict[str, PackedSource]:
    """Source → the rows of its held-out documents; a source without any is left out."""
    corpus = Corpus.open(folder)
    rows = corpus.manifest["mixture"]["length"] if length is None else length
    packed = {name: PackedSource(corpus, name, length=rows, split="held_out") for name in corpus.sources}
    return {name: source for name, source in packed.items() if len(source)}
