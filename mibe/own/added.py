"""The user's own tasks in the data folder: a data set as any other, whose manifest holds the task's description.

Looked at whenever tasks are listed, so nothing is imported here before a task is named.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.data import store
from mibe.data.disk import disk_error
from mibe.errors import DataError, UsageError, unknown
from mibe.registry import is_taken
from mibe.task import AccessLevel, Task

if TYPE_CHECKING:
    from mibe.data.store import Manifest
    from mibe.own.description import TaskFile

TASK = "task"
"""The key of a manifest under which the description stands."""


def added_names() -> list[str]:
    """Names of the user's own tasks, sorted."""
    folder = store.data_dir()
    found = sorted(path.parent.name for path in folder.glob(f"[!.]*/{store.MANIFEST}")) if folder.is_dir() else []
    return [name for name in found if _description(name) is not None]


def added_task(name: str) -> Task | None:
    """The user's own task of this name, or None."""
    found = _description(name) if re.fullmatch(r"\w[\w.-]*", name) else None
    if found is None:
        return None
    from mibe.own.building import build
    from mibe.own.source import source_from

    return build((source := source_from(found, name)).description, source)


def add(path: Path, said: Mapping[str, Any], written: TaskFile | None = None) -> tuple[Manifest, tuple[str, ...]]:
    """Bring a file, or what a task file names, into the data folder as a task; returns its manifest and what to know.

    `written` is the task file where the file at `path` is none of mibe's.

    A task of the user's own that has the name is replaced. Raises as `mibe.own.opening.open_file` does, and
    `UsageError` for a name that is taken.
    """
    from mibe.data.prepare import write
    from mibe.own.building import build
    from mibe.own.opening import check_name, described, manifest_of, understood
    from mibe.own.settling import settle
    from mibe.own.source import OwnSource

    description, folder = described(path, said, written)
    name = description.name
    assert name is not None
    check_name(name)
    target = store.data_dir() / name
    if target.exists() and _description(name) is None:
        raise UsageError(f"{target} holds other data; give the task another name (--name)")
    settled = settle(description, folder)
    files = {each: str((folder / Path(each).expanduser()).resolve()) for each in description.files.values()}
    source = OwnSource(settled.description)
    build(settled.description, source)
    about = manifest_of(settled, files) | {TASK: source.recorded(), "from": files}
    manifest = write(target, settled.splits, about, private=description.access is AccessLevel.CREDENTIALED)
    return manifest, tuple(understood(path, settled))


def remove(name: str) -> Path:
    """Delete a task of the user's own with its copy of the data; returns the folder that it had."""
    if _description(name) is None:
        if is_taken(name) or store.find(name) is not None:
            raise UsageError(f"{name} is no task that was added; delete its prepared data by hand")
        raise unknown("task of your own", name, added_names()) if added_names() else UsageError("no task was added")
    folder = store.data_dir() / name
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    return folder


def changed_files(name: str) -> Sequence[str]:
    """The files that a task of the user's own was added from and that hold something else now."""
    if _description(name) is None:
        return ()
    from mibe.own.opening import source_of

    manifest = store.load_manifest(name) or {}
    was = {source["file"]: source["sha256"] for source in manifest.get("sources", ())}
    here = {file: Path(path) for file, path in manifest.get("from", {}).items() if Path(path).exists()}
    return [str(path) for file, path in here.items() if source_of(file, path)["sha256"] != was.get(file)]


def _description(name: str) -> dict[str, Any] | None:
    """What the manifest of a data set says of the task that was added with it, if it was."""
    folder = store.data_dir() / name
    if not (folder / store.MANIFEST).is_file():
        return None
    try:
        manifest = store.load_manifest(name)
    except DataError:
        # `mibe data verify` says what is wrong with it.
        return None
    found = (manifest or {}).get(TASK)
    return found if isinstance(found, dict) else None
