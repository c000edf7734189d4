"""What a run works with once it is open."""

from __future__ import annotations

from dataclasses import dataclass, field

from mibe.judge.judges import Judge
from mibe.models.base import Model
from mibe.models.ranks import Ranks
from mibe.results.cache import ResponseCache
from mibe.results.folder import RunFolder
from mibe.terminal.progress import Progress


@dataclass(frozen=True, slots=True)
class Session:
    """Model, run folder, the cache if it uses one, who hears of it, the judge of diagnoses.

    `ranks` are the processes that share the documents.
    """

    model: Model
    folder: RunFolder
    cache: ResponseCache | None
    progress: Progress
    judge: Judge | None = None
    ranks: Ranks = field(default_factory=Ranks)
