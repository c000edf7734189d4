"""Floating-point operations of training, and the peaks of devices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mellama_train.model.adapters import bare
from mellama_train.plan.gpus import PEAK_TFLOPS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations per token of one forward and backward pass: `fixed` + `per_attended` × attended length.

    6 per trained weight and 4 per frozen one (no gradient of its own), the input embedding left out since looking up
    is no product; 12 × layers × hidden size per attended token (PaLM, appendix B). The attended length of a token is
    that of its document, so packed short documents are not credited with the whole context.
    """

    fixed: float
    per_attended: float

    @classmethod
    def counted(cls, *, trained: float, frozen: float, layers: int, hidden: int) -> Cost:
        """Of so many trained and frozen weights in so many layers of a hidden size."""
        return cls(6.0 * trained + 4.0 * frozen, 12.0 * layers * hidden)

    def of(self, tokens: float, attended: float) -> float:
        """Operations for `tokens` tokens whose attended lengths sum to `attended`."""
        return self.fixed * tokens + self.per_attended * attended


def cost(model: Any) -> Cost:
    """The cost of this model. Sharded weights count whole."""
    from mellama_train.model.loading import whole_shape

    inner = bare(model)
    embedding, head = inner.get_input_embeddings(), inner.get_output_embeddings()
    tied = head is not None and head.weight is embedding.weight
    trained, frozen = 0, 0
    for parameter in model.parameters():
        if parameter is embedding.weight and not tied:
            continue
        size = math.prod(whole_shape(parameter))
        if parameter.requires_grad:
            trained += size
        else:
            frozen += size
    config = inner.config
    return Cost.counted(trained=trained, frozen=frozen, layers=config.num_hidden_layers, hidden=config.hidden_size)


def peak_flops(device: torch.device, stated_tflops: float | None) -> float | None:
    """Peak operations a second of one rank's device, or None where it is not known."""
    if stated_tflops is not None:
        return stated_tflops * 1e12
    if device.type != "cuda":
        return None
    import torch

    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for part, peak in PEAK_TFLOPS.items() if part in name), None)
