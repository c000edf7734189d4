"""Shards: token files and their document ends, in datatrove's own form, with a manifest that tells whole from cut.

A shard is `NAME.ds`, the token ids of documents one after another (little-endian, two or four bytes), and
`NAME.ds.index`, the end of each document in tokens (little-endian, eight bytes). Both are memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from mellama_train.corpus.tokens import fingerprint
from mellama_train.errors import CorpusError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST = "manifest.json"
FORMAT = 1
Split: TypeAlias = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard as the manifest has it; `file` is relative to the corpus folder, `sha256` is of tokens and index."""

    file: str
    source: str
    split: Split
    documents: int
    tokens: int
    sha256: str
    index_sha256: str


class ShardWriter:
    """Writes a shard aside, as `NAME.ds.part`; it gets its name when it is whole."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.tokens = 0
        self._dtype = dtype
        self._ends = array("Q")
        self._digest = hashlib.sha256()
        self._file = self._part(path).open("wb")

    def add(self, documents: Iterable[NDArray[Any]]) -> None:
        """Append documents, given as their ids."""
        for document in documents:
            data = document.astype(self._dtype, copy=False).tobytes()
            self._digest.update(data)
            self._file.write(data)
            self.tokens += len(document)
            self._ends.append(self.tokens)

    def finish(self, root: Path, source: str, split: Split) -> Shard:
        """Close the files, put them in their place, and say what they are. `root` is the corpus folder."""
        index = np.array(self._ends, dtype="<u8").tobytes()
        index_path = index_of(self.path)
        _close(self._file)
        with self._part(index_path).open("wb") as file:
            file.write(index)
            _close(file)
        self._part(index_path).replace(index_path)
        self._part(self.path).replace(self.path)
        return Shard(
            file=self.path.relative_to(root).as_posix(),
            source=source,
            split=split,
            documents=len(self._ends),
            tokens=self.tokens,
            sha256=self._digest.hexdigest(),
            index_sha256=hashlib.sha256(index).hexdigest(),
        )

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @staticmethod
    def _part(path: Path) -> Path:
        return path.with_name(path.name + ".part")


def index_of(path: Path) -> Path:
    """The file of document ends beside a token file."""
    return path.with_name(path.name + ".index")


@dataclass(frozen=True)
class Corpus:
    """A finished corpus: its folder and its manifest (`docs/corpus.md` lists the keys)."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Raises `CorpusError` when there is none, or a shard is missing or has not the size it should have."""
        path = folder / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CorpusError(f"{folder} holds no finished corpus; build it: mellama-train corpus build FILE") from None
        except OSError as error:
            raise CorpusError(f"cannot read {path}: {error.strerror}") from None
        except ValueError:
            raise CorpusError(f"{path} is damaged (not JSON); build the corpus again") from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise CorpusError(f"{path} is not a corpus manifest of this version; build the corpus again")
        corpus = cls(folder, manifest)
        try:
            shards = corpus.shards()
            corpus.dtype, corpus.sources, corpus.sha256, manifest["mixture"]["length"]
        except (KeyError, TypeError, AttributeError):
            raise CorpusError(f"{path} is damaged (not all of it is there); build the corpus again") from None
        for shard in shards:
            corpus._check_size(folder / shard.file, shard.tokens * corpus.dtype.itemsize)
            corpus._check_size(index_of(folder / shard.file), shard.documents * 8)
        return corpus

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the token ids on disk."""
        dtype: np.dtype[Any] = np.dtype(self.manifest["dtype"])
        return dtype

    @property
    def sources(self) -> list[str]:
        """The names of the sources, in the order of the recipe."""
        return list(self.manifest["sources"])

    @property
    def sha256(self) -> str:
        """A hash of the content: of all shards in order, and of the tokenizer."""
        parts = [self.manifest["tokenizer"]["sha256"], *(s.sha256 + s.index_sha256 for s in self.shards())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def shards(self, source: str | None = None, split: Split | None = None) -> list[Shard]:
        """The shards, or those of one source or split, in their fixed order."""
        shards = (Shard(**entry) for entry in self.manifest["shards"])
        return [s for s in shards if source in (None, s.source) and split in (None, s.split)]

    def check_tokenizer(self, path: Path) -> None:
        """Raise `CorpusError` unless the tokenizer in the model folder `path` is the one that made the shards."""
        if fingerprint(path) != self.manifest["tokenizer"]["sha256"]:
            raise CorpusError(
                f"the corpus {self.folder} was tokenised with another tokenizer "
                f"({self.manifest['tokenizer']['path']}) than that of {path}; build it again with this one"
            )

    def verify(self) -> list[str]:
        """What is wrong with the shards, one sentence a finding: every byte is hashed again."""
        findings = []
        for shard in self.shards():
            path = self.folder / shard.file
            for file, expected in ((path, shard.sha256), (index_of(path), shard.index_sha256)):
                if _sha256(file) != expected:
                    findings.append(f"{file} was changed since it was written (sha256 differs); build the corpus again")
        return findings

    @staticmethod
    def _check_size(path: Path, expected: int) -> None:
        try:
            size = path.stat().st_size
        except OSError:
            raise CorpusError(f"the shard {path} is missing; build the corpus again") from None
        if size != expected:
            raise CorpusError(f"the shard {path} has {size:,} bytes and should have {expected:,}; build it again")


class TokenStream:
    """All tokens of some shards as one sequence, read from memory maps; cheap to copy to other processes."""

    def __init__(self, folder: Path, shards: list[Shard], dtype: np.dtype[Any]) -> None:
        self._paths = [str(folder / shard.file) for shard in shards]
        self._dtype = dtype.str
        self._starts = np.concatenate([[0], np.cumsum([shard.tokens for shard in shards], dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tokens from `start` to `stop`, and where in them documents begin (0, since the window does, included)."""
        tokens, begins = [], [np.zeros(1, dtype=np.int64)]
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for number in range(first, len(self._paths)):
            offset = int(self._starts[number])
            if offset >= stop:
                break
            low, high = max(start - offset, 0), min(stop, int(self._starts[number + 1])) - offset
            tokens.append(np.asarray(_mapped(self._paths[number], self._dtype)[low:high], dtype=np.int64))
            begins.append(self._ends(number, low, high) + (offset - start))
        starts = np.concatenate(begins)
        return np.concatenate(tokens), starts[starts < stop - start]

    def _ends(self, number: int, low: int, high: int) -> NDArray[np.int64]:
        """The document ends after `low`, up to `high`, of one shard: where the next documents begin."""
        index = _mapped(self._paths[number] + ".index", "<u8")
        a, b = np.searchsorted(index, np.array([low, high], dtype=np.uint64), side="right")
        return np.asarray(index[a:b], dtype=np.int64)


# Maps hold a file open each: with thousands of shards, all at once would be too many for one process.
@lru_cache(maxsize=256)
def _mapped(path: str, dtype: str) -> NDArray[Any]:
    try:
        return np.memmap(path, dtype=dtype, mode="r")
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from None


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Put the manifest in its place, which makes the corpus a finished one."""
    part = folder / f"{MANIFEST}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **manifest}, file, ensure_ascii=False, indent=1)
        _close(file)
    part.replace(folder / MANIFEST)


def as_entry(shard: Shard) -> dict[str, Any]:
    """A shard as the manifest's JSON."""
    return asdict(shard)


def _close(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from None
