"""Words of a text as the detectors of copies see them: case, spacing and punctuation do not count."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

WORD = re.compile(r"[^\W_]+")
# Accents that stand apart from their letter; soft hyphens, and the marks of zero width.
UNSEEN = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff]")
# An odd factor is invertible modulo 2^64, so that no word of an n-gram can be lost in the sum.
FACTOR = 0x9E3779B97F4A7C15
_MODULUS = 1 << 64


def normalise(text: str) -> str:
    """Compatibility forms made plain (ligatures, full width, superscripts) and case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """The runs of letters and digits of the normalised text, without accents and characters that are not seen."""
    if text.isascii():
        return WORD.findall(text.lower())
    return WORD.findall(normalise(UNSEEN.sub("", unicodedata.normalize("NFKD", text))))


def hashes(some_words: list[str]) -> Hashes:
    """(words,) one 64-bit hash a word, the same in every process."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(word.encode()) for word in some_words), dtype=np.uint64, count=len(some_words))


def ngrams(word_hashes: Hashes, n: int) -> Hashes:
    """(words - n + 1,) hashes of the runs of `n` words, in order; empty for a shorter text."""
    count = len(word_hashes) - n + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    total = np.zeros(count, dtype=np.uint64)
    for place in range(n):
        # uint64 arithmetic wraps around, which is the modulus wanted.
        total += word_hashes[place : place + count] * np.uint64(pow(FACTOR, place, _MODULUS))
    return total
