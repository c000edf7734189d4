"""How fast the loop is, and how much memory it takes."""

from __future__ import annotations

import time

import torch

from mellama_train.engines.engine import StepOutcome
from mellama_train.engines.ranks import Ranks
from mellama_train.plan.flops import Cost


class Meter:
    """Figures of the steps since they were read last."""

    def __init__(self, cost: Cost, peak: float | None, ranks: Ranks) -> None:
        """`peak` is one rank's peak in operations a second, where it is known."""
        self._cost, self._peak, self._ranks = cost, peak, ranks
        self._steps, self._seconds, self._tokens, self._attended = 0, 0.0, 0.0, 0.0
        self._figures: dict[str, float] = {}
        self._since = time.perf_counter()

    def add(self, outcome: StepOutcome, rate: float, tokens: float, attended: float) -> None:
        """A step was made, over so many tokens on all ranks."""
        self._stop_clock()
        self._steps += 1
        self._tokens += tokens
        self._attended += attended
        self._figures = {"loss": outcome.loss, "learning_rate": rate, "gradient_norm": outcome.gradient_norm}

    def pause(self) -> None:
        """Leave out the time since the last step: something else was done in it."""
        self._since = time.perf_counter()

    def read(self, steps_left: int) -> dict[str, float]:
        """Loss, rate and norm of the last step; speed over all steps since the last reading; then begin anew."""
        seconds = max(self._seconds, 1e-9)
        figures = self._figures | {
            "tokens_per_second": self._tokens / seconds,
            "seconds": self._seconds,
            "seconds_left": steps_left * seconds / max(1, self._steps),
            "memory_gib": peak_memory(self._ranks.device) / 2**30,
        }
        if self._peak is not None:
            done = self._cost.of(self._tokens, self._attended)
            figures["mfu"] = done / seconds / (self._peak * self._ranks.size)
        self._steps, self._seconds, self._tokens, self._attended = 0, 0.0, 0.0, 0.0
        return figures

    def _stop_clock(self) -> None:
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now


def peak_memory(device: torch.device) -> int:
    """Most bytes in use so far: of this GPU, or of this process where there is none."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
