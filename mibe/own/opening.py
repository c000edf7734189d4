"""A file of one's own as a task: read now, held in memory, and copied to no other place."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mibe.data.contents import content_notes
from mibe.data.prepare import SCHEMA
from mibe.data.raw import file_sha256
from mibe.data.schema import to_line
from mibe.data.store import Held, HeldSplit, Manifest, hold
from mibe.errors import DataError, UsageError
from mibe.own.building import build
from mibe.own.description import TaskFile, read_task_file, task_file
from mibe.own.kinds import WORDS, Kind
from mibe.own.settling import Settled, default_name, settle
from mibe.own.source import OwnSource
from mibe.registry import is_taken
from mibe.task import AccessLevel, Example, Task


def described(path: Path, said: Mapping[str, Any], written: TaskFile | None = None) -> tuple[TaskFile, Path]:
    """What is said of a file: by `written`, or the file itself if it is a task file, and by `said`, which counts first.

    `said` holds fields of `TaskFile`; those of `columns` and `prompt` are merged, others replace. Returns the
    description, which has a name, and the folder that its files lie in.
    """
    if not path.exists():
        raise DataError(f"there is nothing at {path}")
    if written is None:
        written = read_task_file(path) if path.suffix.lower() == ".toml" else TaskFile(files={"test": path.name})
    content = written.model_dump(mode="json", exclude_defaults=True)
    for key, value in said.items():
        both = isinstance(value, Mapping) and isinstance(content.get(key), Mapping)
        content[key] = {**content[key], **value} if both else value
    if "name" not in content:
        content["name"] = default_name(path)
    return task_file(content, str(path)), path.parent


def open_file(path: str | Path, **said: Any) -> tuple[Task, tuple[str, ...]]:
    """The task in a file, and what its user should know of it, a line each.

    Raises
    ------
    DataError
        When the file, or a row of it, cannot be used; all such rows are named, each with its line.
    UsageError
        When a column, a label or a figure is not there, or what an answer is cannot be told.
    """
    description, folder = described(Path(path), said)
    check_name(description.name)
    settled = settle(description, folder)
    files = {name: str((folder / Path(name).expanduser()).resolve()) for name in settled.description.files.values()}
    held = _held(Path(path), settled, files)
    source = OwnSource(settled.description, files, {split: _sha256(s.content) for split, s in held[0].items()})
    task = build(settled.description, source, dataset=data_name(source))
    hold(task.data_name, Held(Path(path), lambda: held))
    return task, tuple(understood(Path(path), settled))


def check_name(name: str | None) -> None:
    """Raise `UsageError` for a name that a built-in task, a group or a plugin has."""
    if name is not None and is_taken(name):
        raise UsageError(f"the name {name!r} is taken; give the task another (--name, or name = in the task file)")


def data_name(source: OwnSource) -> str:
    """A name for data in memory that no other data has: by what it is, and by how it was read."""
    content = json.dumps(source.recorded(), sort_keys=True)
    return f"{source.description.name}.{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def reopened(source: OwnSource) -> Task:
    """The task that a run record describes; its file is read, and compared, when its data is asked for."""
    task = build(source.description, source, dataset=data_name(source))
    path = Path(next(iter(source.files.values()), source.description.name or ""))
    hold(task.data_name, Held(path, partial(_as_it_was, source, path)))
    return task


def _as_it_was(source: OwnSource, path: Path) -> tuple[Mapping[str, HeldSplit], Manifest]:
    """The data of a run once more. Raises `DataError` where the file holds something else than it did then."""
    description = source.description.model_copy(
        update={"files": {split: source.files[name] for split, name in source.description.files.items()}}
    )
    if lost := [file for file in source.files.values() if not Path(file).exists()]:
        raise DataError(f"{lost[0]}, which the run was made with, is not there any more; bring it back")
    try:
        settled = settle(description, Path())
    except (DataError, UsageError):
        # Not in the words of the file: the record may be somebody else's, and name any file of this machine.
        raise DataError(f"{path} cannot be read as in the run; bring the file back as it was") from None
    splits, manifest = _held(path, settled, source.files)
    for split, sha256 in source.splits.items():
        if split not in splits or _sha256(splits[split].content) != sha256:
            raise DataError(
                f"{path} was changed since the run ({split} has another sha256); bring the file back as it was, or run "
                "the command again: what the model has answered is not asked again"
            )
    return splits, manifest


def _held(path: Path, settled: Settled, files: Mapping[str, str]) -> tuple[Mapping[str, HeldSplit], Manifest]:
    splits = {split: HeldSplit(path, _json_lines(examples)) for split, examples in settled.splits.items()}
    manifest = manifest_of(settled, files) | {
        "counts": {split: len(examples) for split, examples in settled.splits.items()},
        "splits": {s: {"bytes": len(h.content), "sha256": _sha256(h.content)} for s, h in splits.items()},
    }
    return splits, manifest


def manifest_of(settled: Settled, files: Mapping[str, str]) -> Manifest:
    """The part of a manifest that is known before splits are written: where the data came from."""
    return {
        "schema": SCHEMA,
        "name": settled.description.name,
        "variant": "default",
        "reader": OwnSource.__name__,
        "reader_version": OwnSource.version,
        "licence": settled.description.licence,
        "homepage": OwnSource.homepage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": [source_of(name, Path(path)) for name, path in files.items()],
        "notes": content_notes(settled.splits),
    }


def source_of(name: str, path: Path) -> dict[str, Any]:
    """A file, or a folder by the listing of its files, as a manifest names it: size and sha256."""
    found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in found:
        digest.update(f"{file_sha256(file)}  {file.name}\n".encode())
    sha256 = digest.hexdigest() if path.is_dir() else file_sha256(path)
    return {"file": name, "bytes": sum(file.stat().st_size for file in found), "sha256": sha256}


def _json_lines(examples: Iterable[Example]) -> bytes:
    lines = []
    for example in examples:
        try:
            lines.append(to_line(example) + "\n")
        except ValueError as error:
            raise DataError(f"the example {example.id!r} cannot be used: {error}") from None
    return "".join(lines).encode("utf-8", "surrogatepass")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def understood(path: Path, settled: Settled) -> Iterable[str]:
    """What was understood of a file, for the screen."""
    description = settled.description
    kind = description.kind or Kind.ANSWER
    rows = ", ".join(f"{len(examples):,} in {split}" for split, examples in settled.splits.items())
    other = " (a guess; another kind: --kind)" if settled.guessed else ""
    yield f"{path.name}: {rows}; each answer is {WORDS[kind]}{_labels(settled)}{other}"
    yield from settled.notes
    if description.access is AccessLevel.CREDENTIALED:
        yield f"{description.name} is private: its text stays on this machine (--access open where all may see it)"


def _labels(settled: Settled) -> str:
    """The labels with their numbers, where they are few: a label that is a slip of the pen shows here."""
    description = settled.description
    if description.kind not in (Kind.LABEL, Kind.LABELS, Kind.SPANS):
        return ""
    targets = [example.target for examples in settled.splits.values() for example in examples]
    counted = Counter(name for target in targets for name in _names(description.kind, target))
    shown = [f"{label} {counted[label]:,}" for label in description.labels[:20]]
    more = f", … ({len(description.labels)} in all)" if len(description.labels) > 20 else ""
    return f": {', '.join(shown)}{more}"


def _names(kind: Kind, target: Any) -> Sequence[str]:
    if kind is Kind.LABEL:
        return [target]
    return [one[0] for one in target] if kind is Kind.SPANS else target
