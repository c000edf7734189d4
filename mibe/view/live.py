"""How far the runs of some folders are, read from their records and logs while these are being written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mibe.errors import RunError
from mibe.results.finding import find_memorised, find_runs
from mibe.results.folder import LOCK, RECORD, SAMPLES, read_record
from mibe.results.variants import samples_asked
from mibe.terminal.plain import printable

QUIET = 600.0
"""Seconds without a new sample after which a run of another machine no longer counts as running."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """Samples of a task that have an answer, of how many (None: not begun), and its headline figure once scored."""

    name: str
    done: int
    of: int | None
    metric: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as an overview shows it. `status` is the record's, or "cut off" where the process is gone."""

    key: str
    folder: str
    model: str
    status: str
    started: str
    tasks: tuple[TaskState, ...]
    problem: str = ""

    @property
    def is_scored(self) -> bool:
        """Whether there is something to report."""
        return any(task.value is not None for task in self.tasks)

    def as_json(self) -> dict[str, Any]:
        """The fields, for the page."""
        return asdict(self) | {"is_scored": self.is_scored}


class Runs:
    """The runs at and below some paths, looked for anew each time: one may begin at any moment."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._paths = [Path(path) for path in paths]
        self._lines: dict[Path, tuple[int, int]] = {}

    def folders(self) -> dict[str, Path]:
        """Key → run folder; a key stays the same as long as the folder does."""
        found: dict[str, Path] = {}
        for path in self._paths:
            # A folder that has no run yet may get one.
            with suppress(RunError):
                found |= {hashlib.sha256(bytes(run)).hexdigest()[:16]: run for run in find_runs([path])}
        return found

    def memorised(self) -> list[Path]:
        """The folders of `mibe memorised`."""
        return find_memorised(self._paths)

    def states(self) -> list[RunState]:
        """All of them, the newest first."""
        found = [self._state(key, path) for key, path in self.folders().items()]
        return sorted(found, key=lambda state: (state.started, state.folder), reverse=True)

    def _state(self, key: str, path: Path) -> RunState:
        name = printable(path.name)
        try:
            record = read_record(path)
        except RunError as error:
            return RunState(key, name, name, "unreadable", "", (), printable(str(error)))
        sessions = record.get("sessions") or [{}]
        status = str(record.get("status", "unreadable"))
        if status == "running" and not is_alive(path):
            status = "cut off"
        parts = record.get("tasks", {})
        draws = record.get("settings", {}).get("repeats", 1)
        return RunState(
            key=key,
            folder=name,
            model=record.get("model", {}).get("name", name),
            status=status,
            started=str(sessions[0].get("started", ""))[:16].replace("T", " "),
            tasks=tuple(
                self._task(path, task, parts.get(task, {}), draws) for task in record.get("task_names", list(parts))
            ),
        )

    def _task(self, path: Path, name: str, part: Mapping[str, Any], draws: int) -> TaskState:
        of = samples_asked(part) * draws if "documents" in part.get("data", {}) else None
        if figure := part.get("figures", {}).get(part.get("headline")):
            return TaskState(name, part.get("samples", 0), part.get("samples"), part["headline"], figure["value"])
        logs = [path / SAMPLES / f"{name}.jsonl", *(path / SAMPLES).glob(f"{name}.rank*.jsonl")]
        done = sum(map(self._count, logs))
        # A sample that failed and was asked again stands in the log twice.
        return TaskState(name, done if of is None else min(done, of), of)

    def _count(self, log: Path) -> int:
        """Whole lines of a log; of one that has grown only what is new is read."""
        try:
            with log.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                position, lines = self._lines.get(log, (0, 0))
                if size < position:
                    position, lines = 0, 0
                file.seek(position)
                lines += sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
                self._lines[log] = file.tell(), lines
        except OSError:
            return 0
        return lines


def is_alive(path: Path) -> bool:
    """Whether the process that holds a run goes on.

    Its lock says which process on which machine. The lock itself is left alone: to try it would be to hold it, and a
    command that goes on with the run at that moment would be turned away.
    """
    try:
        _, process, _, machine = (path / LOCK).read_text(encoding="utf-8").split()
        pid = int(process)
    except (OSError, ValueError):
        return False
    if machine != os.uname().nodename:
        written = [file.stat().st_mtime for file in (path / RECORD, *(path / SAMPLES).glob("*.jsonl"))]
        return time.time() - max(written) < QUIET
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
