"""Where a model comes from: the stages of its training and the access levels of their data, kept beside its weights.

`training.json` in a model's folder lists the stages, the oldest first. Tuning a model adds a stage to those of the
model it began with, so that credentialed data of pretraining is still known of when the tuned model is handed on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mibe
from mellama_train.corpus.shards import MANIFEST
from mibe.task import AccessLevel

FILE, RECIPE = "training.json", "recipe.json"

UNKNOWN = "unknown"
"""The access level of data that nothing was recorded of."""

NOTHING_SEEN: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of training data.

    `access` is a level of `mibe.task.AccessLevel`, or "unknown"; `agreements` are those that credentialed data came
    under; `weight` is its part in the mixture, and `tokens` are those that were seen of it, where they are known.
    """

    name: str
    access: str = UNKNOWN
    agreements: tuple[str, ...] = ()
    weight: float | None = None
    tokens: int | None = None

    @property
    def is_restricted(self) -> bool:
        """Whether what was trained on it may fall under an agreement: it is credentialed, or nobody knows."""
        return self.access in (AccessLevel.CREDENTIALED, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSets:
    """What was looked for in the data of a stage: documents of the test sets of these tasks of mibe.

    So often was one of them `found` in a document of the data, and in so many of these cases it was `left_out`.
    """

    __test__ = False  # For pytest, which takes classes named Test… for tests.

    tasks: tuple[str, ...]
    found: int
    left_out: int

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> TestSets | None:
        """From the JSON data of a record; None where it says nothing."""
        if record is None:
            return None
        return cls(tasks=tuple(record["tasks"]), found=record["found"], left_out=record["left_out"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of training: its recipe as JSON data, optimizer steps made, sources, what was looked for in them.

    `trainer` is the name of a plugin that made it and `about` what that did, in a few words; both are None for the one
    loop of this package. `test_sets` is None where nothing is known of such a check.
    """

    recipe: Mapping[str, Any]
    steps: int | None
    sources: tuple[Source, ...]
    test_sets: TestSets | None = None
    trainer: str | None = None
    about: str | None = None

    @property
    def title(self) -> str:
        """What was done, in a few words."""
        if self.about:
            return f"{self.about[:1].upper()}{self.about[1:]}"
        data = self.recipe.get("data", {})
        if "folder" in data:
            return "Continual pretraining"
        if "task" in data:
            return f"Fine-tuning on {data['task']}, {'by LoRA' if self.recipe.get('lora') else 'of all weights'}"
        return "LoRA tuning" if self.recipe.get("lora") else "Tuning of all weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The model that everything began with (a hub's name or a folder), and the stages since then."""

    origin: str
    stages: tuple[Stage, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources of all stages."""
        return tuple(source for stage in self.stages for source in stage.sources)

    @property
    def is_restricted(self) -> bool:
        """Whether what the model says may repeat what it learned under an agreement."""
        return any(source.is_restricted for source in self.sources)

    def then(self, stage: Stage) -> Lineage:
        """The same with one stage more."""
        return Lineage(origin=self.origin, stages=(*self.stages, stage))


def lineage(model: str) -> Lineage:
    """What is known of a model, by the name or folder that it is loaded from. Nothing known is no stage."""
    folder = Path(model)
    if (content := _read(folder / FILE)) is not None:
        return Lineage(origin=content["origin"], stages=tuple(_stage(item) for item in content["stages"]))
    if (recipe := _read(folder / RECIPE)) is not None:
        return grown(recipe, steps=None, tokens={})
    return Lineage(origin=model)


def grown(
    recipe: Mapping[str, Any], *, steps: int | None, tokens: Mapping[str, int], test_sets: TestSets | None = None
) -> Lineage:
    """The lineage of what a run of `recipe` (as JSON data) of the one loop makes; `tokens` is source → tokens seen.

    `test_sets` is what was looked for when the data was read; without it, when it was built, as its manifests tell.
    """
    data = recipe.get("data", {})
    stage = Stage(
        recipe=recipe,
        steps=steps,
        sources=tuple(_sources(data, tokens)),
        test_sets=test_sets or _checked_by_build(data),
    )
    return lineage(recipe["model"]["path"]).then(stage)


def write(folder: Path, found: Lineage) -> None:
    """Put `training.json` into a model's folder."""
    (folder / FILE).write_text(json.dumps(asdict(found), indent=1) + "\n")


def _sources(data: Mapping[str, Any], tokens: Mapping[str, int]) -> Iterator[Source]:
    """The sources of a recipe's data by the manifests that lie with them, and all others that tokens were seen of.

    The data of a task is mibe's, which knows its terms.
    """
    files = data.get("files", ())
    known: dict[str, Any] = {
        name: about for manifest in _manifests(data) for name, about in manifest.get("sources", {}).items()
    }
    if "task" in data:
        access = mibe.load_task(data["task"]).access
        known[data["task"]] = {"access": access.level.value, "agreement": access.agreement}
    weights = data.get("weights") or {name: about.get("weight") for name, about in known.items()}
    names = list(data.get("weights") or {**known, **tokens}) or [_called(file) for file in files]
    for name in names:
        about = known.get(name, {})
        agreements = about.get("agreements") or [about.get("agreement")]
        yield Source(
            name=name,
            access=about.get("access", UNKNOWN),
            agreements=tuple(agreement for agreement in agreements if agreement),
            weight=weights.get(name),
            tokens=tokens.get(name),
        )


def task_source(name: str, *, weight: float | None = None, tokens: int | None = None) -> Source:
    """A task of mibe as a source: its access level, and the agreement it comes under. Raises mibe's errors."""
    access = mibe.load_task(name).access
    agreements = (access.agreement,) if access.agreement else ()
    return Source(name=name, access=access.level.value, agreements=agreements, weight=weight, tokens=tokens)


def file_sources(
    files: Sequence[Path | Mapping[str, Any]], tokens: Mapping[str, int] = NOTHING_SEEN
) -> tuple[Source, ...]:
    """The sources of files, by the manifests that lie beside them; of a file without one nothing is known.

    A data set stands as a recipe's JSON data has it. `tokens` is source → tokens seen.
    """
    places = [str(file) if isinstance(file, Path) else file for file in files]
    return tuple(_sources({"files": places}, tokens))


def built_test_sets(files: Sequence[Path]) -> TestSets | None:
    """What was looked for when the files were built, by the same manifests; None unless in all of them."""
    return _checked_by_build({"files": [str(file) for file in files]})


def altered(files: Iterable[Path | Mapping[str, Any]]) -> list[str]:
    """A line for each file that is another than the manifest beside it tells of: nothing is known of its data."""
    return [
        f"{file} is not as the {MANIFEST} beside it says"
        for file in files
        if isinstance(file, Path) and _is_altered(file, _manifest(file.parent))
    ]


def _is_altered(file: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a file is another than the one of its name in a manifest that has the hashes of its files."""
    hashes = {name: about.get("sha256") for name, about in manifest.get("files", {}).items()}
    if not any(hashes.values()):
        return False
    try:
        status = file.stat()
        return _sha256(file, status.st_size, status.st_mtime_ns) != hashes.get(file.name)
    except OSError:
        return True


@cache
def _sha256(file: Path, _size: int, _changed: int) -> str:
    """Of a file's content, once as long as its size and time of change stay: each checkpoint asks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _manifests(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the builders of a recipe's data have written beside it; an empty one for each folder without.

    Where a file is another now, no access level is known but that of an agreement, and nothing of test sets.
    """
    if "folder" in data:
        return [_manifest(Path(data["folder"]))]
    files = data.get("files", ())
    found = {folder: _manifest(folder) for folder in sorted({_beside(file) for file in files})}
    for path in (Path(file) for file in files if isinstance(file, str)):
        if _is_altered(path, found[path.parent]):
            found[path.parent] = _doubted(found[path.parent])
    return list(found.values())


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder; an empty one where there is none, or it is damaged."""
    try:
        found = _read(folder / MANIFEST)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _doubted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    sources = manifest.get("sources", {})
    stays = {name for name, about in sources.items() if about.get("access") == AccessLevel.CREDENTIALED}
    return {"sources": {name: about if name in stays else {} for name, about in sources.items()}}


def _checked_by_build(data: Mapping[str, Any]) -> TestSets | None:
    """What was looked for when the data was built; None unless in all of it."""
    manifests = _manifests(data)
    checks = [about for manifest in manifests if (about := manifest.get("decontamination"))]
    if not checks or len(checks) < len(manifests):
        return None
    tasks = sorted({name for check in checks for name in check["tasks"]})
    hits = [counts for check in checks for counts in check["hits"].values()]
    return TestSets(
        tasks=tuple(tasks),
        found=sum(counts["hits"] for counts in hits),
        left_out=sum(counts["removed"] for counts in hits),
    )


def _beside(file: str | Mapping[str, Any]) -> Path:
    """The folder in which the manifest of a sample file or data set would lie; a hub's data set has none."""
    return Path(file).parent if isinstance(file, str) else Path(file["dataset"])


def _called(file: str | Mapping[str, Any]) -> str:
    return Path(file).name if isinstance(file, str) else str(file["dataset"])


def _stage(content: Mapping[str, Any]) -> Stage:
    sources = tuple(Source(**{**item, "agreements": tuple(item["agreements"])}) for item in content["sources"])
    return Stage(
        recipe=content["recipe"],
        steps=content["steps"],
        sources=sources,
        test_sets=TestSets.of(content.get("test_sets")),
        trainer=content.get("trainer"),
        about=content.get("about"),
    )


def _read(path: Path) -> Any:
    """The JSON in a file, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
