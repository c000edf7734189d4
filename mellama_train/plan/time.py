"""How long a step takes: operations, recomputation, what ranks send each other, offload.

All is arithmetic over shapes and data-sheet figures. Operations run at the GPU's `utilisation`, a share of its peak
that counts recomputed operations as well, since the GPU does them. What ranks exchange during a micro-step runs beside
it and costs time only where it takes longer; what is exchanged once a step waits for its end, and so does offload.
"""

from __future__ import annotations

from dataclasses import dataclass

from mellama_train.model.sizes import BYTES
from mellama_train.plan.flops import Cost
from mellama_train.plan.gpus import Gpu
from mellama_train.plan.shapes import Shape
from mellama_train.recipe.config import Recipe

NODE = 8
"""GPUs of a machine, where nothing else is stated."""

REACHED = 0.8
"""Share of a link's speed that collectives of many megabytes reach."""

GRADIENT_BYTES = 4
"""Every engine sums gradients in float32."""

HOST_LINK, HOST_MEMORY = 25e9, 200e9
"""Bytes a second between a GPU and its host (PCIe 4.0 × 16, as reached), and of a machine's memory."""

ADAM_BYTES = 30
"""Bytes a weight that AdamW on the CPU moves: it reads master, moments and gradient, and writes the first three and the
weight in 16 bits."""

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The GPUs, how many a machine has, and GB a second of a machine to the others where its kind has another network.

    `share`, where it is stated, is the share of the peak that the model's own operations reach, all else included: it
    takes the place of what is reckoned here.
    """

    gpus: int
    gpu: Gpu
    a_node: int = NODE
    interconnect: float | None = None
    share: float | None = None

    @property
    def link(self) -> float:
        """Bytes a second that a rank of a collective over all GPUs sends and gets."""
        inside, between = self.gpu.link, self.interconnect or self.gpu.network
        return REACHED * GB * (inside if self.gpus <= self.a_node else min(inside, between))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of one optimizer step. `hidden` is communication beside computation, which costs nothing."""

    compute: float
    recompute: float = 0.0
    communication: float = 0.0
    hidden: float = 0.0
    offload: float = 0.0

    @property
    def total(self) -> float:
        """Seconds from one step to the next."""
        return self.compute + self.recompute + self.communication + self.offload


def cost(recipe: Recipe, shape: Shape) -> Cost:
    """Operations a token, as those of a loaded model are counted; looking up input embeddings is none."""
    used = shape.parameters - (0 if shape.tied else shape.vocabulary * shape.hidden)
    lora = recipe.lora
    return Cost.counted(
        trained=shape.adapters(lora.rank, lora.layers) if lora else used,
        frozen=used if lora else 0,
        layers=shape.layers,
        hidden=shape.hidden,
    )


def recomputed(recipe: Recipe, shape: Shape) -> float:
    """Operations a token that activation checkpointing does a second time: those of the forward pass.

    2 a weight, and a third of what attention takes: where all weights are trained, 4/3 of the operations in all.
    """
    return forward(shape, recipe.context) if recipe.model.activation_checkpointing else 0.0


def forward(shape: Shape, length: float) -> float:
    """Operations a token of one forward pass over texts of so many tokens."""
    used = shape.parameters - (0 if shape.tied else shape.vocabulary * shape.hidden)
    return 2.0 * used + 4.0 * shape.layers * shape.hidden * length


def step_time(recipe: Recipe, shape: Shape, machines: Machines) -> StepTime | None:
    """The time of a step over whole rows of the context; None where utilisation or peak is not known."""
    gpu, gpus = machines.gpu, machines.gpus
    reached = machines.share if machines.share is not None else gpu.utilisation
    # float32 runs on other units, whose peak is not in the table.
    if reached is None or not gpu.peak or recipe.precision == "fp32":
        return None
    a_token = recipe.batch.rows * recipe.context / (gpus * gpu.peak * 1e12 * reached)
    compute = cost(recipe, shape).of(1, recipe.context) * a_token
    if machines.share is not None:
        return StepTime(compute=compute)
    recompute = recomputed(recipe, shape) * a_token
    micro_steps = recipe.batch.rows // (recipe.batch.micro_rows * gpus)
    each, once = communicated(recipe, shape, gpus)
    beside = micro_steps * each / machines.link
    longer = max(0.0, beside - compute - recompute)
    return StepTime(
        compute=compute,
        recompute=recompute,
        communication=longer + once / machines.link,
        hidden=beside - longer,
        offload=_offload(recipe, shape, machines, micro_steps),
    )


def communicated(recipe: Recipe, shape: Shape, gpus: int) -> tuple[float, float]:
    """Bytes that a rank sends in (each micro-step, the step beside these), by ring algorithms.

    All-gather and reduce-scatter of x bytes send x × (ranks - 1) / ranks, an all-reduce twice that (ZeRO paper,
    section 7). Weights are gathered for the forward and for the backward pass where they are sharded.
    """
    if gpus == 1:
        return 0.0, 0.0
    engine, share = recipe.engine, (gpus - 1) / gpus
    trained = shape.trained(recipe.lora)
    used = shape.parameters if recipe.lora is None else shape.parameters + trained
    gathered, gradients = BYTES[recipe.precision] * used * share, GRADIENT_BYTES * trained * share
    weights = BYTES[recipe.precision] * trained * share
    if engine.name == "plain":
        return (2 * gathered + gradients, 0.0) if engine.sharding == "fsdp" else (0.0, 2 * gradients)
    if engine.zero == 3:
        return 2 * gathered + gradients, 0.0
    return (gradients, weights) if engine.zero == 2 else (0.0, gradients + weights)


def _offload(recipe: Recipe, shape: Shape, machines: Machines, micro_steps: int) -> float:
    """Seconds of a step for AdamW on the CPUs, and for moving gradients and weights over the host's link."""
    engine, seconds = recipe.engine, 0.0
    trained = shape.trained(recipe.lora)
    ranks = machines.gpus
    if engine.offload_optimizer:
        moved = (GRADIENT_BYTES + BYTES[recipe.precision]) * trained / ranks / HOST_LINK
        seconds += moved + ADAM_BYTES * trained / ranks * min(ranks, machines.a_node) / HOST_MEMORY
    if engine.offload_parameters:
        seconds += 2 * micro_steps * BYTES[recipe.precision] * shape.parameters / ranks / HOST_LINK
    return seconds
