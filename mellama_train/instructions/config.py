"""What an instructions file (`instructions.yaml`) may say. `docs/instructions.md` explains each key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from mellama_train.corpus.config import Decontamination
from mellama_train.instructions.sources import SOURCES
from mellama_train.recipe.problems import FieldError, refuse
from mellama_train.recipe.ranges import Count, Seed, SmallShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a source, and how many samples to draw of it at most (without: its share of the paper's number)."""

    path: Path | tuple[Path, ...]
    cap: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionsConfig:
    """A whole instructions file.

    `sources` maps the name of a source to its files. `held_out` is the share of the samples that go to a file of their
    own. `deduplicate` "exact" removes copies (case and spacing aside), "near" also near copies where the row allows.
    """

    output: Path
    sources: dict[str, Path | tuple[Path, ...] | Files]
    seed: Seed = 1234
    held_out: SmallShare = 0.0
    deduplicate: Literal["near", "exact"] = "near"
    decontaminate: Decontamination | Literal["off"] = field(default_factory=Decontamination)

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if not self.sources:
            yield FieldError("sources", f"is empty; known: {', '.join(SOURCES)}")
        for name in self.sources:
            if name not in SOURCES:
                close = get_close_matches(name, SOURCES, n=2, cutoff=0.5)
                hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(SOURCES)}"
                yield FieldError("sources", f"unknown source {name!r}; {hint}")

    def paths(self, name: str) -> tuple[Path, ...]:
        """The paths given for a source."""
        given = self.sources[name]
        path = given.path if isinstance(given, Files) else given
        return (path,) if isinstance(path, Path) else path

    def cap(self, name: str) -> int | None:
        """The most samples of a source: the file's word, else the source's share or the row's size; None for all."""
        given, source = self.sources[name], SOURCES[name]
        if isinstance(given, Files) and given.cap is not None:
            return given.cap
        return source.cap if source.cap is not None else source.row.size
