"""What the folder of a model made here says of its corpus: which test sets were looked for in it and what was found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from typing_extensions import TypedDict

from mibe.data.disk import open_plain
from mibe.errors import DataError
from mibe.results import schema
from mibe.results.schema import STRICT, Count, Name

TRAINING, MANIFEST = "training.json", "manifest.json"
LARGEST = 64 << 20
"""Bytes of such a file that are read."""


class Stage(TypedDict):
    """A stage of training; its recipe names the data: a corpus `folder`, a `task`, or `files`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    recipe: dict[str, JsonValue]


class Training(TypedDict):
    """`training.json` of a model folder."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    origin: Name
    stages: list[Stage]


class Hits(TypedDict):
    """Documents of the training data that hold a passage of a test set, and those that were removed for it."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    hits: Count
    removed: Count


class Decontamination(TypedDict):
    """The report in a corpus's manifest: the words of a passage, the tasks looked for, and task → what was found."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    ngram: Count
    tasks: dict[Name, JsonValue]
    hits: dict[Name, Hits]


class Manifest(TypedDict, total=False):
    """`manifest.json` of a corpus or of instructions."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    decontamination: Decontamination | None


def training_lines(args: Mapping[str, str], tasks: Collection[str]) -> list[str]:
    """What is known of the training of the model with these arguments, one line a stage and task.

    Empty for a model that was not made here. Raises `DataError` for a file that is not what it should be.
    """
    folders = [Path(args[key]) for key in ("peft", "pretrained") if key in args]
    folder = next((folder for folder in folders if (folder / TRAINING).is_file()), None)
    if folder is None:
        return []
    stages = _read(folder / TRAINING, Training)["stages"]
    return [line for number, stage in enumerate(stages, start=1) for line in _of_stage(number, stage["recipe"], tasks)]


def _of_stage(number: int, recipe: Mapping[str, Any], tasks: Collection[str]) -> Iterator[str]:
    data = recipe.get("data")
    if not isinstance(data, dict):
        yield f"stage {number}: its recipe names no data"
        return
    if isinstance(name := data.get("task"), str):
        yield f"stage {number}: trained on the training split of {name}"
        return
    for folder in _folders(data):
        where = f"stage {number}, {folder.name}"
        if not (folder / MANIFEST).is_file():
            yield f"{where}: no decontamination report is there (any more)"
            continue
        report = _read(folder / MANIFEST, Manifest).get("decontamination")
        if report is None:
            yield f"{where}: no test set was looked for in it"
            continue
        for task in tasks:
            yield f"{where}: {_of_task(report, task)}"


def _of_task(report: Mapping[str, Any], task: str) -> str:
    if task not in report["tasks"]:
        return f"{task} was not looked for in it"
    found = report["hits"].get(task, {"hits": 0, "removed": 0})
    return (
        f"{task} was looked for by runs of {report['ngram']} words: {found['hits']} documents hold one of them, "
        f"{found['removed']} were removed"
    )


def _folders(data: Mapping[str, Any]) -> list[Path]:
    """Where the manifests of a stage's data would lie."""
    if isinstance(folder := data.get("folder"), str):
        return [Path(folder)]
    files = data.get("files")
    return sorted({Path(file).parent for file in files if isinstance(file, str)}) if isinstance(files, list) else []


def _read(path: Path, form: Any) -> dict[str, Any]:
    try:
        with open_plain(path) as file:
            return schema.of_form(form, file.read(LARGEST))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except schema.Unfit as error:
        raise DataError(f"{path} is not what mellama-train writes: {error}") from None
