"""Comparisons of two runs, remembered in the user's cache: a leaderboard of ten models asks for dozens of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files

from mibe.analysis.compare import Difference, compare
from mibe.data.disk import cache_dir, write_atomically
from mibe.metrics.arrays import np
from mibe.metrics.comparison import Halves
from mibe.results.run import Run

CODE = ("mibe.analysis", "mibe.metrics")
"""Packages whose code makes a comparison what it is."""


def compared(a: Run, b: Run, task: str, *, kept: str, resamples: int) -> tuple[tuple[Difference, ...], Halves | None]:
    """Every figure of one task in both runs, as `compare` says, and the halves of the figure that is `kept`, where it
    is one of them; the logs of other tasks are not read.

    Remembered as long as the record of the task, the sample logs and the code stay the same; a cache that cannot be
    read or written costs time only. Raises as `compare`.
    """
    note = cache_dir() / "comparisons" / _key(a, b, task, kept, resamples)
    try:
        known = json.loads(note.read_text(encoding="ascii"))
        halves = known["halves"] and Halves(*(np.array(part) for part in known["halves"]))
        return tuple(Difference(**row) for row in known["rows"]), halves
    except (OSError, ValueError, TypeError, KeyError):
        made = compare(_of_task(a, task), _of_task(b, task), resamples=resamples)
    halves = made.halves.get((task, kept))
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        parts = halves and [part.tolist() for part in halves]
        write_atomically(note, json.dumps({"rows": [asdict(row) for row in made.rows], "halves": parts}))
    except OSError:
        pass
    return made.rows, halves


def _of_task(run: Run, task: str) -> Run:
    return replace(run, record=run.record | {"tasks": {task: run.record["tasks"][task]}})


def _key(a: Run, b: Run, task: str, kept: str, resamples: int) -> str:
    known = [*_state(a, task), *_state(b, task), kept, resamples, _code()]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _state(run: Run, task: str) -> Iterator[object]:
    """What a comparison reads of a run: its record, and the log by place, size and time of change."""
    log = run.samples_path(task)
    yield _of_task(run, task).record
    yield [str(log.resolve()), *([log.stat().st_size, log.stat().st_mtime_ns] if log.exists() else [])]


@cache
def _code() -> str:
    """Hash of the code that compares."""
    total = hashlib.sha256()
    for package in CODE:
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                total.update(file.read_bytes())
    return total.hexdigest()
