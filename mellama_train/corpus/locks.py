"""One build in a folder at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mellama_train.errors import TrainError


@contextmanager
def alone(folder: Path, wrong: type[TrainError]) -> Iterator[None]:
    """Hold the folder's lock. Raises the error `wrong` where another build holds it."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise wrong(f"another build is at work in {folder}") from None
        yield
