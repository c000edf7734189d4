"""Run folders by whatever names them: a run folder, a folder that holds some, or a glob pattern."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mibe.errors import RunError, UsageError
from mibe.results.folder import RECORD

MEMORISED = "memorised.json"
"""The record in a folder of `mibe memorised`, which lies among run folders and is none."""


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """The run folders among `paths`, below them, and among what they match as glob patterns, each once.

    Raises `RunError` for a path with no run folder.
    """
    found: dict[Path, None] = {}
    for path in paths:
        runs = [run for place in _matches(Path(path)) for run in _below(place, RECORD)]
        if not runs:
            raise RunError(
                f"{path}: no run folder there (it is not a run folder, which has a {RECORD} as mibe eval writes it, "
                "and holds none)"
            )
        found.update((run.resolve(), None) for run in runs)
    return list(found)


def find_memorised(paths: Iterable[str | Path]) -> list[Path]:
    """The folders of `mibe memorised` among `paths`, below them, and among what they match, each once."""
    places = (place for path in paths for place in _matches(Path(path)))
    return list(dict.fromkeys(folder.resolve() for place in places for folder in _below(place, MEMORISED)))


def is_memorised(path: str | Path) -> bool:
    """Whether a path is a folder of `mibe memorised` itself."""
    return (Path(path) / MEMORISED).exists()


def is_run(path: str | Path) -> bool:
    """Whether a path is a run folder itself, and not one that holds some."""
    return (Path(path) / RECORD).exists()


def runs_at(path: str | Path) -> list[Path]:
    """The run folder that `path` is, as it was named, or those below it. Raises `RunError` where there is none."""
    return [Path(path)] if is_run(path) else find_runs([path])


def one_run(path: str | Path) -> Path:
    """The run folder that `path` is, or the only one below it. Raises as `some_runs` does."""
    (run,) = some_runs([path], 1)
    return run


def some_runs(paths: Iterable[str | Path], count: int) -> list[Path]:
    """The run folders that `paths` name, which are `count` in all.

    Raises `RunError` for a path with none, and `UsageError`, naming them, where there are more or fewer.
    """
    runs = [run for path in paths for run in runs_at(path)]
    if len(runs) != count:
        names = ", ".join(run.name for run in runs)
        raise UsageError(f"this needs {count} run{'s' * (count > 1)}, and there are {len(runs)}; choose from {names}")
    return runs


def _matches(path: Path) -> list[Path]:
    """The path, or what it matches as a glob pattern where a shell has not said so already."""
    if path.exists():
        return [path]
    base = Path(path.anchor)
    return sorted(base.glob(str(path.relative_to(base))))


def _below(path: Path, record: str) -> Iterator[Path]:
    """Folders with a record at or below `path`; what lies inside such a folder, its history say, is no other run."""
    for folder, inner, files in os.walk(path):
        inner.sort()
        if record in files:
            inner.clear()
            yield Path(folder)
