"""AdamW as every engine sets it up."""

from __future__ import annotations

from typing import Any

import torch

from mellama_train.errors import EngineError
from mellama_train.model.loading import whole_shape
from mellama_train.recipe.config import Optimizer


def parameter_groups(parameters: dict[str, torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, vectors (norms, biases) do not."""
    decayed = {name: len(whole_shape(parameter)) > 1 for name, parameter in parameters.items()}
    groups = (
        ([p for name, p in parameters.items() if decayed[name]], weight_decay),
        ([p for name, p in parameters.items() if not decayed[name]], 0.0),
    )
    return [{"params": members, "weight_decay": decay} for members, decay in groups if members]


def adamw(parameters: dict[str, torch.nn.Parameter], optimizer: Optimizer, *, fused: bool) -> torch.optim.AdamW:
    """AdamW over the parameters; the learning rate is set anew at each step."""
    return torch.optim.AdamW(
        parameter_groups(parameters, optimizer.weight_decay),
        lr=optimizer.learning_rate,
        betas=(optimizer.betas[0], optimizer.betas[1]),
        eps=optimizer.epsilon,
        fused=fused,
    )


def assert_master_weights(parameters: dict[str, torch.nn.Parameter]) -> None:
    """Raise `EngineError` unless all trained weights are float32.

    At a learning rate of 8e-6 most updates are smaller than half a bfloat16 step and would be rounded away.
    """
    wrong = [name for name, parameter in parameters.items() if parameter.dtype != torch.float32]
    if wrong or not parameters:
        what = f"{wrong[0]} is {parameters[wrong[0]].dtype}" if wrong else "there are none"
        raise EngineError(f"trained weights must be float32 where the optimizer updates them, but {what}")
