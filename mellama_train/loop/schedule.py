"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from mellama_train.recipe.config import Optimizer


def learning_rate(step: int, steps: int, optimizer: Optimizer) -> float:
    """The rate of step `step` (from 0) of `steps`: up in a line over the warm-up, then down to `final_ratio`."""
    warmup = math.ceil(optimizer.warmup_ratio * steps)
    if step < warmup:
        return optimizer.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    stable = math.floor((1 - optimizer.decay) * steps)
    decayed = max(0, step - stable) / max(1, steps - stable)
    falling = {
        "cosine": (1 + math.cos(math.pi * share)) / 2,
        "linear": 1 - share,
        "constant": 1.0,
        "wsd": 1 - math.sqrt(decayed),
    }
    final = optimizer.final_ratio
    return optimizer.learning_rate * (final + (1 - final) * falling[optimizer.schedule])
