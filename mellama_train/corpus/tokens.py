"""The tokenizer of a model folder, as the corpus uses it: fast, and told apart from others by a hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mellama_train.errors import CorpusError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class DocumentTokenizer:
    """Documents to token ids, each document with the end-of-text token behind it (and `bos` before it, if given)."""

    path: Path
    eos: str
    bos: str | None = None

    @classmethod
    def load(cls, path: Path, *, eos: str | None = None, bos: str | None = None) -> DocumentTokenizer:
        """Of a model folder. Raises `CorpusError` where it has no fast tokenizer, or not the token asked for."""
        _require(path / TOKENIZER)
        chosen = eos or _configured(path).get("eos_token")
        # Older folders hold {"content": "</s>", …} in its place.
        name = chosen.get("content") if isinstance(chosen, dict) else chosen
        if not name:
            raise CorpusError(f"{path} names no end-of-text token; give it as tokenizer.eos")
        tokenizer = cls(path, name, bos)
        for token in filter(None, (tokenizer.eos, tokenizer.bos)):
            if tokenizer.fast.token_to_id(token) is None:
                raise CorpusError(f"{path} has no token {token!r}")
        return tokenizer

    @cached_property
    def fast(self) -> Tokenizer:
        """The tokenizer of the library `tokenizers`."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_str(_read(self.path / TOKENIZER))
        except Exception as error:
            # The library's own errors have no other class.
            if type(error) is not Exception:
                raise
            raise CorpusError(f"{self.path / TOKENIZER} is damaged: {one_line(error)}; save it again") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A document that writes "<|endoftext|>" has written text, and does not end there.
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def eos_id(self) -> int:
        """The id of the token behind each document."""
        number = self.fast.token_to_id(self.eos)
        assert number is not None, "checked by load"
        return number

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest id."""
        return max(self.fast.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest little-endian type that holds every id: two bytes up to 65,536 ids, else four (as datatrove)."""
        return np.dtype("<u2" if self.vocabulary <= 1 << 16 else "<u4")

    @cached_property
    def sha256(self) -> str:
        """A hash of what decides the ids: see `fingerprint`."""
        return fingerprint(self.path)

    def encode(self, texts: list[str]) -> list[NDArray[Any]]:
        """The ids of each text, as `dtype`."""
        head = [] if self.bos is None else [self.fast.token_to_id(self.bos)]
        # Without offsets, which nothing here needs: a fifth less time.
        encoded = self.fast.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array([*head, *e.ids, self.eos_id], dtype=self.dtype) for e in encoded]


def fingerprint(path: Path) -> str:
    """The sha256 of `tokenizer.json` without its layout, truncation and padding, which do not change ids."""
    data = _read_json(path / TOKENIZER)
    kept = {key: value for key, value in data.items() if key not in ("truncation", "padding", "version")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _configured(path: Path) -> dict[str, Any]:
    file = path / "tokenizer_config.json"
    return _read_json(file) if file.exists() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CorpusError(f"{path} is damaged (no JSON object); save the tokenizer again")
    return found


def _require(path: Path) -> None:
    if not path.is_file():
        raise CorpusError(
            f"there is no {path}; a model's folder with a fast tokenizer is needed "
            "(transformers writes one: AutoTokenizer.from_pretrained(…).save_pretrained(…))"
        )


def _read(path: Path) -> str:
    _require(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from None
