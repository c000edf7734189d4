"""Data sets that are made from others in the package, and so need no download."""

from __future__ import annotations

from pathlib import Path

from mibe.data.readers.cases import BUNDLED as FROM_MEDQA
from mibe.data.store import BUNDLED
from mibe.errors import UsageError
from mibe.task import Task

MADE_FROM = {"diagnosis_open": ("medqa", FROM_MEDQA)}
"""Data set → the one in the package that it is made from, and the variant of its source that reads that."""


def made_from(task: Task) -> tuple[Path, str]:
    """The folder in the package that the data of a task is made from, and the variant to read it by.

    Raises `UsageError` for data that has to be brought from elsewhere.
    """
    if task.data_name not in MADE_FROM:
        raise UsageError(f"--from PATH says where the official files are. {task.source.obtain}")
    name, variant = MADE_FROM[task.data_name]
    return BUNDLED / name, variant
