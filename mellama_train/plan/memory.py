"""Memory of each rank, before a run starts. Arithmetic over shapes, without torch.

It is that of mixed precision (ZeRO paper, section 3.1, and what this package's engines keep beyond it) and of what a
Llama block of transformers saves for its backward pass; attention scores are not in it, since SDPA and FlashAttention
never hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mellama_train.engines import zero
from mellama_train.model.sizes import BYTES, CHUNK
from mellama_train.plan.gpus import Gpu
from mellama_train.plan.shapes import Shape
from mellama_train.recipe.config import Recipe

GIB = 2**30

USABLE = 0.92
"""Share of a GPU's memory that tensors can take; the rest is CUDA's, NCCL's, and holes between tensors."""

SAVED_HIDDEN, SAVED_FEED_FORWARD = 12, 4
"""Vectors of hidden and of feed-forward size that a block saves a token, counted in PyTorch at as many key heads."""

AUTOCAST_BYTES = 10
"""Bytes a token and unit of hidden size beside them under autocast, whose residual stream stays float32."""

FOUR_BIT_BYTES = 0.55
"""Bytes a weight in NF4, with its doubly quantised scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Bytes of one rank that stay from step to step; `host` of them lie in the CPU's memory."""

    weights: float
    gradients: float
    optimizer: float
    host: float = 0.0

    @property
    def device(self) -> float:
        """Bytes on the GPU."""
        return self.weights + self.gradients + self.optimizer - self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one rank at its fullest."""

    state: State
    activations: float
    logits: float
    buffers: float

    @property
    def device(self) -> float:
        """Bytes on the GPU."""
        return self.state.device + self.activations + self.logits + self.buffers

    def fits(self, gpu: Gpu) -> bool:
        """Whether the GPU has room for it."""
        return has_room(gpu, self.device)


def has_room(gpu: Gpu, size: float) -> bool:
    """Whether a GPU has room for so many bytes, with what is not counted on left free."""
    return gpu.memory is None or size <= gpu.memory * GIB * USABLE


def zero_state(parameters: float, *, zero: int, ranks: int, gradient_bytes: float) -> State:
    """The state of `parameters` trained ones in 16 bits under ZeRO `zero` (0: none).

    Two bytes of weights; gradients; 12 of optimizer (float32 master and AdamW's two moments). Stage 1 divides the
    optimizer's among the ranks, 2 the gradients too, 3 the weights too.
    """
    return State(
        weights=2 * parameters / (ranks if zero >= 3 else 1),
        gradients=gradient_bytes * parameters / (ranks if zero >= 2 else 1),
        optimizer=12 * parameters / (ranks if zero >= 1 else 1),
    )


def state(recipe: Recipe, shape: Shape, ranks: int) -> State:
    """What the recipe's engine keeps on each rank. Gradients are summed in float32 by every engine."""
    lora, engine, width = recipe.lora, recipe.engine, BYTES[recipe.precision]
    trained = shape.trained(lora)
    frozen_bytes = 0.0
    if lora:
        frozen_bytes = shape.parameters * (FOUR_BIT_BYTES if lora.four_bit else width)
    if engine.name == "deepspeed":
        found = zero_state(trained, zero=engine.zero, ranks=ranks, gradient_bytes=4)
        share = ranks if engine.zero == 3 else 1
        weights = trained * width / share + frozen_bytes / share
        host = found.optimizer * engine.offload_optimizer + weights * engine.offload_parameters
        return replace(found, weights=weights, host=host)
    share = ranks if engine.sharding == "fsdp" else 1
    # Without sharding, autocast holds a copy of the weights in the precision layers compute in.
    copies = trained * width if _autocasts(recipe) else 0
    found = State(
        weights=(4 * trained + frozen_bytes) / share + copies,
        gradients=4 * trained / share,
        optimizer=8 * trained / share,
    )
    return replace(found, host=found.device if engine.offload_parameters else 0.0)


def memory(recipe: Recipe, shape: Shape, ranks: int) -> Memory:
    """The memory of one rank with the recipe's micro-batch and context."""
    width, tokens = BYTES[recipe.precision], recipe.batch.micro_rows * recipe.context
    block = tokens * saved_bytes(shape, width, autocast=_autocasts(recipe))
    kept = width * shape.hidden * tokens
    checkpointing = recipe.model.activation_checkpointing
    at_once = tokens if recipe.model.loss == "full" else min(tokens, CHUNK)
    return Memory(
        state=state(recipe, shape, ranks),
        activations=kept * shape.layers + block if checkpointing else block * shape.layers,
        # The logits and their gradient, in float32.
        logits=8 * at_once * shape.vocabulary,
        buffers=_buffers(recipe, shape, ranks),
    )


def saved_bytes(shape: Shape, width: int, *, autocast: bool) -> float:
    """Bytes that one block saves a token for its backward pass, at `width` bytes a number."""
    numbers = SAVED_HIDDEN * shape.hidden + SAVED_FEED_FORWARD * shape.feed_forward
    return width * numbers + (AUTOCAST_BYTES * shape.hidden if autocast else 0)


def _autocasts(recipe: Recipe) -> bool:
    """Whether layers get float32 weights and compute in 16 bits, as in the plain engine without sharding."""
    return recipe.engine.name == "plain" and recipe.engine.sharding == "ddp" and recipe.precision != "fp32"


def _buffers(recipe: Recipe, shape: Shape, ranks: int) -> float:
    """Weights that are gathered for a while, and gradients on their way."""
    if ranks == 1:
        return 0.0
    width, engine = BYTES[recipe.precision], recipe.engine
    trained = 0 if recipe.lora else shape.parameters
    if engine.name == "deepspeed":
        settings = zero.sharding(recipe)
        live: int = min(settings["stage3_max_live_parameters"], shape.parameters) if engine.zero == 3 else 0
        bucket: int = min(settings["reduce_bucket_size"], trained)
        return (live + 2 * bucket) * width
    if engine.sharding == "fsdp":
        # The block in use and the next one, and the gradient of one in float32.
        return 2 * shape.block * width + 4 * shape.block
    return 0.0
