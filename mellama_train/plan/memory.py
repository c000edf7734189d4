"""What a run will take, before it starts: memory of each rank, time and cost. Arithmetic over shapes, without torch.

Memory is that of mixed precision (ZeRO paper, section 3.1, and what this package's engines keep beyond it) and of
what a Llama block of transformers saves for its backward pass; attention scores are not in it, since SDPA and
FlashAttention never hold them. Time is operations (`plan.flops`) over the peak of the GPUs times the share
of it that is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from mellama_train.errors import EngineError
from mellama_train.plan.flops import PEAK_TFLOPS, Cost
from mellama_train.plan.shapes import Shape
from mellama_train.recipe.config import Recipe

GIB = 2**30

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}

USABLE = 0.92
"""Share of a GPU's memory that tensors can take; the rest is CUDA's, NCCL's, and holes between tensors."""

SAVED_HIDDEN, SAVED_FEED_FORWARD = 12, 4
"""Vectors of hidden and of feed-forward size that a block saves a token, counted in PyTorch at as many key heads."""

AUTOCAST_BYTES = 10
"""Bytes a token and unit of hidden size beside them under autocast, whose residual stream stays float32."""

FOUR_BIT_BYTES = 0.55
"""Bytes a weight in NF4, with its doubly quantised scales."""

CHUNK = 2048
"""Targets whose logits are held at a time (`mellama_train.model.loss.CHUNK`)."""

LIVE_PARAMETERS, BUCKET = 1_000_000_000, 200_000_000
"""What ZeRO-3 holds gathered at most, and the elements of a bucket of gradients (`mellama_train/deepspeed`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Memory (GiB), dense 16-bit peak (TFLOP/s; 0 where it is not known), and the utilisation to reckon with."""

    memory: float | None
    peak: float = 0.0
    utilisation: float | None = None
    source: str = ""


LLAMA2 = "Llama 2's own GPU-hours (its table 2: 42.6 % for 13B, 46.2 % for 70B)"
LLAMA3 = "Llama 3's report (38 to 43 % on H100s in bf16)"

GPUS: Mapping[str, Gpu] = {
    "a100-40g": Gpu(memory=40, peak=PEAK_TFLOPS["A100"], utilisation=0.45, source=LLAMA2),
    "a100-80g": Gpu(memory=80, peak=PEAK_TFLOPS["A100"], utilisation=0.45, source=LLAMA2),
    "h100-80g": Gpu(memory=80, peak=PEAK_TFLOPS["H100"], utilisation=0.40, source=LLAMA3),
    "h200": Gpu(memory=140, peak=PEAK_TFLOPS["H200"], utilisation=0.40, source=LLAMA3),
    "l40s": Gpu(memory=45, peak=PEAK_TFLOPS["L40S"]),
    "v100-32g": Gpu(memory=32, peak=PEAK_TFLOPS["V100"]),
    "cpu": Gpu(memory=None),
}


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
        return gpu.memory is None or self.device <= gpu.memory * GIB * USABLE


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
    trained = shape.adapters(lora.rank, lora.layers) if lora else shape.parameters
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
        gathered = min(LIVE_PARAMETERS, shape.parameters) * width if engine.zero == 3 else 0
        return gathered + 2 * min(BUCKET, trained) * width
    if engine.sharding == "fsdp":
        # The block in use and the next one, and the gradient of one in float32.
        return 2 * shape.block * width + 4 * shape.block
    return 0.0


def nearest_fit(recipe: Recipe, shape: Shape, ranks: int, gpu: Gpu) -> Recipe | None:
    """The recipe that fits and costs the least speed: checkpointing first, then more sharding, then offload."""
    return next((other for other in _stronger(recipe) if memory(other, shape, ranks).fits(gpu)), None)


def _stronger(recipe: Recipe) -> Iterator[Recipe]:
    engine, batch, model = recipe.engine, recipe.batch, recipe.model
    if engine.name == "deepspeed":
        engines = [replace(engine, zero=zero) for zero in range(engine.zero, 4)]  # type: ignore[arg-type]
        engines += [replace(other, offload_optimizer=True) for other in engines]
        engines.append(replace(engine, zero=3, offload_optimizer=True, offload_parameters=True))
    else:
        sharded = replace(engine, sharding="fsdp")
        engines = [engine, sharded, replace(sharded, offload_optimizer=True, offload_parameters=True)]
    if recipe.precision == "fp16" or (recipe.lora and recipe.lora.four_bit):
        engines = [other for other in engines if other.sharding == "ddp" and (not recipe.lora or other.zero < 3)]
    checkpointing = sorted({model.activation_checkpointing, True})
    for other, rows, again in product(engines, sorted({batch.micro_rows, 1}, reverse=True), checkpointing):
        yield replace(
            recipe,
            engine=other,
            batch=replace(batch, micro_rows=rows),
            model=replace(model, activation_checkpointing=again),
        )


def differences(before: Recipe, after: Recipe) -> str:
    """What to change in a recipe to get the other, as its keys are written."""
    found, wanted = _strategy(before), _strategy(after)
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in wanted.items() if value != found[key])


def _strategy(recipe: Recipe) -> dict[str, object]:
    """The keys of a recipe that decide on memory and not on what is learned."""
    engine = recipe.engine
    return {
        "model.activation_checkpointing": recipe.model.activation_checkpointing,
        "batch.micro_rows": recipe.batch.micro_rows,
        "engine.sharding": engine.sharding,
        "engine.zero": engine.zero,
        "engine.offload_optimizer": engine.offload_optimizer,
        "engine.offload_parameters": engine.offload_parameters,
    }


def refuse_hopeless(recipe: Recipe, shape: Shape, ranks: int, room: float) -> None:
    """Raise `EngineError` where weights, gradients and optimizer alone are more than the `room` bytes of a GPU."""
    needed = state(recipe, shape, ranks).device
    if needed <= room:
        return
    near = nearest_fit(recipe, shape, ranks, Gpu(memory=room / GIB))
    advice = f"this would fit: {differences(recipe, near)}" if near else "take more GPUs, or LoRA"
    raise EngineError(
        f"the run does not fit: each rank would keep {needed / GIB:.0f} GiB beside activations, and a GPU has "
        f"{room / GIB:.0f}; {advice} (mellama-train plan shows it)"
    )


def cost(recipe: Recipe, shape: Shape) -> Cost:
    """Operations a token: 6 per trained weight, 4 per frozen one, and attention, as `plan.flops` counts."""
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    used, lora = shape.parameters - looked_up, recipe.lora
    fixed = 4.0 * used + 6.0 * shape.adapters(lora.rank, lora.layers) if lora else 6.0 * used
    return Cost(fixed, 12.0 * shape.layers * shape.hidden)


def tokens_a_second(recipe: Recipe, shape: Shape, gpus: int, gpu: Gpu, utilisation: float | None) -> float | None:
    """Tokens a second of all GPUs over whole rows of the context; None where utilisation or peak is not known."""
    reached = utilisation if utilisation is not None else gpu.utilisation
    if reached is None or not gpu.peak:
        return None
    # float32 runs on other units, whose peak is not in the table.
    if recipe.precision == "fp32":
        return None
    return gpus * gpu.peak * 1e12 * reached / cost(recipe, shape).of(1, recipe.context)
