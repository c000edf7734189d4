"""Files written as a whole, and where this user's caches lie."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mibe.errors import RunError


def write_atomically(path: Path, text: str, mode: int | None = None) -> None:
    """Replace a file by this text as a whole; half a character becomes the escape that JSON has for it.

    `mode` is the file's, 0600 for its owner's eyes alone; None: that of the file which was there, or the usual one.
    """
    with rewriting(path, mode) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def rewriting(path: Path, mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file beside `path`, renamed over it once all of it is on the disk; a failure leaves no trace.

    It has its `mode` from the first byte. Without one, a file that was there keeps its own.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            if mode is None and path.exists():
                mode = stat.S_IMODE(path.stat().st_mode)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            # Without it, a power cut after the rename can leave an empty file under the name.
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(NotADirectoryError):
            aside.unlink(missing_ok=True)


def open_plain(path: Path) -> IO[bytes]:
    """A file, open to be read. Raises `OSError` for what is none: a pipe may never begin, a device never end."""
    if not path.is_file():
        path.stat()  # says why where there is nothing
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, no file")
    return path.open("rb")


def disk_error(error: OSError, path: Path, instead: str = "another --output-dir") -> RunError:
    """What a failed write means for the user; `instead` is what another place is given by."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"the disk is full: {path}; everything so far is kept, free some space and run the same command again"
        )
    return RunError(f"cannot write {path}: {error.strerror or error}; give {instead}")


def cache_dir() -> Path:
    """Where mibe keeps what it can make again: `MIBE_CACHE_DIR`, or the user's cache folder."""
    if chosen := os.environ.get("MIBE_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("mibe")
