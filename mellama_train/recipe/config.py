"""What every recipe may say about a run. The defaults are the hyper-parameters of the paper (Training Details)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

from mellama_train.recipe.defaults import CONTEXT
from mellama_train.recipe.problems import FieldError, refuse
from mellama_train.recipe.ranges import (
    Count,
    Natural,
    NotNegative,
    PartialShare,
    Positive,
    Range,
    RowLength,
    RowsOfStep,
    Seed,
    Share,
)

Precision = Literal["bf16", "fp16", "fp32"]
Attention = Literal["auto", "flash_attention_3", "flash_attention_2", "varlen", "flex_attention", "sdpa", "eager"]
Form = Literal["auto", "chat", "plain"]
TooLong = Literal["error", "skip"]

WSD_DECAY = 0.1
"""Share of the steps in which the learning rate falls where a recipe of schedule "wsd" says nothing."""

FP8_MULTIPLE = 16
"""What every side of a matrix must be a multiple of for FP8 products on a GPU."""


class RunRecipe(Protocol):
    """What the recipes of all trainers have in common: frozen dataclasses, whose fields are the keys of a YAML file.

    The key `trainer` is the command line's. Fields are read by their types (`mellama_train.recipe.yaml_schema`).
    """

    @property
    def output(self) -> Path:
        """The folder of the run, which need not be there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The model to start from, and how it computes.

    `path` is a folder in the Hugging Face format or a name on a hub. `attention` "auto" takes, on a GPU, FlashAttention
    where its package is there, else "varlen" (the same by PyTorch's own kernels) where the model allows it; PyTorch's
    SDPA otherwise, and eager attention for a model that has no SDPA.
    `loss` is the form of the last layer and the cross entropy: "fused" (PyTorch's linear_cross_entropy), "chunked"
    (ours, exact in every precision), "full" (the model's own logits), "auto" the best of these that is exact. `liger`
    takes Liger's GPU kernels. `chat_template` is a file that takes the place of the tokenizer's own template, in
    training and in what is written at the end. `compile` has `torch.compile` make kernels of each layer (plain engine).
    `fp8` multiplies the layers' matrices in FP8 by torchao, one scale a token (plain engine, Hopper or newer).
    """

    path: str
    chat_template: Path | None = None
    attention: Attention = "auto"
    loss: Literal["auto", "fused", "chunked", "full"] = "auto"
    activation_checkpointing: bool = False
    liger: bool = False
    compile: bool = False
    fp8: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one optimizer step over all ranks, and of one forward pass on one rank.

    Gradient accumulation follows: rows / (micro_rows × ranks). The rows of a step, and with them the run, are the
    same on any number of ranks.
    """

    rows: RowsOfStep
    micro_rows: Count = 1

    def __post_init__(self) -> None:
        if self.rows % self.micro_rows:
            raise FieldError("micro_rows", f"{self.micro_rows} does not divide the {self.rows} rows of a step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """AdamW, its schedule over the whole run, and the largest norm of the gradient (0: not clipped).

    `warmup_ratio` is the share of all steps in which the learning rate rises in a line from 0; then it falls to
    `final_ratio` of its peak: at once by `schedule` "cosine" or "linear", or with "wsd" (warm-up, stable, decay) in the
    last `decay_ratio` of all steps alone (0.1 where nothing is said), as 1 - √share, the best of the shapes that
    Hägele et al. 2024 compare.
    """

    learning_rate: Positive = 8e-6
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    decay_ratio: Share | None = None
    warmup_ratio: Share = 0.05
    final_ratio: Share = 0.0
    betas: tuple[PartialShare, ...] = (0.9, 0.95)
    epsilon: Positive = 1e-8
    weight_decay: NotNegative = 1e-5
    clip_norm: NotNegative = 1.0

    def __post_init__(self) -> None:
        refuse(self._contradictions())

    def _contradictions(self) -> Iterator[FieldError]:
        if self.decay_ratio is not None and self.schedule != "wsd":
            yield FieldError("decay_ratio", "goes with schedule: wsd")
        if self.schedule == "wsd" and self.warmup_ratio + self.decay > 1:
            yield FieldError("decay_ratio", "and warmup_ratio are more than the whole run")
        if len(self.betas) != 2:
            yield FieldError("betas", "must be two numbers")

    @property
    def decay(self) -> float:
        """The share of all steps in which "wsd" falls."""
        return WSD_DECAY if self.decay_ratio is None else self.decay_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOptimizer(Optimizer):
    """The paper's optimizer for instruction tuning and task fine-tuning."""

    learning_rate: Positive = 1e-5
    warmup_ratio: Share = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters (peft). `layers` are names of linear layers, "all-linear" every one but the output layer.

    `variant` "rslora" scales them by alpha / √rank in place of alpha / rank (Kalajdzievski 2023), "dora" learns the
    length of each weight vector apart from its direction (Liu et al. 2024).
    `four_bit` loads the frozen weights in 4-bit NF4 (QLoRA; needs bitsandbytes and a GPU).
    """

    rank: Count = 16
    alpha: Positive = 32.0
    dropout: PartialShare = 0.0
    layers: tuple[str, ...] = ("all-linear",)
    four_bit: bool = False
    variant: Literal["rslora", "dora"] | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise FieldError("layers", "names no layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Who runs the model on the ranks.

    "plain" is PyTorch alone, with `sharding` by DDP (every rank holds everything) or FSDP2 (weights, gradients and
    optimizer state are sharded). "deepspeed" shards by its ZeRO `zero`: 1 the optimizer state, 2 gradients too, 3
    weights too. Offload moves optimizer state or weights to the CPU. `config` is a DeepSpeed JSON file whose keys go
    over the package's own for this stage. `check_ranks` compares over all ranks which layer each is about to run, and
    ends a run that would hang (slow, for finding faults).
    """

    name: Literal["plain", "deepspeed"] = "plain"
    sharding: Literal["ddp", "fsdp"] = "ddp"
    zero: Literal[1, 2, 3] = 1
    offload_optimizer: bool = False
    offload_parameters: bool = False
    config: Path | None = None
    check_ranks: bool = False

    def __post_init__(self) -> None:
        refuse(self._contradictions())

    def _contradictions(self) -> Iterator[FieldError]:
        if self.name == "plain":
            for key, is_given in (("zero", self.zero != 1), ("config", self.config is not None)):
                if is_given:
                    yield FieldError(key, "goes with name: deepspeed")
            if (self.offload_optimizer or self.offload_parameters) and self.sharding == "ddp":
                blamed = "offload_optimizer" if self.offload_optimizer else "offload_parameters"
                yield FieldError(blamed, "needs sharding: fsdp, or name: deepspeed")
            elif self.offload_optimizer != self.offload_parameters:
                yield FieldError("name", "FSDP moves weights and optimizer together: give both offload keys or none")
            return
        if self.sharding != "ddp":
            yield FieldError("sharding", "goes with name: plain; DeepSpeed's own is zero")
        if self.offload_parameters and self.zero != 3:
            yield FieldError("offload_parameters", "needs zero: 3, the stage at which weights are sharded")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPlan:
    """When to write a checkpoint (after so many steps, or minutes), and how many to keep (the newest)."""

    every_steps: Count = 500
    every_minutes: Positive | None = None
    keep: Count = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Where the figures of the run go besides `metrics.jsonl`.

    `wandb` and `mlflow` are project names there: remote services, which get numbers alone, never text.
    `peak_tflops` is a rank's peak in this precision, where the device is not in the package's table. `profile_steps`
    are traced, from the third on.
    """

    every_steps: Count = 1
    tensorboard: bool = True
    wandb: str | None = None
    mlflow: str | None = None
    peak_tflops: Positive | None = None
    profile_steps: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikePolicy:
    """What a step is worth whose loss or gradient is not finite, or whose loss exceeds `factor` × recent median.

    The median is over the last `window` steps, and counts from the moment there are as many. "skip" leaves such a
    step out and goes on, at most `most_in_a_row` times; "stop" ends the run. Both leave a line in the metrics.
    """

    action: Literal["stop", "skip"] = "stop"
    factor: Annotated[float, Range(above=1)] = 2.0
    window: Count = 50
    most_in_a_row: Count = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutPlan:
    """How often perplexity on held-out text is taken, per source, and on how many rows of each set at most."""

    every_steps: Count = 500
    rows: Count = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """Forgetting probes: `mibe` tasks scored on the live model, the same `limit` documents each time."""

    tasks: tuple[str, ...]
    every_steps: Count = 500
    limit: Count = 50
    num_fewshot: Natural = 0
    scoring: Literal["generate", "loglikelihood"] = "generate"
    batch_size: Count = 8

    def __post_init__(self) -> None:
        if not self.tasks:
            raise FieldError("tasks", "names no task (mibe tasks lists them)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPlan:
    """Keep the best model by a figure of the run: `probe/TASK`, `perplexity/SOURCE` or `held_out_loss/SOURCE`.

    `patience` ends the run after so many looks in a row that were no better.
    """

    figure: str
    patience: Count | None = None

    def __post_init__(self) -> None:
        if not self.figure.startswith(("probe/", "perplexity/", "held_out_loss/")):
            raise FieldError("figure", "is probe/TASK, perplexity/SOURCE or held_out_loss/SOURCE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every stage of training has in common.

    `context` is the length of a row in tokens. `steps` ends the run, schedule included, before the data does.
    """

    model: ModelSource
    output: Path
    batch: Batch
    context: RowLength = CONTEXT
    precision: Precision = "bf16"
    steps: Count | None = None
    seed: Seed = 0
    optimizer: Optimizer = field(default_factory=Optimizer)
    lora: Lora | None = None
    engine: EngineChoice = field(default_factory=EngineChoice)
    checkpoints: CheckpointPlan = field(default_factory=CheckpointPlan)
    reporting: Reporting = field(default_factory=Reporting)
    spikes: SpikePolicy = field(default_factory=SpikePolicy)
    held_out: HeldOutPlan = field(default_factory=HeldOutPlan)
    probe: ProbePlan | None = None
    best: BestPlan | None = None

    def __post_init__(self) -> None:
        refuse(self._contradictions())

    def _contradictions(self) -> Iterator[FieldError]:
        if self.model.compile and self.engine.name != "plain":
            yield FieldError("model", "compile goes with engine.name: plain; DeepSpeed's hooks stand in its way")
        if self.model.fp8 and (self.engine.name != "plain" or self.precision != "bf16" or self.lora):
            yield FieldError("model", "fp8 goes with engine.name: plain, precision: bf16 and without lora")
        if self.model.fp8 and self.context % FP8_MULTIPLE:
            yield FieldError("context", f"must be a multiple of {FP8_MULTIPLE} for model.fp8")
        if self.precision == "fp16" and self.engine.sharding == "fsdp":
            yield FieldError(
                "precision", "fp16 needs scaled losses, which go with DDP or DeepSpeed; use bf16 with FSDP"
            )
        if self.lora and self.lora.four_bit and (self.engine.sharding == "fsdp" or self.engine.zero == 3):
            yield FieldError("lora", "four_bit weights cannot be sharded: use DDP, or DeepSpeed with zero: 1 or 2")
        if self.best and self.best.figure.startswith("probe/"):
            task, probed = self.best.figure.removeprefix("probe/"), self.probe.tasks if self.probe else ()
            if task not in probed:
                yield FieldError("best", f"{self.best.figure} is no figure of this run; probe.tasks {_listed(probed)}")


def _listed(tasks: tuple[str, ...]) -> str:
    return f"names {', '.join(tasks)}" if tasks else "is where it would be named"
