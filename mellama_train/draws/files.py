"""What is written: a file of lines, and in the manifest of its folder where they come from and under which terms.

The manifest is one that `mellama-train instructions show` prints and that the trainers take access levels from. Several
files may lie in one folder; each is written aside and put in place when it is whole, the manifest last.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mibe
from mellama_train.corpus.shards import MANIFEST
from mellama_train.corpus.writing import private_files, write_whole
from mellama_train.draws.judged import Judged
from mellama_train.errors import DataError
from mellama_train.instructions.sources import EXTRA
from mellama_train.model.provenance import Lineage
from mibe.task import AccessLevel, Task

KIND = "draws"
"""The manifest's key that tells it from that of an instruction set."""


def problem_of_file(file: Path) -> str | None:
    """Why nothing can be written to a file, before anything is drawn; None where it can."""
    if file.name == MANIFEST:
        return f"--output: {file} is the name of the manifest beside the lines; give another, as draws.jsonl"
    if file.is_dir():
        return f"--output: {file} is a folder; give a file in it, as {file / 'draws.jsonl'}"
    there = next((parent for parent in file.parents if parent.exists()), None)
    if there is not None and not there.is_dir():
        return f"--output: {there} is a file, so {file} cannot be"
    manifest = _manifest(file.parent)
    if manifest is None and (file.parent / MANIFEST).exists():
        return f"--output: {file.parent} holds data with a manifest of its own; write into another folder"
    if file.exists() and file.name not in (manifest or {}).get("files", {}):
        return f"--output: {file} is there already and was not written by this command; give another name"
    return None


def write_rows(
    file: Path,
    rows: Iterable[Mapping[str, Any]],
    judged: Judged,
    *,
    about: Mapping[str, Any],
    counts: Mapping[str, int],
    lineage: Lineage | None,
) -> None:
    """Write the lines and name them in the manifest: `about` their making, `counts` of draws read, kept and left out.

    `lineage` is that of the model that drew: what it learned under an agreement, its answers may repeat. So text of a
    credentialed task, or of such a model, is for its owner alone, from the first byte, and with it all that is written
    into its folder afterwards. Raises `DataError` where nothing can be written.
    """
    manifest = _manifest(file.parent) or {KIND: 1, "private": False, "files": {}}
    manifest["private"] |= is_private(judged.task, lineage)
    try:
        with private_files(manifest["private"]):
            file.parent.mkdir(parents=True, exist_ok=True)
            written = _write(file, rows)
            manifest["files"][file.name] = {
                **about,
                **written,
                "counts": dict(counts),
                "sources": _sources(judged.task, lineage),
                "compared": list(judged.compared),
                "in_test_sets": dict(judged.in_test_sets),
            }
            manifest["sources"] = _summed(manifest["files"].values())
            manifest["decontamination"] = _compared(manifest["files"].values())
            manifest["versions"] = {"mibe": mibe.__version__}
            write_whole(file.parent / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1).encode())
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}") from None


def is_private(task: Task, lineage: Lineage | None) -> bool:
    """Whether answers to a task's questions, by a model of this lineage, are for their owner alone."""
    return task.access.level is AccessLevel.CREDENTIALED or (lineage is not None and lineage.is_restricted)


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    lines = [(json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows]
    content = b"".join(lines)
    write_whole(file, content)
    return {"samples": len(lines), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder's draws; None where there is none, or it is that of something else."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and KIND in found else None


def _sources(task: Task, lineage: Lineage | None) -> dict[str, Any]:
    """Source → its terms: the task's data, and what the model may repeat of its own training."""
    learned = {source.name: source for source in (lineage.sources if lineage else ()) if source.is_restricted}
    others = {
        name: {"access": source.access, "agreements": list(source.agreements), "through": "the model that answered"}
        for name, source in learned.items()
        if name != task.name
    }
    terms = {"access": task.access.level.value, "agreement": task.access.agreement, "licence": task.source.licence}
    return {task.name: terms, **others}


def _summed(files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Source → terms, and the counts of all files that are of it. A file's own source is the first that it names."""
    sources: dict[str, Any] = {}
    counts: dict[str, Counter[str]] = {}
    for file in files:
        own = next(iter(file["sources"]))
        for name, terms in file["sources"].items():
            sources.setdefault(name, terms)
            counts.setdefault(name, Counter(read=0, kept=0)).update(file["counts"] if name == own else {})
    return {name: {"row": EXTRA.title, **terms, "counts": dict(counts[name])} for name, terms in sources.items()}


def _compared(files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What was looked for of test sets in all files, as the manifest of an instruction set says it."""
    found = Counter(place.partition("/")[0] for file in files for place in file["in_test_sets"].values())
    tasks = sorted({name for file in files for name in file["compared"]})
    return {"tasks": tasks, "hits": {name: {"hits": count, "removed": count} for name, count in found.items()}}


def shown(names: Sequence[str], most: int = 10) -> str:
    """The first of some names, and how many there are where they are more."""
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")
