"""What a corpus file (`corpus.yaml`) may say. `docs/corpus.md` explains each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mellama_train.corpus import cleaning
from mellama_train.corpus.sources import FORMATS, Format
from mellama_train.corpus.streams import COMPRESSIONS
from mellama_train.errors import CorpusError
from mellama_train.recipe.defaults import CONTEXT
from mellama_train.recipe.problems import FieldError, refuse
from mellama_train.recipe.ranges import Count, Positive, Range, RowLength, Seed, SmallShare
from mibe.task import AccessLevel

CLEAN: tuple[str | dict[str, float], ...] = ("unicode", "control_characters", "whitespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Files of one format. A folder stands for all of its files with the format's suffixes, a `*` for many."""

    format: Format
    path: Path | tuple[Path, ...]
    clean: tuple[str | dict[str, float], ...] = CLEAN
    where: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    access: AccessLevel | None = None
    agreement: str | None = None
    broken: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[FieldError]:
        try:
            self.steps()
        except ValueError as error:
            yield FieldError("clean", str(error))
        if FORMATS[self.format].access.agreement and self.access not in (None, AccessLevel.CREDENTIALED):
            yield FieldError("access", f"{self.format} is credentialed data; its access cannot be {self.access}")
        if self.agreement and self.access_level is not AccessLevel.CREDENTIALED:
            yield FieldError("agreement", "only credentialed data has an agreement; set access: credentialed")

    @property
    def access_level(self) -> AccessLevel:
        """Who may have the data: what the file says, else what the format is known for."""
        return self.access or FORMATS[self.format].access.level

    @property
    def agreement_name(self) -> str | None:
        """The agreement that must be signed for credentialed data."""
        return self.agreement or FORMATS[self.format].access.agreement

    def steps(self) -> list[cleaning.NamedStep]:
        """The cleaning steps, in order."""
        wanted: list[str | tuple[str, float]] = []
        for item in self.clean:
            wanted += [item] if isinstance(item, str) else list(item.items())
        return cleaning.steps(wanted)

    def files(self) -> list[Path]:
        """The files, sorted by path. Raises `CorpusError` for a path under which there is none."""
        return [file for path in self.paths for file in self.files_at(path)]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths as they are given."""
        return (self.path,) if isinstance(self.path, Path) else self.path

    def files_at(self, path: Path) -> list[Path]:
        """The files of one path, sorted. Raises `CorpusError` where there is none."""
        if path.is_dir():
            known = FORMATS[self.format].suffixes
            suffixes = {*known, *(suffix + packed for suffix in known for packed in COMPRESSIONS)}
            found = [p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(tuple(suffixes))]
        else:
            found = [p for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if p.is_file()]
        if not found:
            raise CorpusError(f"no file of the format {self.format} at {path}")
        return sorted(found)

    def keeps(self, fields: Mapping[str, str]) -> bool:
        """Whether a document with these fields is chosen by `where`."""
        return all(
            fields.get(name) in ((wanted,) if isinstance(wanted, str) else wanted)
            for name, wanted in self.where.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One term of the mixture: its weight, the passes over it that are allowed, and the inputs it is made of."""

    weight: Positive
    inputs: tuple[Input, ...]
    max_epochs: Positive = 1.0

    def __post_init__(self) -> None:
        if not self.inputs:
            raise FieldError("inputs", "is empty")


def problem_of_name(source: str) -> str | None:
    """Why a source, which has a folder of its own, cannot be called so."""
    if source.replace("-", "_").isidentifier():
        return None
    return f"{source!r} cannot name a folder; use letters, digits, '-' and '_'"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """The folder of a model (with `tokenizer.json`), and the token that ends a document when it is not the model's."""

    path: Path
    eos: str | None = None
    bos: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontamination:
    """Remove documents that hold a passage of a prepared test set of mibe (`mellama_train.corpus.decontaminate`)."""

    ngram: Annotated[int, Range(at_least=5, why="below 5 words, chance matches are everywhere")] = 13
    coverage: Annotated[float, Range(above=0, at_most=1)] = 0.5
    tasks: tuple[str, ...] | None = None
    common: Count = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplication:
    """Which copies are removed: `exact`, or also `near` ones (MinHash of 5-word shingles, 14 bands of 8 hashes)."""

    kind: Literal["near", "exact"] = "near"
    bands: Count = 14
    hashes: Count = 8
    shingle: Count = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where the work is done: by datatrove's local, Slurm or Ray executor. `arguments` go to its constructor."""

    executor: Literal["local", "slurm", "ray"] = "local"
    workers: Count = 1
    tasks: Count | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.executor == "slurm" and (missing := {"time", "partition"} - self.arguments.keys()):
            raise FieldError("arguments", f"the slurm executor needs {' and '.join(sorted(missing))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A whole corpus file."""

    output: Path
    tokenizer: TokenizerConfig
    sources: dict[str, Source]
    length: RowLength = CONTEXT
    tokens: Count | None = None
    seed: Seed = 1234
    held_out: SmallShare = 0.0
    decontaminate: Decontamination | Literal["off"] = Decontamination()
    deduplicate: Deduplication | Literal["off"] = Deduplication()
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if not self.sources:
            yield FieldError("sources", "is empty")
        for name in self.sources:
            if problem := problem_of_name(name):
                yield FieldError("sources", problem)
