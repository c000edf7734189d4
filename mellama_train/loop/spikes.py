"""When a step's loss is too bad to learn from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

from mellama_train.errors import DivergenceError
from mellama_train.recipe.config import SpikePolicy


class SpikeWatch:
    """Judges each step's loss by those of the last steps that were taken."""

    def __init__(self, policy: SpikePolicy, losses: Sequence[float] = (), skipped: int = 0) -> None:
        """`losses` and `skipped` are what `state` gave, on resume."""
        self._policy = policy
        self._losses = deque(losses, maxlen=policy.window)
        self._skipped = skipped

    def problem(self, loss: float) -> str | None:
        """What is wrong with this loss, or None."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if len(self._losses) < self._policy.window:
            return None
        usual = median(self._losses)
        if loss <= self._policy.factor * usual:
            return None
        return f"the loss {loss:.4g} is more than {self._policy.factor:g} × {usual:.4g}, the median of recent steps"

    def taken(self, loss: float) -> None:
        """A step was taken with this loss."""
        self._losses.append(loss)
        self._skipped = 0

    def left_out(self, step: int, problem: str) -> None:
        """A step was not taken. Raises `DivergenceError` where the policy does not let the run go on."""
        self._skipped += 1
        if self._policy.action == "stop":
            raise DivergenceError(
                f"step {step}: {problem}; the step was not applied. Go on with spikes.action: skip, "
                "or begin again with a lower optimizer.learning_rate"
            )
        if self._skipped >= self._policy.most_in_a_row:
            raise DivergenceError(
                f"step {step}: {problem}, and {self._skipped} steps in a row were left out; "
                "begin again with a lower optimizer.learning_rate"
            )

    def state(self) -> dict[str, object]:
        """JSON for the checkpoint."""
        return {"losses": list(self._losses), "skipped": self._skipped}
