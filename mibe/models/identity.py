"""What tells one model from every other: its content when it lies on this disk, its commit when it comes from a hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import TypeAlias

from mibe.data.disk import cache_dir, write_atomically
from mibe.errors import ModelError
from mibe.terminal.news import say

Identify: TypeAlias = Callable[[str, str | None], dict[str, str] | None]
"""A source and its revision → its identity: `source_identity`, or that of a `Hashing`."""

SUFFIXES = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".py"}
)
"""Endings of the files that weights, configuration, tokenizer, chat templates and remote code come in."""


THREADS = min(4, os.cpu_count() or 1)
"""Files that are hashed at once: about as many as a disk can feed."""

PIECE = 1 << 22
"""Bytes that are read at a time."""

LARGE = 10**9
"""Bytes from which a user who waits for a folder's hash is told so."""


def folder_identity(folder: Path) -> str:
    """Hash over the names and contents of the files in `folder` that make up a model (SHA-256, hexadecimal).

    Where the folder lies does not count, and neither do logs or the checkpoints below it. Raises `ModelError` when
    a file cannot be read.
    """
    return _combined(folder, ((file, file_sha256(file)) for file in _model_files(folder)))


def file_sha256(file: Path, unwanted: Event | None = None) -> str:
    """SHA-256 of a file, remembered in the user's cache as long as path, size and time of change stay the same.

    Raises `ModelError` when the file cannot be read, or when the hash is `unwanted` before it is there; a cache that
    cannot be written costs time only.
    """
    try:
        status = file.stat()
        key = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape")
        note = cache_dir() / "hashes" / hashlib.sha256(key).hexdigest()
        if note.is_file() and len(known := note.read_text().strip()) == 64:
            return known
        digest = hashlib.sha256()
        with file.open("rb", buffering=0) as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
                if unwanted is not None and unwanted.is_set():
                    raise ModelError(f"{file} was not hashed to its end")
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from None
    _remember(note, digest.hexdigest())
    return digest.hexdigest()


class Hashing:
    """Model folders that are hashed in threads of their own while something else, such as their loading, goes on.

    Hub names are looked up when they are asked for, since their commit is known once they are loaded. Leaving the
    context ends what is still being hashed, and so does the end of the process.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        folders = {source: Path(source) for source in sources if Path(source).is_dir()}
        self._digests: dict[str, dict[Path, Future[str]]] = {
            source: {file: Future() for file in _model_files(folder)} for source, folder in folders.items()
        }
        self._left: SimpleQueue[tuple[Path, Future[str]]] = SimpleQueue()
        self._unwanted = Event()
        for digests in self._digests.values():
            for item in digests.items():
                self._left.put(item)
        for _ in range(min(THREADS, self._left.qsize())):
            Thread(target=self._work, name="mibe-hashing", daemon=True).start()

    def identity(self, source: str, revision: str | None) -> dict[str, str] | None:
        """The same as `source_identity`; waits for a folder's hash, and says so where it may take a while."""
        digests = self._digests.get(source)
        if digests is None:
            return source_identity(source, revision)
        size = sum(file.stat().st_size for file, digest in digests.items() if not digest.done())
        if size >= LARGE:
            say(f"hashing the weights of {source} ({size / 1e9:.0f} GB left); remembered until they change …")
        return {"sha256": _combined(Path(source), ((file, digest.result()) for file, digest in digests.items()))}

    def _work(self) -> None:
        while not self._unwanted.is_set():
            try:
                file, digest = self._left.get_nowait()
            except Empty:
                return
            try:
                digest.set_result(file_sha256(file, self._unwanted))
            except ModelError as error:
                digest.set_exception(error)

    def __enter__(self) -> Hashing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unwanted.set()


def hub_commit(repository: str, revision: str | None) -> str | None:
    """The commit of the hub `repository` that this machine holds for `revision`, or None when none is known."""
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", "adapter_config.json", "tokenizer_config.json"):
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            parts = Path(found).parts
            return parts[parts.index("snapshots") + 1]
    return None


def source_identity(source: str, revision: str | None) -> dict[str, str] | None:
    """The identity of a model, adapter or tokenizer given by folder or hub name; None when it cannot be told."""
    folder = Path(source)
    if folder.is_dir():
        return {"sha256": folder_identity(folder)}
    commit = hub_commit(source, revision)
    return None if commit is None else {"repository": source, "commit": commit}


def _combined(folder: Path, digests: Iterable[tuple[Path, str]]) -> str:
    total = hashlib.sha256()
    for file, digest in digests:
        total.update(f"{file.relative_to(folder)}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    files = [*folder.iterdir(), *folder.glob("additional_chat_templates/*")]
    return (file for file in sorted(files) if file.suffix in SUFFIXES and file.is_file())


def _remember(note: Path, digest: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, digest)
    except OSError:
        return
