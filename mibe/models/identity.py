"""What tells one model from every other: its content when it lies on this disk, its commit when it comes from a hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from mibe.data.disk import cache_dir, write_atomically
from mibe.errors import ModelError

SUFFIXES = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".py"}
)
"""Endings of the files that weights, configuration, tokenizer, chat templates and remote code come in."""


def folder_identity(folder: Path) -> str:
    """Hash over the names and contents of the files in `folder` that make up a model (SHA-256, hexadecimal).

    Where the folder lies does not count, and neither do logs or the checkpoints below it. Raises `ModelError` when
    a file cannot be read.
    """
    total = hashlib.sha256()
    for file in _model_files(folder):
        total.update(f"{file.relative_to(folder)}\0{file_sha256(file)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, remembered in the user's cache as long as path, size and time of change stay the same.

    Raises `ModelError` when the file cannot be read; a cache that cannot be written costs time only.
    """
    try:
        status = file.stat()
        key = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape")
        note = cache_dir() / "hashes" / hashlib.sha256(key).hexdigest()
        if note.is_file() and len(known := note.read_text().strip()) == 64:
            return known
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from None
    _remember(note, digest)
    return digest


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


def _model_files(folder: Path) -> Iterator[Path]:
    files = [*folder.iterdir(), *folder.glob("additional_chat_templates/*")]
    return (file for file in sorted(files) if file.suffix in SUFFIXES and file.is_file())


def _remember(note: Path, digest: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, digest)
    except OSError:
        return
