"""What a corpus file (`corpus.yaml`) may say. `docs/corpus.md` explains each key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mellama_train.corpus import cleaning
from mellama_train.corpus.sources import FORMATS, Format
from mellama_train.corpus.streams import COMPRESSIONS
from mellama_train.errors import CorpusError
from mellama_train.recipe.defaults import CONTEXT
from mellama_train.recipe.yaml_schema import FieldError
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
        try:
            self.steps()
        except ValueError as error:
            raise FieldError("clean", str(error)) from None
        if FORMATS[self.format].access.agreement and self.access not in (None, AccessLevel.CREDENTIALED):
            raise FieldError("access", f"{self.format} is credentialed data; its access cannot be {self.access}")
        if self.agreement and self.access_level is not AccessLevel.CREDENTIALED:
            raise FieldError("agreement", "only credentialed data has an agreement; set access: credentialed")

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
        patterns = (self.path,) if isinstance(self.path, Path) else self.path
        return [file for pattern in patterns for file in self._files(pattern)]

    def _files(self, path: Path) -> list[Path]:
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

    weight: float
    inputs: tuple[Input, ...]
    max_epochs: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise FieldError("weight", "must be above 0; leave the source out instead")
        if self.max_epochs <= 0:
            raise FieldError("max_epochs", "must be above 0")
        if not self.inputs:
            raise FieldError("inputs", "is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """The folder of a model (with `tokenizer.json`), and the token that ends a document when it is not the model's."""

    path: Path
    eos: str | None = None
    bos: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontamination:
    """Remove documents that hold a passage of a prepared test set of mibe (`mellama_train.corpus.decontaminate`)."""

    ngram: int = 13
    coverage: float = 0.5
    tasks: tuple[str, ...] | None = None
    common: int = 10

    def __post_init__(self) -> None:
        if self.ngram < 5:
            raise FieldError("ngram", "below 5 words, chance matches are everywhere")
        if not 0 < self.coverage <= 1:
            raise FieldError("coverage", "is a share, above 0 and at most 1")
        if self.common < 1:
            raise FieldError("common", "is a number of documents, at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplication:
    """Which copies are removed: `exact`, or also `near` ones (MinHash of 5-word shingles, 14 bands of 8 hashes)."""

    kind: Literal["near", "exact"] = "near"
    bands: int = 14
    hashes: int = 8
    shingle: int = 5

    def __post_init__(self) -> None:
        for name in ("bands", "hashes", "shingle"):
            if getattr(self, name) < 1:
                raise FieldError(name, "must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where the work is done: by datatrove's local, Slurm or Ray executor. `arguments` go to its constructor."""

    executor: Literal["local", "slurm", "ray"] = "local"
    workers: int = 1
    tasks: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise FieldError("workers", "must be at least 1")
        if self.tasks is not None and self.tasks < 1:
            raise FieldError("tasks", "must be at least 1")
        if self.executor == "slurm" and (missing := {"time", "partition"} - self.arguments.keys()):
            raise FieldError("arguments", f"the slurm executor needs {' and '.join(sorted(missing))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A whole corpus file."""

    output: Path
    tokenizer: TokenizerConfig
    sources: dict[str, Source]
    length: int = CONTEXT
    tokens: int | None = None
    seed: int = 1234
    held_out: float = 0.0
    decontaminate: Decontamination | Literal["off"] = Decontamination()
    deduplicate: Deduplication | Literal["off"] = Deduplication()
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        if not self.sources:
            raise FieldError("sources", "is empty")
        if bad := [name for name in self.sources if not name.replace("-", "_").isidentifier()]:
            raise FieldError("sources", f"{bad[0]!r} cannot name a folder; use letters, digits, '-' and '_'")
        if self.length < 8:
            raise FieldError("length", "is in tokens, at least 8")
        if not 0 <= self.held_out < 0.5:
            raise FieldError("held_out", "is a share of the documents, below 0.5")
