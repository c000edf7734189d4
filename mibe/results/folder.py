"""A run folder: `run.json`, `samples/<task>.jsonl` and the lock that keeps a second process out.

A run that was cut off is found again by its fingerprint, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from mibe.data.disk import disk_error, open_plain, write_atomically
from mibe.errors import RunError
from mibe.results import schema
from mibe.terminal.exit import at_end

RECORD = "run.json"
SAMPLES = "samples"
HISTORY = "history"
LOCK = "run.lock"
FINGERPRINT = "fingerprint"
UNSEEN = "unseen"
"""A file that is there, and locked, from before a run is finished until its process is over."""
LONGEST_FINGERPRINT = 256
LARGEST_RECORD = 256 << 20
"""Bytes of a `run.json` that are read: hundreds of times the largest that a run writes."""


class RunFolder:
    """One run on disk, held by this process alone until `close`."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, output_dir: Path, model_name: str, fingerprint: str | None) -> RunFolder:
        """The unfinished run with this fingerprint under `output_dir`, or a new one.

        Raises `RunError` when another process holds that run, or the folder cannot be written.
        """
        with _write_errors(output_dir):
            output_dir.mkdir(parents=True, exist_ok=True)
            if fingerprint is not None:
                # One that was killed before its first record has a fingerprint alone.
                found = {path.parent for name in (RECORD, FINGERPRINT) for path in output_dir.glob(f"*/{name}")}
                for path in sorted(found, reverse=True):
                    if _is_unfinished(path, fingerprint):
                        return cls.hold(path)
            path = _new_folder(output_dir, model_name)
            # Beside the record and never written again, so that a run whose record is damaged is still found.
            (path / FINGERPRINT).write_text(f"{fingerprint}\n", encoding="ascii")
            return cls.hold(path)

    @classmethod
    def hold(cls, path: Path) -> RunFolder:
        """Take the lock of an existing folder. The lock goes with the process, however it ends."""
        with _write_errors(path):
            lock = (path / LOCK).open("a+", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                lock.close()
                raise RunError(
                    f"{path} is being written by {holder}; wait for it to end, or give another --output-dir"
                ) from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {os.uname().nodename}")
            lock.flush()
            return cls(path, lock)

    @classmethod
    def beside(cls, path: Path) -> RunFolder:
        """A folder whose lock the first process of this run holds."""
        return cls(path, (path / LOCK).open(encoding="utf-8"))

    def samples(self, task: str) -> Path:
        """The sample log of a task."""
        return self.path / SAMPLES / f"{task}.jsonl"

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace `run.json` as a whole: a reader sees the old record or the new one, never half of one."""
        with _write_errors(self.path):
            write_atomically(self.path / RECORD, json.dumps(record, ensure_ascii=False, indent=1) + "\n")

    def keep(self, name: str, text: str) -> None:
        """Write a file of somebody else's into the folder, in the place of one of this name."""
        with _write_errors(self.path):
            write_atomically(self.path / name, text)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record of a run that is finished.

        Where the process is killed before its user saw the figures, the same command finds the run again.
        """
        with _write_errors(self.path):
            mark = (self.path / UNSEEN).open("a", encoding="ascii")
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def seen() -> None:
            with suppress(OSError):
                (self.path / UNSEEN).unlink()
            mark.close()

        try:
            self.write_record(record)
        finally:
            at_end(seen)

    def earlier_record(self) -> dict[str, Any] | None:
        """The record of the run so far, None where there is none; a damaged one is renamed to `run.json.damaged`."""
        path = self.path / RECORD
        if not path.exists():
            return None
        try:
            return read_record(self.path)
        except RunError:
            with _write_errors(self.path):
                path.replace(path.with_name(f"{RECORD}.damaged"))
            return None

    def keep_history(self, tasks: Iterable[str], *, private: Collection[str] = ()) -> Path:
        """Move the sample logs of `tasks` and a copy of the record to `history/<n>` before they are replaced.

        Those of the tasks in `private` hold credentialed text and are for their owner alone.
        """
        with _write_errors(self.path):
            base = self.path / HISTORY
            number = 1 + max((int(p.name) for p in base.glob("[0-9]*")), default=0)
            kept = base / str(number)
            (kept / SAMPLES).mkdir(parents=True)
            if private:
                (kept / SAMPLES).chmod(0o700)
            (kept / RECORD).write_bytes((self.path / RECORD).read_bytes())
            for task in tasks:
                if task in private:
                    self.samples(task).chmod(0o600)
                self.samples(task).rename(kept / SAMPLES / f"{task}.jsonl")
            return kept

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_record(path: Path) -> dict[str, Any]:
    """The `run.json` of a run folder, or what there is of one where the run was cut off.

    Raises `RunError` when there is none, or something in it is not what it should be.
    """
    try:
        with open_plain(path / RECORD) as file:
            content = file.read(LARGEST_RECORD + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path} is not a run folder: it has no {RECORD}") from None
    except OSError as error:
        raise RunError(f"{path / RECORD} cannot be read: {error.strerror or error}") from None
    if len(content) > LARGEST_RECORD:
        raise RunError(f"{path / RECORD} is no run record: it is larger than {LARGEST_RECORD >> 20} MiB")
    try:
        return schema.record(content)
    except schema.Unfit as error:
        raise not_whole(path, error) from None


def not_whole(path: Path, why: schema.Unfit) -> RunError:
    """The error for a record that something is wrong with."""
    return RunError(f"{path / RECORD} is not a whole run record and cannot be read ({why}); leave that folder out")


def _is_unfinished(path: Path, fingerprint: str) -> bool:
    try:
        record = read_record(path)
    except RunError:
        # Its responses are as good as ever; and somebody else's damaged record must not keep us from running.
        return _noted_fingerprint(path) == fingerprint
    if record.get("fingerprint") != fingerprint:
        return False
    return record.get("status") != "finished" or _was_unseen(path)


def _was_unseen(path: Path) -> bool:
    """Whether a finished run's process was killed before it came to its end."""
    try:
        with (path / UNSEEN).open(encoding="ascii") as mark:
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # There is no mark, or its process goes on, as a notebook's does.
        return False
    return True


def _noted_fingerprint(path: Path) -> str | None:
    try:
        with open_plain(path / FINGERPRINT) as file:
            return file.read(LONGEST_FINGERPRINT).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _new_folder(output_dir: Path, model_name: str) -> Path:
    """`<model>-<time>`; a number is added when two runs start within one second."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name).strip("-.") or "model"
    stem = f"{safe[:80]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = output_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            (path / SAMPLES).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Failures of the disk as `RunError` with what to do."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error
