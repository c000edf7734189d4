"""`mellama-train instructions build`: from the files of the sources to one file of samples and its manifest.

Everything is written into a working folder and moved in place when it is whole, the manifest last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mibe
from mellama_train.corpus.decontaminate import TestIndex, index_for
from mellama_train.corpus.inputs import problems_of_tests
from mellama_train.corpus.locks import alone
from mellama_train.corpus.permutation import mix
from mellama_train.corpus.shards import MANIFEST
from mellama_train.corpus.writing import private_files
from mellama_train.errors import DataError
from mellama_train.instructions.config import InstructionsConfig
from mellama_train.instructions.items import Item
from mellama_train.instructions.making import REPORT, Making
from mellama_train.instructions.sources import SOURCES, Source
from mellama_train.recipe.problems import Problem, problem_of_output
from mellama_train.recipe.yaml_schema import as_json
from mibe.task import AccessLevel

TRAIN = "train.jsonl"
HELD_OUT = "held_out.jsonl"


def build(config: InstructionsConfig, *, force: bool = False) -> dict[str, Any]:
    """Build the set and return its manifest; one that is there already, of the same files and recipe, is kept.

    Raises `DataError`, also where `config.output` holds another set and `force` is not set.
    """
    inputs = {name: _inputs(config, name) for name in config.sources}
    private = any(SOURCES[name].access.level is AccessLevel.CREDENTIALED for name in config.sources)
    try:
        with private_files(private), _alone(config.output, private):
            return _build(config, inputs, private, force)
    except OSError as error:
        raise DataError(f"cannot go on: {error.strerror or error}: {error.filename or config.output}") from None


def problems(config: InstructionsConfig) -> Iterator[Problem]:
    """Each thing that the file names and is not there, with its key."""
    if problem := problem_of_output(config.output):
        yield Problem("output", problem)
    for name in config.sources:
        try:
            _inputs(config, name)
        except DataError as error:
            yield Problem(f"sources.{name}", str(error))
    yield from problems_of_tests(config.decontaminate)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished set. Raises `DataError` when there is none, or its files are not of that size."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no finished set; build it: mellama-train instructions build FILE") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {folder / MANIFEST}: {error}") from None
    for name, about in manifest["files"].items():
        path = folder / name
        if not path.exists() or path.stat().st_size != about["bytes"]:
            raise DataError(f"{path} is not the file that was built (missing, cut or altered); build it again: --force")
    return manifest


def _build(config: InstructionsConfig, inputs: dict[str, list[Path]], private: bool, force: bool) -> dict[str, Any]:
    work = config.output / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        index = index_for(config.decontaminate, work / "tests")
        digests = {name: [_digest(path) for path in paths] for name, paths in inputs.items()}
        content = _content(config, digests, index)
        if (config.output / MANIFEST).exists() and not force:
            return _finished(config.output, content)
        made = Making(config, inputs, index, work)
        files = _write(config, made.samples(), made.counts, work)
        for name, counts in made.counts.items():
            if not counts["kept"]:
                raise DataError(f"the source {name} is empty: {_why_empty(counts)}")
        manifest = {
            "content": content,
            "private": private,
            "recipe": as_json(config),
            "sources": {name: _about(name, config, digests[name], made.counts[name]) for name in config.sources},
            "decontamination": index and {**index.about, "hits": made.hits},
            "files": files,
            "versions": {"mibe": mibe.__version__, "xxhash": version("xxhash"), "datatrove": version("datatrove")},
        }
        _put(work, config.output, manifest)
        return manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _finished(folder: Path, content: str) -> dict[str, Any]:
    """The set that is there already."""
    manifest = read_manifest(folder)
    if manifest["content"] != content:
        raise DataError(
            f"{folder} holds a set of another recipe, of other files or test sets; choose another output, or replace "
            "it with --force"
        )
    return manifest


def sample_line(source: Source, item: Item) -> str:
    """One line of the output: prompt and response, or the turns of a conversation, all in the form of table A1."""
    prompt = source.prompt.render(item.fields)
    if not item.follow_up:
        sample: dict[str, Any] = {"prompt": prompt, "response": item.response}
    else:
        turns = [(prompt, item.response), *item.follow_up]
        pairs = [({"role": "user", "content": u}, {"role": "assistant", "content": a}) for u, a in turns]
        sample = {"messages": [message for pair in pairs for message in pair]}
    return json.dumps({**sample, "source": source.name, "id": item.id}, ensure_ascii=False)


def _write(
    config: InstructionsConfig,
    samples: Iterator[tuple[int, Source, Item]],
    counts: dict[str, Counter[str]],
    work: Path,
) -> dict[str, Any]:
    """Write the samples into the working folder; what the manifest says of each file."""
    names = (TRAIN, HELD_OUT) if config.held_out else (TRAIN,)
    about = {name: {"samples": 0, "bytes": 0} for name in names}
    digests = {name: hashlib.sha256() for name in names}
    with ExitStack() as stack:
        files = {name: stack.enter_context((work / name).open("wb")) for name in names}
        for key, source, item in samples:
            # Not by the key itself: the keys come in their order, and the held-out share would be the first or last.
            name = HELD_OUT if mix(key) / 2**64 < config.held_out else TRAIN
            line = (sample_line(source, item) + "\n").encode()
            files[name].write(line)
            digests[name].update(line)
            about[name]["samples"] += 1
            about[name]["bytes"] += len(line)
            counts[source.name]["held out"] += name == HELD_OUT
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    return {name: {**about[name], "sha256": digests[name].hexdigest()} for name in names}


def _put(work: Path, output: Path, manifest: dict[str, Any]) -> None:
    """Move the finished files in place. Without a manifest, which is the last, nothing counts as a finished set."""
    (output / MANIFEST).unlink(missing_ok=True)
    for name in (TRAIN, HELD_OUT, REPORT):
        if (work / name).exists():
            (work / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)
    (work / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    (work / MANIFEST).replace(output / MANIFEST)


def _inputs(config: InstructionsConfig, name: str) -> list[Path]:
    source = SOURCES[name]
    files = []
    for path in config.paths(name):
        found = source.reader.files(path)
        if not found:
            raise DataError(f"{name}: no file at {path}; get it from {source.home}")
        files += found
    return files


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}


def _content(config: InstructionsConfig, digests: dict[str, list[dict[str, Any]]], index: TestIndex | None) -> str:
    """A hash of all that decides the samples."""
    recipe = as_json(config)
    del recipe["output"]
    inputs = {name: [about["sha256"] for about in some] for name, some in digests.items()}
    caps = {name: config.cap(name) for name in config.sources}
    parts = [recipe, inputs, caps, index and index.about, mibe.__version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _about(name: str, config: InstructionsConfig, files: list[dict[str, Any]], counts: Counter[str]) -> dict[str, Any]:
    source = SOURCES[name]
    return {
        "row": source.row.title,
        "prompt": source.prompt.name,
        "access": str(source.access.level),
        "agreement": source.access.agreement,
        "licence": source.licence,
        "home": source.home,
        "cap": config.cap(name),
        "files": files,
        "counts": dict(counts),
    }


def _why_empty(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in counts.items() if number) or "no record in its files"


@contextmanager
def _alone(folder: Path, private: bool) -> Iterator[None]:
    """Make the folder and hold its lock. Raises `DataError` where another build holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    if private:
        folder.chmod(0o700)
    with alone(folder, DataError):
        yield
