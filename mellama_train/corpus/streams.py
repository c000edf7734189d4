"""Files as streams: compressed or not, in flat memory, a damaged one an error that names it."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from backports import zstd

from mellama_train.errors import CorpusError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of a file. Raises `CorpusError` when it cannot be read, is cut short or is damaged.

    The error also comes out of the body of the `with`, since a cut is noticed only where the stream breaks off.
    """
    try:
        with _opened(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zstd.ZstdError) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        # bz2 says "Invalid data stream" by an OSError without a number.
        if error.errno is None:
            raise _damaged(path, error) from None
        raise CorpusError(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """The same as UTF-8 text; a byte order mark is dropped. `newline` as in `open`."""
    try:
        with open_binary(path) as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline=newline)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text ({error.reason}); convert it with iconv") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) of all lines that are not blank."""
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
            if text:
                yield number, text


def plain_suffix(path: Path) -> str:
    """The suffix below that of the compression: `.jsonl` of `x.jsonl.zst`."""
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix.lower()


def _opened(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".gz" | ".tgz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".bz2":
            return cast(IO[bytes], bz2.open(path, "rb"))
        case ".xz":
            return cast(IO[bytes], lzma.open(path, "rb"))
        case ".zst":
            # Not by the package zstandard: its reader takes a file that was cut short for a whole one.
            return cast(IO[bytes], zstd.open(path, "rb"))
    return path.open("rb")


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{path} is damaged or cut short ({error}); get it again")
