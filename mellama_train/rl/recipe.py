"""The recipe of `grpo`. Where the papers give no value, the defaults are TRL's own, but for `beta`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from mellama_train.recipe.config import Form, Optimizer, Recipe, TooLong
from mellama_train.recipe.problems import FieldError, refuse
from mellama_train.recipe.ranges import Count, Epochs, NotNegative, PartialShare, Positive, Range, Share

NucleusShare = Annotated[float, Range(above=0, at_most=1)]

OF_THE_LOOP = ("spikes", "held_out", "probe", "best")
"""Keys of a recipe that this package's own loop reads, and TRL's trainers do not."""

OF_OUR_MODEL = ("loss", "liger", "compile", "fp8")
"""Keys of `model` that go with the loss and the engines of that loop."""

ATTENTIONS = ("auto", "flash_attention_3", "flash_attention_2", "sdpa", "eager")
"""What generates as well as it trains: the others want packed rows."""

SMALLEST_GROUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardedTasks:
    """Tasks of `mibe`: zero-shot prompts over their train splits, and the task's parser and metric as the reward.

    `tasks` are names, each document of which comes once in a pass, or name → weight: the shares of a pass, which then
    is as long as it takes for every document to come at least once. `form`, `too_long` and `test_documents` are as for
    fine-tuning; `too_long` is said of a prompt beside which no answer fits the context. What is compared with the test
    sets is both the whole document and its passages, as a corpus is decontaminated.
    """

    tasks: tuple[str, ...] | dict[str, Positive]
    form: Form = "auto"
    too_long: TooLong = "error"
    test_documents: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        if not self.tasks:
            raise FieldError("tasks", "names no task (mibe tasks lists them)")
        if len({*self.tasks}) < len(self.tasks):
            raise FieldError("tasks", "names a task twice; give it a weight: {task: 2}")

    @property
    def weights(self) -> Mapping[str, float] | None:
        """Task → weight; None where each document comes once."""
        return self.tasks if isinstance(self.tasks, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """How answers are drawn: `group` of each prompt, up to `tokens` long (default: the longest of the tasks' own).

    `engine` "auto" takes vLLM where its package and a GPU are, else transformers. vLLM shares the GPUs with the
    training: it takes `vllm_memory` of each, and divides the model over `vllm_ranks` of them.
    """

    group: Count = 8
    tokens: Count | None = None
    temperature: Positive = 1.0
    top_p: NucleusShare = 1.0
    engine: Literal["auto", "vllm", "transformers"] = "auto"
    vllm_memory: NucleusShare = 0.3
    vllm_ranks: Count = 1

    def __post_init__(self) -> None:
        if self.group < SMALLEST_GROUP:
            raise FieldError(
                "group",
                f"{self.group} answer of a prompt has no other to be better than; take at least {SMALLEST_GROUP}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardTerms:
    """The weights of a reward's other terms: that the answer is in the form asked for, and within the task's room."""

    format: PartialShare = 0.0
    length: PartialShare = 0.0

    def __post_init__(self) -> None:
        if self.format + self.length >= 1:
            raise FieldError("format", "and length leave nothing for the answer; 0.1 each is much")


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardedOptimizer(Optimizer):
    """TRL's learning rate for GRPO; LoRA takes ten times as much and more."""

    learning_rate: Positive = 1e-6
    warmup_ratio: Share = 0.0
    weight_decay: NotNegative = 0.0
    betas: tuple[PartialShare, ...] = (0.9, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoRecipe(Recipe):
    """Group-relative policy optimisation (Shao et al. 2024, DeepSeekMath): answers against others to the same prompt.

    `batch.rows` are answers of an optimizer step, whole groups of them; `context` is the longest prompt with its
    answer. `beta` is the weight of the divergence from the model of the start (0: that model is not kept); `epsilon`
    and `epsilon_high` clip the ratio of probabilities. `loss` sums over tokens as in the GRPO, DAPO, BNPO or Dr. GRPO
    papers; `scale` divides advantages by the deviation of rewards in the group or the batch, or by nothing.
    `iterations` optimizer steps are made of the same answers, `epochs` passes over the prompts.
    """

    data: RewardedTasks
    rollouts: Rollouts = field(default_factory=Rollouts)
    reward: RewardTerms = field(default_factory=RewardTerms)
    optimizer: RewardedOptimizer = field(default_factory=RewardedOptimizer)
    beta: NotNegative = 0.04
    epsilon: Positive = 0.2
    epsilon_high: Positive | None = None
    loss: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = "dapo"
    scale: Literal["group", "batch", "none"] = "group"
    iterations: Count = 1
    epochs: Epochs = 1

    def __post_init__(self) -> None:
        refuse([*self._contradictions(), *of_the_loop(self), *self._misfits()])

    def _misfits(self) -> Iterator[FieldError]:
        group, tokens = self.rollouts.group, self.rollouts.tokens
        if self.batch.rows % group:
            yield FieldError("batch", f"rows {self.batch.rows} are no whole groups of {group} answers (rollouts.group)")
        if tokens is not None and tokens >= self.context:
            yield FieldError("rollouts", f"tokens {tokens} leave no room for a prompt in a context of {self.context}")
        if self.epsilon_high is not None and self.epsilon_high < self.epsilon:
            yield FieldError("epsilon_high", f"{self.epsilon_high} is below epsilon {self.epsilon}")


def of_the_loop(recipe: Recipe, unread: tuple[str, ...] = OF_THE_LOOP) -> Iterator[FieldError]:
    """Keys that would do nothing, since TRL trains: those `unread`, and some of model, engine and reporting."""
    defaults = {known.name: known for known in fields(recipe)}
    for key in unread:
        known = defaults[key]
        usual = known.default_factory() if callable(known.default_factory) else known.default
        if getattr(recipe, key) != usual:
            yield FieldError(key, "is of the stages that this package's own loop trains; leave it out")
    model = {known.name: known.default for known in fields(recipe.model)}
    for key in OF_OUR_MODEL:
        if getattr(recipe.model, key) != model[key]:
            yield FieldError("model", f"{key} is of this package's own loop; leave it out")
    if recipe.model.attention not in ATTENTIONS:
        yield FieldError("model", f"attention {recipe.model.attention} wants packed rows; take {', '.join(ATTENTIONS)}")
    if recipe.engine.sharding == "fsdp" or recipe.engine.check_ranks:
        yield FieldError(
            "engine",
            "sharding and check_ranks are of this package's own engine; use accelerate launch with a "
            "configuration of its own for FSDP, or name: deepspeed",
        )
    if recipe.reporting.peak_tflops is not None or recipe.reporting.profile_steps is not None:
        yield FieldError("reporting", "peak_tflops and profile_steps are of this package's own loop; leave them out")
