"""What a run of `grpo` will take: the memory of actor, reference and generation, and generation's share of the time.

The actor is planned as any training is, on rows of a prompt with its answer. What comes to it:

reference   all weights once more where `beta` is above 0 and all weights are trained; adapters are switched off instead
vLLM        the share `vllm_memory` of each GPU: the weights divided by `vllm_ranks`, and behind them the cache of keys
            and values, which says how many answers are drawn at once
transformers  no second copy, but under ZeRO-3 all weights gathered on each GPU, and the cache of all its answers

    generation = prefill + decoding
    prefill    = operations of a forward pass over the prompts / (peak × utilisation)
    decoding   = waves × tokens of an answer × (bytes of the weights + bytes of the cache read) / (bandwidth × reached)
    waves      = ceil(answers of an engine / answers at once)
    training   = forward and backward pass, and a forward pass each for the reference and for the old probabilities
    share      = generation / (generation + training)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import mibe
from mellama_train.errors import RecipeError
from mellama_train.model.sizes import BYTES
from mellama_train.plan.gpus import GPUS, Gpu
from mellama_train.plan.lines import accelerated, host_lines, hours_lines, parts_of, planned, room, size_lines
from mellama_train.plan.memory import GIB, Memory, has_room, memory
from mellama_train.plan.shapes import Shape
from mellama_train.plan.stopping import checkpoint_bytes
from mellama_train.plan.text import Plan
from mellama_train.plan.time import GB, Machines, forward, step_time
from mellama_train.plan.work import Asked, Question
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.rl.tasks import answer_tokens
from mibe.errors import MibeError

REACHED = {"vllm": 0.6, "transformers": 0.2}
"""Share of a GPU's memory bandwidth that decoding reaches: assumptions. transformers waits for each layer's launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How the answers of a step are drawn: by which engine, tokens of a prompt and of an answer, and how many at once.

    `engines` copies of the model draw, each on `ranks` GPUs.
    """

    engine: str
    engines: int
    ranks: int
    prompt: int
    answer: int

    @property
    def length(self) -> int:
        """Tokens of a prompt with its answer."""
        return self.prompt + self.answer

    def of_an_engine(self, recipe: GrpoRecipe) -> int:
        """Answers of a generation that each copy of the model draws."""
        return -(-recipe.batch.rows // self.engines)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutMemory:
    """Bytes of one rank: what the training takes, the model of the start, and what generation takes.

    `weights` and `cache` are generation's: under vLLM parts of its share of the GPU, else there while answers are
    drawn, when no activations are.
    """

    actor: Memory
    reference: float
    weights: float
    cache: float
    share: float

    @property
    def device(self) -> float:
        """Bytes on the GPU at its fullest."""
        training = self.actor.activations + self.actor.logits + self.actor.buffers
        generating = 0.0 if self.share else self.weights + self.cache
        return self.actor.state.device + self.reference + self.share + max(training, generating)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTime:
    """Seconds of one optimizer step."""

    training: float
    reference: float
    old: float
    prefill: float
    decoding: float

    @property
    def generation(self) -> float:
        """Seconds in which answers are drawn."""
        return self.prefill + self.decoding

    @property
    def total(self) -> float:
        """Seconds from one step to the next; the reward's are not counted."""
        return self.training + self.reference + self.old + self.generation

    @property
    def share(self) -> float:
        """Generation's share of the time."""
        return self.generation / self.total


def answers(recipe: GrpoRecipe, asked: Asked) -> Answers:
    """How the recipe's answers are drawn on these machines. "auto" is planned as vLLM where there are GPUs.

    Raises `RecipeError` where the lengths do not go together, or the GPUs cannot be divided.
    """
    rollouts, on_gpus = recipe.rollouts, GPUS[asked.gpu].memory is not None
    engine = ("vllm" if on_gpus else "transformers") if rollouts.engine == "auto" else rollouts.engine
    ranks = rollouts.vllm_ranks if engine == "vllm" else 1
    if asked.gpus % ranks:
        raise RecipeError(f"rollouts.vllm_ranks {ranks} do not divide the {asked.gpus} GPUs")
    answer, length = answer_tokens(recipe), int(asked.sample_tokens or recipe.context)
    if length <= answer:
        raise RecipeError(f"{length} tokens of a prompt with its answer are no more than the {answer} of an answer")
    return Answers(engine=engine, engines=asked.gpus // ranks, ranks=ranks, prompt=length - answer, answer=answer)


def cache_bytes(recipe: GrpoRecipe, shape: Shape) -> int:
    """Bytes of keys and values that are kept for one token."""
    return 2 * shape.layers * shape.kv * BYTES[recipe.precision]


def rollout_memory(recipe: GrpoRecipe, shape: Shape, gpus: int, gpu: Gpu, drawn: Answers) -> RolloutMemory:
    """The memory of one rank."""
    width, by_deepspeed = BYTES[recipe.precision], recipe.engine.name == "deepspeed"
    sharded = gpus if by_deepspeed and recipe.engine.zero == 3 else 1
    keeps = recipe.beta > 0 and recipe.lora is None
    reference = keeps * shape.parameters * (width if by_deepspeed else BYTES["fp32"]) / sharded
    actor = memory(recipe, shape, gpus)
    if drawn.engine == "vllm":
        share = recipe.rollouts.vllm_memory * (gpu.memory or 0.0) * GIB
        weights = width * shape.parameters / drawn.ranks
        return RolloutMemory(actor=actor, reference=reference, weights=weights, cache=share - weights, share=share)
    weights = width * shape.parameters if sharded > 1 else 0.0
    cache = drawn.of_an_engine(recipe) * recipe.context * cache_bytes(recipe, shape)
    return RolloutMemory(actor=actor, reference=reference, weights=weights, cache=cache, share=0.0)


def at_once(recipe: GrpoRecipe, shape: Shape, drawn: Answers, found: RolloutMemory) -> int:
    """Answers that one copy of the model draws at the same time; 0 where vLLM's share of the GPUs holds none."""
    if drawn.engine != "vllm":
        return drawn.of_an_engine(recipe)
    room = found.cache * drawn.ranks / (drawn.length * cache_bytes(recipe, shape))
    return max(0, min(drawn.of_an_engine(recipe), math.floor(room)))


def rollout_time(
    recipe: GrpoRecipe, shape: Shape, machines: Machines, drawn: Answers, together: int
) -> RolloutTime | None:
    """The time of a step, `together` answers of an engine at once; None where the GPU's figures are not known."""
    gpu = machines.gpu
    utilisation = machines.share if machines.share is not None else gpu.utilisation
    # The recipe's own limits on tokens say nothing of how long texts really are.
    rows = replace(recipe, context=drawn.length, rollouts=replace(recipe.rollouts, tokens=None))
    step = step_time(rows, shape, machines)
    if step is None or utilisation is None or not gpu.bandwidth or not together:
        return None
    speed = machines.gpus * gpu.peak * 1e12 * utilisation
    a_pass = recipe.batch.rows * drawn.length * forward(shape, drawn.length) / speed
    again = drawn.engine == "vllm" or recipe.iterations > 1
    prompts = recipe.batch.rows / (recipe.rollouts.group if drawn.engine == "vllm" else 1)
    waves = math.ceil(drawn.of_an_engine(recipe) / together)
    read = BYTES[recipe.precision] * float(shape.parameters)
    read += together * (drawn.prompt + drawn.answer / 2) * cache_bytes(recipe, shape)
    reached = gpu.bandwidth * GB * drawn.ranks * REACHED[drawn.engine]
    # Answers are drawn once for all the steps that are made of them.
    return RolloutTime(
        training=step.total,
        reference=a_pass / recipe.iterations if recipe.beta > 0 else 0.0,
        old=a_pass / recipe.iterations if again else 0.0,
        prefill=prompts * drawn.prompt * forward(shape, drawn.prompt) / speed / recipe.iterations,
        decoding=waves * drawn.answer * read / reached / recipe.iterations,
    )


def forecast(recipe: GrpoRecipe, question: Question) -> Plan:
    """The plan of a recipe of `grpo`. Raises `RecipeError`, `ModelLoadError`, and mibe's errors for an unknown task."""
    asked = question.asked
    shape, gpu = planned(recipe, question)
    drawn = answers(recipe, asked)
    found = rollout_memory(recipe, shape, asked.gpus, gpu, drawn)
    together = at_once(recipe, shape, drawn, found)
    fits = together > 0 and has_room(gpu, found.device)
    time = rollout_time(recipe, shape, asked.cluster, drawn, together)
    steps = _steps(recipe, asked)
    seconds = _seconds(recipe, asked, drawn, time)
    hours = steps * seconds / 3600 if steps and seconds else None
    lines = [
        *_memory_lines(recipe, shape, asked, gpu, drawn, found, together, fits),
        *_time_lines(recipe, asked, drawn, time, steps, seconds),
        f"a checkpoint: {checkpoint_bytes(recipe, shape) / 1e9:,.1f} GB",
        accelerated(question),
    ]
    return Plan("\n".join(lines), fits, hours)


def _memory_lines(
    recipe: GrpoRecipe,
    shape: Shape,
    asked: Asked,
    gpu: Gpu,
    drawn: Answers,
    found: RolloutMemory,
    together: int,
    fits: bool,
) -> Iterator[str]:
    actor = found.actor
    parts = {
        "actor: weights, gradients, optimizer": actor.state.device,
        "actor: activations, logits, buffers": actor.device - actor.state.device,
        "reference (beta above 0, all weights trained)": found.reference,
        f"vLLM ({recipe.rollouts.vllm_memory:.0%} of the GPU)": found.share,
        "  of it the weights": found.weights if found.share else 0.0,
        "  of it keys and values": found.cache if found.share else 0.0,
        "generation: weights gathered": 0.0 if found.share else found.weights,
        "generation: keys and values": 0.0 if found.share else found.cache,
        "at its fullest": found.device,
    }
    yield from size_lines(shape, asked, parts)
    yield from host_lines(asked, actor.state.host)
    yield (
        f"answers: {recipe.batch.rows:,} a step, {recipe.rollouts.group} of each prompt, by {drawn.engines} engines of "
        f"{drawn.engine}; {together:,} at once on each, of {drawn.of_an_engine(recipe):,}"
    )
    if fits and gpu.memory is not None:
        yield f"fits: {room(asked, gpu)}"
    elif not together:
        least = (found.weights + drawn.length * cache_bytes(recipe, shape) / drawn.ranks) / ((gpu.memory or 1) * GIB)
        yield (
            "DOES NOT FIT: vLLM's share of the GPUs holds the weights and no answer; take rollouts.vllm_memory of "
            f"{math.ceil(100 * least) / 100:.2f} at least, or more rollouts.vllm_ranks"
        )
    elif not fits:
        yield (
            f"DOES NOT FIT: {room(asked, gpu)}; take lora, engine: {{name: deepspeed, zero: 3}}, "
            "model.activation_checkpointing, a smaller rollouts.vllm_memory with more vllm_ranks, or more GPUs"
        )


def _time_lines(
    recipe: GrpoRecipe, asked: Asked, drawn: Answers, time: RolloutTime | None, steps: int | None, seconds: float | None
) -> Iterator[str]:
    lengths = f"prompts of {drawn.prompt:,} and answers of {drawn.answer:,} tokens"
    if not asked.sample_tokens:
        lengths += ", the longest that there can be; --sample-tokens states both together"
    yield f"lengths: {lengths}"
    if asked.throughput:
        stated = f"{asked.throughput:,.0f} tokens a second as stated"
        yield f"seconds a step: {seconds:,.1f}, at {stated}, generation included"
    elif time is None:
        yield f"time: not known for {asked.gpu} and this precision; state --throughput (tokens a second of all)"
    else:
        parts = {
            "training": time.training,
            "reference": time.reference,
            "old probabilities": time.old,
            "prefill": time.prefill,
            "decoding": time.decoding,
        }
        yield f"seconds a step: {time.total:,.2f} ({parts_of(parts)})"
        yield (
            f"generation: {time.share:.0%} of the time (decoding at {REACHED[drawn.engine]:.0%} of the memory's "
            f"{GPUS[asked.gpu].bandwidth:,.0f} GB/s, an assumption; the time of the reward is not counted)"
        )
    if steps is None:
        yield "steps: not known, since the data is not here; state --samples, the documents of all train splits"
        return
    yield f"steps: {steps:,} of {recipe.batch.rows // recipe.rollouts.group:,} prompts"
    if seconds:
        yield from hours_lines(asked, steps * seconds / 3600)


def _seconds(recipe: GrpoRecipe, asked: Asked, drawn: Answers, time: RolloutTime | None) -> float | None:
    if asked.throughput:
        return recipe.batch.rows * drawn.length / asked.throughput
    return time.total if time else None


def _steps(recipe: GrpoRecipe, asked: Asked) -> int | None:
    """Optimizer steps, where the recipe says them, or the number of documents is known."""
    if recipe.steps is not None:
        return recipe.steps
    documents = asked.samples or _documents(recipe)
    if documents is None:
        return None
    return documents * recipe.epochs // (recipe.batch.rows // recipe.rollouts.group) * recipe.iterations


def _documents(recipe: GrpoRecipe) -> int | None:
    """Prompts of a pass, before any is left out; None where data is not here."""
    from mellama_train.rl.tasks import shares

    try:
        sizes = {name: sum(1 for _ in mibe.examples(mibe.load_task(name), "train")) for name in recipe.data.tasks}
    except MibeError:
        return None
    return sum(shares(sizes, recipe.data.weights).values())
