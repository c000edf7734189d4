"""Standard streams as a long run needs them: it goes on whatever they are connected to, and its end says what was lost.

Results go to standard output. Where that cannot be written (a full disk, a descriptor that is closed), the command ends
with an error, after everything else was done and kept. News go to standard error, and where that cannot be written
nobody waits for them. What an encoding cannot hold is written as an escape of JSON.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from typing import Any

from mibe.errors import MibeError
from mibe.terminal.plain import printable

ESCAPED = "mibe.escaped"


class OutputError(MibeError):
    """Standard output cannot be written."""


def prepare_streams() -> None:
    """Make the streams of this process such ones. Streams that somebody has put in their place stay as they are."""
    codecs.register_error(ESCAPED, _escaped)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(os.open(os.devnull, os.O_RDONLY)), encoding="utf-8")
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        # A closed descriptor stays one that cannot be written; and no file that is opened later takes its number.
        sys.stdout = _text(_Results(_number(sys.stdout, os.O_RDONLY), "w", closefd=False), sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _text(_News(_number(sys.stderr, os.O_WRONLY), "w", closefd=False), sys.stderr, by_line=True)
    warnings.formatwarning = _warning


def show(text: str) -> None:
    """Print results whose reader may have left: how the command ends is still to be told."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        forget(sys.stdout.fileno())


def forget(descriptor: int) -> None:
    """Connect a descriptor to nothing, so that what waits in its buffers cannot fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


class _Results(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            forget(self.fileno())
            raise OutputError(
                f"standard output cannot be written ({error.strerror}); all else is done and kept"
            ) from None


class _News(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _number(stream: io.TextIOBase | Any, flags: int) -> int:
    return os.open(os.devnull, flags) if stream is None else int(stream.fileno())


def _text(raw: io.FileIO, before: Any, *, by_line: bool = False) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    by_line = by_line or (before is not None and before.line_buffering)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=ESCAPED, line_buffering=by_line)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """One line, without the line of source that the warning comes from."""
    kind = "warning" if category is UserWarning else category.__name__
    return f"{kind}: {printable(str(message))}\n"
