"""What a run does, apart from model and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mibe.errors import UsageError
from mibe.run.shards import Shard

SCORINGS = ("generate", "loglikelihood")
AT_BUDGET = ("stop", "close")
WITH_CHAT_TEMPLATE = frozenset({"hf", "demo"})
"""Built-in models that lay prompts out by a chat template unless their argument `chat_template` is off."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does, apart from model and tasks. Defaults are the paper's zero-shot setting, greedy.

    `num_fewshot` is one number for all tasks or a number for each; `limit` None means all documents;
    `max_new_tokens` None means each task's own number; `resamples` is the number of bootstrap resamples behind each
    interval; `bertscore` is the encoder, MODEL or MODEL:LAYER, that summaries are compared with after all responses;
    `thinking_budget` is the room before an answer, in tokens (None: `mibe.models.reasoning.ROOM`, or what the window
    leaves, for a model that reasons), and `at_budget` what happens where it ends: "stop" ends the output, "close"
    writes the closing mark for the model.
    `shard` "I/N" is the I-th of N equal parts of the documents, one for each machine, which `mibe merge` puts together.
    """

    num_fewshot: int | Mapping[str, int] = 0
    limit: int | None = None
    split: str = "test"
    scoring: str = "generate"
    seed: int = 1234
    max_new_tokens: int | None = None
    fewshot_per_document: bool = False
    resamples: int = 1000
    protocol: str = "default"
    bertscore: str | None = None
    shard: str | None = None
    thinking_budget: int | None = None
    at_budget: Literal["stop", "close"] = "stop"

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise UsageError(f"unknown scoring {self.scoring!r}; known: {', '.join(SCORINGS)}")
        numbers = [self.num_fewshot] if isinstance(self.num_fewshot, int) else self.num_fewshot.values()
        if (fewest := min(numbers, default=0)) < 0:
            raise UsageError(f"--num-fewshot {fewest} is out of range; it is a number of examples, 0 or more")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens {self.max_new_tokens} is out of range; at least 1")
        if self.thinking_budget is not None and self.thinking_budget < 1:
            raise UsageError(f"--thinking-budget {self.thinking_budget} is out of range; at least 1")
        if self.at_budget not in AT_BUDGET:
            raise UsageError(f"unknown --at-budget {self.at_budget!r}; known: {', '.join(AT_BUDGET)}")
        if self.resamples < 1:
            raise UsageError(f"--resamples {self.resamples} is out of range; at least 1")
        if self.shard is not None:
            Shard.parse(self.shard)

    def in_fingerprint(self) -> dict[str, Any]:
        """What tells this run from another; room to think counts where it was asked for, so that older runs go on."""
        values = asdict(self)
        if self.thinking_budget is None and self.at_budget == "stop":
            del values["thinking_budget"], values["at_budget"]
        return values

    def shots_of(self, task: str) -> int:
        """The number of worked examples for one task."""
        return self.num_fewshot if isinstance(self.num_fewshot, int) else self.num_fewshot.get(task, 0)


def arguments_under(protocol: str, model: object, args: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """A model's arguments: `paper` gives it the bare prompt, as the released code did, unless they say otherwise."""
    if protocol == "paper" and isinstance(model, str) and model in WITH_CHAT_TEMPLATE:
        return {"chat_template": "off", **(args or {})}
    return args
