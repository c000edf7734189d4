"""Exact and near-duplicate removal: our words, and datatrove's MinHash on disk (signatures, bands, clusters, filter).

Datatrove's own signatures split words by spaCy and hash each shingle in Python; these shingles are computed for a whole
document at once. Everything after the shingles is datatrove's, and needs memory for the duplicates alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.word_tokenizers import WordTokenizer

from mellama_train.corpus.config import Deduplication
from mellama_train.corpus.words import hashes, ngrams, words

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Shingles whose products with all hash functions are held at once: 4,096 × 112 × 8 bytes are 4 MB.
CHUNK = 4096


def minhash_config(wanted: Deduplication) -> MinhashConfig:
    """The bands. For exact copies one band of the hash of all words: no two other texts agree in it."""
    if wanted.kind == "exact":
        return MinhashConfig(n_grams=1, num_buckets=1, hashes_per_bucket=2)
    return MinhashConfig(n_grams=wanted.shingle, num_buckets=wanted.bands, hashes_per_bucket=wanted.hashes)


class Signatures(MinhashDedupSignature):  # type: ignore[misc]
    """Datatrove's first stage with our shingles: a document shorter than a shingle has one, of all its words."""

    name = "MinHash signatures"

    def __init__(self, folder: Path, wanted: Deduplication) -> None:
        super().__init__(str(folder), minhash_config(wanted), language=_Unused())
        self._kind = wanted.kind

    def get_shingles(self, text: str) -> NDArray[np.uint64]:
        """(shingles, 1) the different shingles; none for a text without a word."""
        word_hashes = hashes(words(text))
        if not len(word_hashes):
            return np.empty((0, 1), dtype=np.uint64)
        n = len(word_hashes) if self._kind == "exact" else min(self.config.n_grams, len(word_hashes))
        return np.unique(ngrams(word_hashes, n)).reshape(-1, 1)

    def get_signature(self, shingles: NDArray[np.uint64]) -> list[list[int]]:
        """The minima of all hash functions, in chunks: at once, a book's would take gigabytes."""
        minima = super().get_signature
        chunks: list[list[list[int]]] = [minima(shingles[i : i + CHUNK]) for i in range(0, len(shingles), CHUNK)]
        if len(chunks) == 1:
            return chunks[0]
        least: list[list[int]] = np.min(np.array(chunks, dtype=np.uint64), axis=0).tolist()
        return least


class _Unused(WordTokenizer):  # type: ignore[misc]
    """Stands where datatrove would load spaCy: `get_shingles` above splits words itself."""

    def word_tokenize(self, text: str) -> list[str]:
        return words(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]
