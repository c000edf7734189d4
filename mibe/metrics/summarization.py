"""ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004), F-measures equal to the rouge-score package without stemmer.

The longest common subsequence is found a whole row of the table at a time, the row being the bits of one integer
(Hyyrö 2004, "Bit-parallel LCS-length computation revisited"); rouge-score fills the table cell by cell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import SampleMean
from mibe.metrics.values import TEXT, Takes
from mibe.task import Value

_WORD = re.compile(r"[a-z0-9]+")

Tokens = list[str]


@dataclass(frozen=True)
class Rouge(SampleMean):
    """Mean F-measures of n-gram overlap and of the longest common subsequence. None scores 0.

    ROUGE-Lsum takes each line as a sentence; for texts on one line it is ROUGE-L.
    """

    takes: ClassVar[Takes] = TEXT

    @property
    def names(self) -> tuple[str, ...]:
        """Four figures: rouge1, rouge2, rougeL, rougeLsum."""
        return ("rouge1", "rouge2", "rougeL", "rougeLsum")

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 4): from 0 to 1."""
        rows = [rouge(p or "", t) for p, t in zip(predictions, targets, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(-1, 4)


def rouge(prediction: str, target: str) -> tuple[float, float, float, float]:
    """F-measures of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum of one pair of texts."""
    predicted_lines, target_lines = tokenise_lines(prediction), tokenise_lines(target)
    predicted, gold = list(chain(*predicted_lines)), list(chain(*target_lines))
    one_line = len(predicted_lines) <= 1 and len(target_lines) <= 1
    rouge_l = f_measure(lcs_length(predicted, gold), len(predicted), len(gold))
    return (
        _ngram_f_measure(predicted, gold, 1),
        _ngram_f_measure(predicted, gold, 2),
        rouge_l,
        rouge_l if one_line else f_measure(_union_lcs_hits(predicted_lines, target_lines), len(predicted), len(gold)),
    )


def tokenise_lines(text: str) -> list[Tokens]:
    """The words of each line that has any: runs of ASCII letters and digits, in lower case."""
    return [tokens for line in text.split("\n") if (tokens := _WORD.findall(line.lower()))]


def f_measure(hits: int, predicted: int, gold: int) -> float:
    """Harmonic mean of hits / predicted and hits / gold; 0 without hits."""
    return 2 * hits / (predicted + gold) if hits else 0.0


def lcs_length(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence."""
    shorter, longer = sorted((a, b), key=len)
    columns = _lcs_columns(shorter, _positions(longer), len(longer))
    return columns[-1][1].bit_count() if columns else 0


def _ngram_f_measure(predicted: Tokens, gold: Tokens, n: int) -> float:
    ngrams = [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for tokens in (predicted, gold)]
    return f_measure((ngrams[0] & ngrams[1]).total(), ngrams[0].total(), ngrams[1].total())


def _union_lcs_hits(predicted_lines: list[Tokens], target_lines: list[Tokens]) -> int:
    """Words of the target that some line of the prediction has in common with their line, none more often than there.

    The union of the longest common subsequences (Lin 2004, section 3.2), limited like ROUGE 1.5.5 by how often the
    prediction holds a word.
    """
    found: Counter[str] = Counter()
    distinct_lines = set(map(tuple, predicted_lines))
    for line in target_lines:
        if tuple(line) in distinct_lines:  # its subsequence with itself is all of it
            found.update(line)
            continue
        positions = _positions(line)
        union = 0
        for candidate in distinct_lines:
            union |= _lcs_members(candidate, positions, len(line))
        found.update(token for i, token in enumerate(line) if union >> i & 1)
    return (found & Counter(chain(*predicted_lines))).total()


def _lcs_members(candidate: Sequence[str], positions: Mapping[str, int], length: int) -> int:
    """Bits of the reference's positions in one longest common subsequence, the one that rouge-score reads back.

    From the end of both texts, it takes a match where it stands on one, else goes back in the reference while that
    loses no length, else in the candidate. Going back in the reference therefore ends at the highest bit that is a
    match or a rise.
    """
    members = 0
    below = (1 << length) - 1
    for matches, rises in reversed(_lcs_columns(candidate, positions, length)):
        stops = (matches | rises) & below
        if not stops:
            break
        top = 1 << stops.bit_length() - 1
        if matches & top:
            members |= top
            below = top - 1
        else:
            below = 2 * top - 1
    return members


def _lcs_columns(candidate: Sequence[str], positions: Mapping[str, int], length: int) -> list[tuple[int, int]]:
    """(matches, rises) for the words of the candidate, as bits over the positions of the reference.

    Bit i of `rises` is set where the longest common subsequence with the first i + 1 words of the reference is longer
    than that with the first i. Words that the reference lacks change no rise, so a run of them is one column, and none
    before the first match.
    """
    full = (1 << length) - 1
    flat = full
    columns: list[tuple[int, int]] = []
    last = 0
    for token in candidate:
        matches = positions.get(token, 0)
        if matches:
            step = flat & matches
            flat = ((flat + step) | (flat - step)) & full
            columns.append((matches, full ^ flat))
        elif last:
            columns.append((0, full ^ flat))
        last = matches
    return columns


def _positions(tokens: Tokens) -> dict[str, int]:
    """Word → bits of the positions where it stands."""
    positions: dict[str, int] = {}
    for i, token in enumerate(tokens):
        positions[token] = positions.get(token, 0) | 1 << i
    return positions
