"""The sample log: one JSON line a sample, appended the moment its response is there.

A log may end in half a line (the process was killed) and may hold a sample twice (an error, then its retry);
readers drop the one and take the last of the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mibe.results.folder import disk_error

Row = dict[str, Any]


class SampleLog:
    """Appends rows to one task's log. Rows of credentialed tasks are readable by their owner alone."""

    def __init__(self, path: Path, *, private: bool) -> None:
        self.path = path
        mode = 0o600 if private else 0o666
        try:
            if private:
                path.parent.chmod(0o700)
            drop_torn_line(path)
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


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that has no end or is not JSON: its writer was killed, its sample is done again."""
    if not path.exists():
        return
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
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a log in the order they were written; lines that are not rows are left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "id" in row:
                yield row


def latest_lines(path: Path) -> dict[str, int]:
    """Sample id → number (among the rows) of its last row: the one that counts."""
    return {row["id"]: number for number, row in enumerate(read_rows(path))}


def latest_rows(path: Path) -> Iterator[Row]:
    """One row a sample, the last one written, streamed."""
    last = latest_lines(path)
    for number, row in enumerate(read_rows(path)):
        if last[row["id"]] == number:
            yield row


def part_of(path: Path, rank: int) -> Path:
    """Where a process other than the first writes its part of the log `path` while a run goes on."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def absorb_parts(path: Path, *, private: bool) -> None:
    """Move what other processes wrote into the log `path`. A break in the midst of it costs nothing.

    A row may then stand there twice, and the last one counts as always.
    """
    parts = sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))
    if not parts:
        return
    log = SampleLog(path, private=private)
    try:
        for part in parts:
            for row in read_rows(part):
                log.append(row)
            log.sync()
            part.unlink()
    finally:
        log.close()
