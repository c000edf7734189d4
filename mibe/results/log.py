"""The sample log: one JSON line a sample, appended the moment its response is there.

A sample is one draw of one document. A log may end in half a line (the process was killed) and may hold a sample twice
(an error, then its retry); readers drop the one and take the last of the other. A damaged line in the middle (a failing
disk, a power cut) stops a reader, since its sample would be missing from the scores; a run that goes on sets it aside
and asks again.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mibe.data.disk import disk_error, rewriting
from mibe.errors import RunError
from mibe.results.digests import digest, identity, last_of_each

Row = dict[str, Any]


class SampleLog:
    """Appends rows to one task's log. Rows of credentialed tasks are readable by their owner alone.

    `damaged` is the number of lines that were found damaged and set aside when it was opened.
    """

    def __init__(self, path: Path, *, private: bool) -> None:
        self.path = path
        mode = 0o600 if private else 0o666
        try:
            if private:
                path.parent.chmod(0o700)
            self.damaged = mend(path)
            self._file: IO[str] = os.fdopen(
                os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode), "a", encoding="utf-8", newline="\n"
            )
            if private:
                # A log that was there already, copied or restored, may be open to others.
                os.fchmod(self._file.fileno(), mode)
        except OSError as error:
            raise disk_error(error, path) from error

    def append(self, row: Row) -> None:
        """Write one row; it is with the operating system before this returns."""
        try:
            # One write a line, so that a full disk or a kill can tear the last line and no other.
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise disk_error(error, self.path) from error

    def extend(self, rows: Iterable[Row]) -> None:
        """Write rows and force them to the disk."""
        for row in rows:
            self.append(row)
        self.sync()

    def sync(self) -> None:
        """Force what was written to the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error

    def close(self) -> None:
        """Close the file. What a full disk kept out was reported by `append` already."""
        try:
            self._file.close()
        except OSError as error:
            raise disk_error(error, self.path) from error


def mend(path: Path) -> int:
    """Drop a torn last line, and move damaged lines to `<task>.damaged` beside the log; returns how many of these."""
    if not path.exists():
        return 0
    drop_torn_line(path)
    return _set_aside(path, damaged_path(path), _is_row)


def set_strangers_aside(path: Path, belongs: Callable[[Row], bool]) -> int:
    """Move the rows that do not belong to a log to `<task>.strange` beside it; returns how many. The log is mended."""
    return _set_aside(path, strange_path(path), lambda line: belongs(json.loads(line)))


def _set_aside(path: Path, aside: Path, stays: Callable[[bytes], bool]) -> int:
    with path.open("rb") as log:
        others = [line for line in log if not stays(line)]
    if not others:
        return 0
    # It may hold credentialed text, and what a damaged line holds nobody can say.
    kept_open = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(kept_open, "ab") as kept, path.open("rb") as log, rewriting(path) as mended:
        kept.writelines(others)
        mended.writelines(line for line in log if stays(line))
    return len(others)


def damaged_path(samples: Path) -> Path:
    """Where the damaged lines of a log are kept, as they are."""
    return samples.with_suffix(".damaged")


def strange_path(samples: Path) -> Path:
    """Where rows are kept that stood in a log and are of none of its run's samples."""
    return samples.with_suffix(".strange")


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that has no end or is not JSON: its writer was killed, its sample is done again."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            line, start = _last_line(file, end)
            if line.endswith(b"\n") and _is_row(line):
                break
            end = start
        file.truncate(end)


def _last_line(file: IO[bytes], end: int) -> tuple[bytes, int]:
    """The last line of the first `end` bytes, and where it starts."""
    tail, start = b"", end
    while start > 0 and b"\n" not in tail[:-1]:
        step = min(65536, start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    cut = tail.rfind(b"\n", 0, len(tail) - 1) + 1
    return tail[cut:], start + cut


def _is_row(line: bytes) -> bool:
    return _row(line) is not None


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "id" in row else None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a log in the order they were written; a torn last line is left out.

    Raises `RunError` for a damaged line with others after it: nobody can say whose sample would be missing.
    """
    if not path.exists():
        return
    damaged: int | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if damaged is not None:
                raise RunError(
                    f"{path}, line {damaged} is damaged: run the run's command again (an unfinished run, and the "
                    "response cache, keep all other answers), or delete the line to go on without its sample"
                )
            row = _row(line)
            if row is None:
                damaged = number
            else:
                yield row


def sound_rows(path: Path) -> Iterator[Row]:
    """The rows of a log without its damaged lines, for sums that a run makes before it has mended the log."""
    with path.open("rb") as file:
        yield from filter(None, map(_row, file))


def latest_rows(path: Path) -> Iterator[Row]:
    """One row a sample, the last one written, streamed."""
    last = last_of_each(digest(*identity(row)) for row in read_rows(path))
    for number, row in enumerate(read_rows(path)):
        if last[number]:
            yield row


def part_of(path: Path, rank: int) -> Path:
    """Where a process other than the first writes its part of the log `path` while a run goes on."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def newest_rows(path: Path, count: int) -> Iterator[Row]:
    """The last sound rows of a log, and of each part that other processes wrote: at most `count` of each."""
    for each in (path, *_parts(path)):
        if each.exists():
            yield from deque(sound_rows(each), maxlen=count)


def _parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))


def absorb_parts(path: Path, *, private: bool) -> int:
    """Mend the log `path` and move into it what other processes wrote; returns how many lines were damaged.

    A break in the midst of it costs nothing: a row may then stand there twice, and the last one counts as always.
    """
    parts = _parts(path)
    if not parts and not path.exists():
        return 0
    log = SampleLog(path, private=private)
    damaged = log.damaged
    try:
        for part in parts:
            damaged += mend(part)
            log.extend(read_rows(part))
            part.unlink()
    finally:
        log.close()
    return damaged
