"""Near copies among the samples of one row, by the MinHash bands that the corpus is deduplicated with."""

from __future__ import annotations

from pathlib import Path

from mellama_train.corpus.config import Deduplication
from mellama_train.corpus.duplicates import Signatures


class NearCopies:
    """Remembers the bands of the texts that were new."""

    def __init__(self) -> None:
        # The folder is where its pipeline would write; computing a signature writes nothing.
        self._signatures = Signatures(Path(), Deduplication())
        self._seen: set[int] = set()

    def is_new(self, text: str) -> bool:
        """Whether no earlier new text shares a band with this one (a Jaccard index above about 0.7)."""
        shingles = self._signatures.get_shingles(text)
        if not len(shingles):
            return True
        # One number a band: the hash of a tuple of integers is the same in every process.
        bands = {hash((number, *band)) for number, band in enumerate(self._signatures.get_signature(shingles))}
        if not self._seen.isdisjoint(bands):
            return False
        self._seen |= bands
        return True
