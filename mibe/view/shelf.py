"""Pages that are written when somebody asks for them, and again when what they are of has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import write_page
from mibe.report.comparison import write_comparison
from mibe.report.page import write_report
from mibe.results.finding import MEMORISED
from mibe.results.folder import RECORD, SAMPLES

Stamp = tuple[object, ...]


class Shelf:
    """Folders of pages below `base`, one for each report, comparison and leaderboard that was asked for."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._written: dict[str, Stamp] = {}
        self._locks: dict[str, Lock] = {}

    def folder(self, name: str) -> Path:
        """Where a page of this name lies, once it was written."""
        return self._base / name

    def report(self, name: str, run: Path) -> None:
        """Write a run's report. Raises as `write_report`."""
        self._write(name, [run], lambda folder: write_report(run, folder))

    def comparison(self, name: str, a: Path, b: Path) -> None:
        """Write the page of two runs. Raises as `write_comparison`."""
        self._write(name, [a, b], lambda folder: write_comparison(a, b, folder))

    def leaderboard(self, name: str, runs: Sequence[Path]) -> None:
        """Write the leaderboard of runs, and of folders of `mibe memorised` among them. Raises as `leaderboard`."""
        self._write(name, runs, lambda folder: write_page(leaderboard(runs), folder))

    def _write(self, name: str, runs: Sequence[Path], write: Callable[[Path], Path]) -> None:
        with self._locks.setdefault(name, Lock()):
            stamp = tuple(_stamp(run) for run in runs)
            if self._written.get(name) != stamp:
                write(self.folder(name))
                self._written[name] = stamp


def _stamp(run: Path) -> Stamp:
    """What changes when a run does: place, size and time of its record and its logs."""
    files = [run / RECORD, run / MEMORISED, *sorted((run / SAMPLES).glob("*.jsonl"))]
    return str(run), *((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists())
