"""Memory of the model family as it was published elsewhere, with what is doubtful about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMemory:
    """Memory that a model is said to need for `batch` prompts at once, in the `unit` as printed."""

    model: str
    value: float
    unit: str
    batch: int
    source: str
    doubts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The figure as it stands beside others: in quotation marks, for what the unit means is not said."""
        return f'{self.model}: {self.value} "{self.unit}" at batch {self.batch} ({self.source})'


@cache
def published_memory() -> tuple[PublishedMemory, ...]:
    """Every such figure."""
    entries = json.loads(files(__package__).joinpath("memory.json").read_text(encoding="utf-8"))
    return tuple(PublishedMemory(**{**entry, "doubts": tuple(entry["doubts"])}) for entry in entries)
