"""Plain text: a file as one document, or each line as one."""

from __future__ import annotations

from pathlib import Path

from mellama_train.corpus.documents import Broken, Document, Documents
from mellama_train.corpus.streams import numbered_lines, open_binary
from mellama_train.errors import CorpusError

LARGEST = 64 * 2**20
"""Bytes of one document; a book has about one million."""


def read_text(path: Path) -> Documents:
    """The whole file as one document. Raises `CorpusError` above 64 MiB: memory would no longer be flat."""
    with open_binary(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise CorpusError(f"{path} is too large for one document (64 MiB); use format: lines, or split it")
    try:
        yield Document(str(path), content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        yield Broken(str(path), f"not UTF-8 ({error.reason})")


def read_lines(path: Path) -> Documents:
    """Each line that is not blank as one document."""
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        try:
            yield Document(where, line.decode("utf-8"))
        except UnicodeDecodeError as error:
            yield Broken(where, f"not UTF-8 ({error.reason})")
