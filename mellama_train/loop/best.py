"""The best model of a run by one of its own figures, and when looking for a better one is given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mellama_train.errors import DataError
from mellama_train.recipe.config import BestPlan

FALLING = ("perplexity/", "held_out_loss/")
"""Figures of which less is better; of a probe's, more is."""


@dataclass(slots=True)
class Best:
    """The best value so far, and how many looks after it were no better. `value` is None before the first look."""

    plan: BestPlan
    value: float | None = None
    worse: int = 0

    def improves(self, figures: Mapping[str, float]) -> bool:
        """Take the figures of a look in; returns whether they are the best so far. Those without the figure count not.

        The first look is at the model as it came, which a better one has to beat. Raises `DataError` where the figure
        is none of those that the first look has.
        """
        name = self.plan.figure
        if name not in figures:
            if self.value is None:
                raise DataError(f"best.figure: {name} is not among {', '.join(figures) or 'any figures'} of this run")
            return False
        value = figures[name]
        first, better = self.value is None, self.value is None or self._beats(value, self.value)
        self.worse = 0 if better else self.worse + 1
        self.value = value if better else self.value
        return better and not first

    @property
    def given_up(self) -> bool:
        """Whether as many looks as the plan has patience for were no better."""
        return self.plan.patience is not None and self.worse >= self.plan.patience

    def state(self) -> dict[str, Any]:
        """JSON for a checkpoint: what is known beside the plan."""
        return {name: value for name, value in asdict(self).items() if name != "plan"}

    def _beats(self, value: float, other: float) -> bool:
        return value < other if self.plan.figure.startswith(FALLING) else value > other
