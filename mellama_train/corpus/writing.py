"""Files that are for their owner alone where their text is under an agreement, and that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_files(private: bool) -> Iterator[None]:
    """Where the text is `private`, files are made with the mode 0600 and folders with 0700, from their first byte."""
    before = os.umask(0o077) if private else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file aside and put it in place when all of it is on the disk."""
    aside = file.with_name(f"{file.name}.partial")
    with aside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)
