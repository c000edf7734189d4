"""`memorised.json`: what was found of a model, task by task, in a folder of its own. It holds figures and no text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from mibe.data.disk import disk_error, open_plain, write_atomically
from mibe.errors import RunError
from mibe.results import schema
from mibe.results.finding import MEMORISED
from mibe.results.schema import STRICT, Count, Model, Name, Number, TaskName, Time, Versions, Whole

SCHEMA = 1
LEVEL = 0.01
"""p, corrected for all tests of a record, below which a test set counts as memorised."""

AGAINST = {"twins": "twins", "reference": "reference questions", "orders": "other orders"}
"""What questions were compared with, in prose."""

LARGEST = 16 << 20
"""Bytes of a record that are read."""

Share = Annotated[float, Field(ge=0, le=1)]


class FindingEntry(TypedDict):
    """One test of one task: `mibe.memorisation.testing.Finding`, and p corrected for all tests of the record."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    against: Literal["twins", "reference", "orders"]
    comparisons: Count
    wins: Share
    low: Share
    high: Share
    p: Share
    p_holm: Share
    score: Number | None
    other: Number | None
    p_sharded: Share | None


class DataEntry(TypedDict):
    """Which questions were tested."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    split: Name
    sha256: Name
    documents: Count
    of: Count


class TaskEntry(TypedDict):
    """What was found of one task; `left_out` is test → why it was not made."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    data: DataEntry
    tests: dict[Name, FindingEntry]
    left_out: dict[Name, Name]


class ReferenceEntry(TypedDict):
    """The file of reference questions, by name and content."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    file: Name
    sha256: Name
    questions: Count


class Record(TypedDict):
    """`memorised.json`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    schema: Literal[1]
    mibe_version: Name
    created: Time
    model: Model
    seed: Whole
    limit: Count | None
    reference: ReferenceEntry | None
    egress: list[dict[str, Any]]
    training: list[Name]
    tasks: dict[TaskName, TaskEntry]
    versions: Versions


@dataclass(frozen=True)
class Memorisation:
    """A record and its folder."""

    path: Path
    record: Mapping[str, Any]

    def strongest(self, task: str) -> tuple[str, Mapping[str, Any]] | None:
        """The test of a task with the least p, by name; None where none was made."""
        tests = self.record["tasks"][task]["tests"]
        return min(tests.items(), key=lambda item: (item[1]["p_holm"], item[1]["p"]), default=None)

    def questions(self, task: str) -> int:
        """How many questions of a task were looked at."""
        return int(self.record["tasks"][task]["data"]["documents"])

    def evidence(self, task: str) -> str:
        """What its strongest test says, in a few words; empty where none was made."""
        found = self.strongest(task)
        if found is None:
            return ""
        name, entry = found
        return (
            f"{name} against {AGAINST[entry['against']]}, wins {entry['wins']:.2f} of {entry['comparisons']}, "
            f"p {entry['p_holm']:.2g} by Holm"
        )

    def is_memorised(self, task: str) -> bool:
        """Whether a test of the task says that the model has learned its questions by heart."""
        found = self.strongest(task)
        return found is not None and bool(found[1]["p_holm"] < LEVEL)


def save(record: Mapping[str, Any], output_dir: Path) -> Memorisation:
    """Write a record into a new folder below `output_dir`. Raises `RunError` where it cannot be written."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", str(record["model"]["name"])).strip("-.") or "model"
    stem = f"{safe[:80]}-memorised-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        folder = _new(output_dir, stem)
        write_atomically(folder / MEMORISED, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise disk_error(error, output_dir) from error
    return Memorisation(folder, record)


def _new(output_dir: Path, stem: str) -> Path:
    number = 1
    while True:
        folder = output_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def load(folder: Path) -> Memorisation:
    """The record in a folder. Raises `RunError` where there is none, or it is not what it should be."""
    try:
        with open_plain(folder / MEMORISED) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RunError(f"{folder / MEMORISED} cannot be read: {error.strerror or error}") from None
    if len(content) > LARGEST:
        raise RunError(f"{folder / MEMORISED} is larger than {LARGEST >> 20} MiB, and so no record")
    try:
        return Memorisation(folder, schema.of_form(Record, content))
    except schema.Unfit as error:
        raise RunError(f"{folder / MEMORISED} is damaged: {error}; run mibe memorised again") from None


def identity_of(identity: Mapping[str, Any] | None) -> str | None:
    """A digest that is the same for two records of one model; None where nothing shows that two are of one."""
    if identity is None:
        return None
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
