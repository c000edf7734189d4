"""Rows of packed samples, for instruction tuning and task fine-tuning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mellama_train.errors import DataError
from mellama_train.recipe.config import Form, TooLong
from mellama_train.recipe.stages import HubDataset
from mellama_train.rows.packing import Pack, one_a_row, pack_epoch
from mellama_train.rows.row import IGNORED, Row
from mellama_train.rows.samples import Encoded, Sample, encode, read_samples


class SampleSet:
    """Encoded samples in memory: 5 bytes a token."""

    def __init__(self, encoded: Sequence[Encoded], sources: Sequence[str], *, tokenizer_sha256: str) -> None:
        self.lengths: NDArray[np.int64] = np.array([len(sample.tokens) for sample in encoded], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        self._tokens = _joined([sample.tokens for sample in encoded], np.dtype(np.int32))
        self._learned = _joined([sample.learned for sample in encoded], np.dtype(np.bool_))
        self._sources = tuple(sources)
        self.ends = tuple(sorted({sample.tokens[-1] for sample in encoded}))
        """Tokens that samples were seen to end with: a model that learns them ends its answers so."""
        self._tokenizer = tokenizer_sha256

    @classmethod
    def of(
        cls,
        samples: Iterable[Sample],
        tokenizer: Any,
        *,
        tokenizer_sha256: str,
        context: int,
        form: Form,
        too_long: TooLong,
    ) -> tuple[SampleSet, list[str]]:
        """The samples as tokens, and the places of those left out because they are longer than `context`.

        Raises `DataError` for a form that the tokenizer cannot give, and, with `too_long` "error", for the first
        sample that does not fit.
        """
        chosen = choose_form(form, tokenizer)
        kept: list[Encoded] = []
        sources: list[str] = []
        left_out: list[str] = []
        for sample in samples:
            one = encode(sample, tokenizer, chosen)
            if len(one.tokens) <= context:
                kept.append(one)
                sources.append(sample.source)
                continue
            _refuse(sample, len(one.tokens), context, too_long)
            left_out.append(sample.place)
        return cls(kept, sources, tokenizer_sha256=tokenizer_sha256), left_out

    def __len__(self) -> int:
        return len(self.lengths)

    def sample(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Token ids of one sample, and which are learned."""
        part = slice(int(self._starts[index]), int(self._starts[index + 1]))
        return self._tokens[part], self._learned[part]

    def source(self, index: int) -> str:
        """Where one sample is from."""
        return self._sources[index]

    def describe(self) -> dict[str, Any]:
        """JSON: hash, counts and tokenizer."""
        digest = hashlib.sha256(self._tokens.tobytes() + self._learned.tobytes() + self._starts.tobytes())
        return {
            "samples_sha256": digest.hexdigest(),
            "samples": len(self),
            "tokens": int(self.lengths.sum()),
            "sources": dict(sorted(Counter(self._sources).items())),
            "tokenizer_sha256": self._tokenizer,
            "ends": list(self.ends),
        }


class SampleRows:
    """Packed rows over all epochs of a sample set: each epoch in an order, and packed in a way, of its own."""

    def __init__(
        self,
        samples: SampleSet,
        *,
        length: int,
        epochs: int,
        window: int,
        seed: int,
        padding: int,
        pack: Pack = pack_epoch,
    ) -> None:
        """`padding` is the token that fills the rest of a row: a document of its own, outside the loss."""
        self.length = length
        self._samples, self._padding, self._pack = samples, padding, pack
        self._settings = {"length": length, "epochs": epochs, "window": window, "seed": seed}
        packed = (pack(samples.lengths, length, window, seed, epoch) for epoch in range(epochs))
        self._rows = [row for rows in packed for row in rows]

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that answers end with."""
        return self._samples.ends

    def apart(self) -> SampleRows:
        """The same samples in the same orders, one in each row."""
        return SampleRows(self._samples, **self._settings, padding=self._padding, pack=one_a_row)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """The row at `index`. Its source is that of its longest sample."""
        tokens = np.full(self.length, self._padding, dtype=np.int64)
        labels = np.full(self.length, IGNORED, dtype=np.int64)
        positions = np.empty(self.length, dtype=np.int64)
        at = 0
        for member in self._rows[index]:
            ids, learned = self._samples.sample(int(member))
            part = slice(at, at + len(ids))
            tokens[part] = ids
            positions[part] = np.arange(len(ids))
            labels[part] = np.where(learned, ids, IGNORED)
            labels[at] = IGNORED
            at += len(ids)
        positions[at:] = np.arange(self.length - at)
        return Row(tokens, positions, labels, self._samples.source(int(self._rows[index][0])))

    def describe(self) -> dict[str, Any]:
        """JSON of hashes, counts and settings."""
        apart = {"apart": True} if self._pack is one_a_row else {}
        return {**self._samples.describe(), **self._settings, **apart, "rows": len(self)}


def file_samples(files: Iterable[Path | HubDataset]) -> Iterator[Sample]:
    """The samples of all files and data sets, in order. Raises `DataError` for a malformed or empty one."""
    for file in files:
        sample = None
        for sample in read_samples(file):
            yield sample
        if sample is None:
            raise DataError(f"{file if isinstance(file, Path) else file.dataset} holds no sample")


def choose_form(form: Form, tokenizer: Any) -> Literal["chat", "plain"]:
    """ "auto" is chat where the tokenizer has a template. Raises `DataError` for chat without one."""
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if form == "chat" and not has_template:
        raise DataError("data.form: chat, but the tokenizer has no chat template; use plain")
    if form == "auto":
        return "chat" if has_template else "plain"
    return form


def padding_token(tokenizer: Any) -> int:
    """What rows are filled with; it is never learned nor attended to by a sample."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0):
        if token is not None:
            break
    return int(token)


def _refuse(sample: Sample, length: int, context: int, too_long: str) -> None:
    if too_long == "error":
        raise DataError(
            f"{sample.place}: the sample has {length} tokens and the context is {context}; "
            "raise context, shorten it, or set data.too_long: skip"
        )


def _joined(parts: Sequence[Sequence[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate([np.array(part, dtype=dtype) for part in parts]) if parts else np.empty(0, dtype)
