"""Text under an agreement is for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_files(private: bool) -> Iterator[None]:
    """Where the text is `private`, files are made with the mode 0600 and folders with 0700, from their first byte."""
    before = os.umask(0o077) if private else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)
