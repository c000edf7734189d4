"""What a run does, apart from model and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import partial
from typing import Any, Literal

from mibe import variation
from mibe.errors import UsageError, check_all
from mibe.protocols import OWN_PROMPTS, PROMPTS, PROTOCOLS, STYLES
from mibe.results.schema import LARGEST_DRAWS
from mibe.run.shards import Shard

SCORINGS = ("generate", "loglikelihood")
BY_LIKELIHOOD = "the likeliest label or letter, as a whole"
"""The rule by which `--scoring loglikelihood` decides, as the record of a task names it."""
BY_TEXT_PER_BYTE = "the likeliest label or option text, per byte"
"""The rule of runs by likelihood whose record names none."""
BY_READING = "what is read in the text"
GENERATIONS = ("auto", "greedy", "model")
THINKING = ("auto", "on", "off")
AT_BUDGET = ("stop", "close")

NAMES: Mapping[str, tuple[str, ...]] = {
    "scoring": SCORINGS,
    "protocol": PROTOCOLS,
    "prompts": PROMPTS,
    "prompt_style": STYLES,
    "generation": GENERATIONS,
    "thinking": THINKING,
    "at_budget": AT_BUDGET,
}
"""Field → the names that it may have."""

WITH_CHAT_TEMPLATE = frozenset({"hf", "demo"})
"""Built-in models that lay prompts out by a chat template unless their argument `chat_template` is off."""

OF_OLD = frozenset(
    {
        "num_fewshot",
        "limit",
        "split",
        "scoring",
        "seed",
        "max_new_tokens",
        "fewshot_per_document",
        "resamples",
        "protocol",
        "bertscore",
        "shard",
    }
)
"""Fields that a run's fingerprint holds at any value. Newer ones are in it where they are set: a run that does without
them is the run that it was before they came."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does, apart from model and tasks. Defaults are the paper's zero-shot setting, greedy.

    `num_fewshot` is one number for all tasks or a number for each; `limit` None means all documents;
    `max_new_tokens` None means each task's own number; `resamples` is the number of bootstrap resamples behind each
    interval; `bertscore` is the encoder, MODEL or MODEL:LAYER, that summaries are compared with after all responses,
    `bartscore` the model, MODEL or MODEL:WEIGHTS, that says how likely the reference is after them;
    `thinking_budget` is the room before an answer, in tokens (None: `mibe.models.reasoning.ROOM`, or what the window
    leaves, for a model that reasons), and `at_budget` what happens where it ends: "stop" ends the output, "close"
    writes the closing mark for the model. `repeats` is how often each document is asked, each time with a seed of its
    own.
    `scoring` "loglikelihood" generates no text: the likeliest label or letter is the answer; with `option_texts` the
    likelihoods of the options' texts are asked for too.
    `shard` "I/N" is the I-th of N equal parts of the documents, one for each machine, which `mibe merge` puts together.

    How text is generated: `temperature`, `top_p`, `top_k` and `min_p` are None where `generation` says it, which is
    "greedy", "model" (what the checkpoint recommends) or "auto" (greedy, with advice for a model that reasons).

    How the model is asked: `system_prompt` goes before the prompt. `thinking` "on" and "off", `reasoning_effort` and
    `chat_template_args` (name → JSON value) are switches of its chat template, or of the server that has it.
    `prompts` is the wording, "table" (the paper's table A2) or "released"; None leaves it to the protocol.
    `prompt_style` "cot" asks for a chain of thought before the answer. With `constrain` the answer is one of the task's
    labels or letters by construction.

    `vary` names the ways in which each document is asked in other forms too (`mibe.variation`), as "options,noise:4".
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
    bartscore: str | None = None
    shard: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    generation: str = "auto"
    system_prompt: str | None = None
    thinking: str = "auto"
    reasoning_effort: str | None = None
    chat_template_args: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    thinking_budget: int | None = None
    at_budget: Literal["stop", "close"] = "stop"
    prompts: str | None = None
    prompt_style: str = "direct"
    constrain: bool = False
    option_texts: bool = True
    vary: str | None = None

    def __post_init__(self) -> None:
        check_named(vars(self))
        numbers = [self.num_fewshot] if isinstance(self.num_fewshot, int) else self.num_fewshot.values()
        if (fewest := min(numbers, default=0)) < 0:
            raise UsageError(f"--num-fewshot {fewest} is out of range; it is a number of examples, 0 or more")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens {self.max_new_tokens} is out of range; at least 1")
        if self.thinking_budget is not None and self.thinking_budget < 1:
            raise UsageError(f"--thinking-budget {self.thinking_budget} is out of range; at least 1")
        if not 1 <= self.resamples <= LARGEST_DRAWS:
            raise UsageError(f"--resamples {self.resamples} is out of range; at least 1, at most {LARGEST_DRAWS:,}")
        if not 1 <= self.repeats <= LARGEST_DRAWS:
            raise UsageError(f"--repeats {self.repeats} is out of range; at least 1, at most {LARGEST_DRAWS:,}")
        if self.shard is not None:
            Shard.parse(self.shard)
        _check_generation(self)
        _check_asking(self)
        _check_vary(self)

    def shots_of(self, task: str) -> int:
        """The number of worked examples for one task."""
        return self.num_fewshot if isinstance(self.num_fewshot, int) else self.num_fewshot.get(task, 0)

    def decoding(self) -> dict[str, Any]:
        """The fields of `Sampling` that say how the next token is chosen; what is not set is greedy, and not cut."""
        if not self.temperature:
            return {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
        return {
            "temperature": float(self.temperature),
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "top_k": self.top_k or 0,
            "min_p": self.min_p or 0.0,
        }

    def asked(self) -> dict[str, Any]:
        """What tells this run from another with the same model and tasks, for its fingerprint."""
        rule = {"rule": BY_LIKELIHOOD} if self.scoring == "loglikelihood" else {}
        # A protocol's own wording is no other one where it is named.
        values = asdict(self) | {"prompts": None if self.prompts == OWN_PROMPTS.get(self.protocol) else self.prompts}
        return rule | {name: value for name, value in values.items() if name in OF_OLD or value != DEFAULTS[name]}


DEFAULTS: Mapping[str, Any] = {
    entry.name: entry.default if entry.default_factory is MISSING else entry.default_factory()
    for entry in fields(Settings)
}
"""Field → its default."""


def settings_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run's record has, as fields of `Settings`; what else stands there says what was done."""
    return {name: value for name, value in record["settings"].items() if name in DEFAULTS}


CHANGES = ("temperature", "top_p", "top_k", "min_p", "thinking", "reasoning_effort", "chat_template_args")
"""Fields that make other text of the same prompts: two runs of a model that differ in them are two rows of a table."""


def style_of(settings: Mapping[str, Any]) -> str:
    """How the settings of a run record ask for answers: "direct", "cot" or "constrained"; older records are direct."""
    return "constrained" if settings.get("constrain") else str(settings.get("prompt_style", "direct"))


def protocol_of(record: Mapping[str, Any]) -> str:
    """The protocol of a run record, with what is not its own: the wording, or the protocol that asked for the text."""
    settings = record["settings"]
    found = [f"{settings['prompts']} prompts"] if settings.get("prompts") else []
    found += [f"asked under {settings['asked_under']}"] if settings.get("asked_under") else []
    return ", ".join([str(record["protocol"]), *found])


def rule_of(settings: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """How answers were decided in a task of a run record: the record's settings, and its part of that task."""
    if settings.get("scoring") != "loglikelihood":
        return BY_READING
    return str(part.get("rule", BY_TEXT_PER_BYTE))


def changes_of(settings: Mapping[str, Any]) -> list[str]:
    """What in the settings of a run record changes a model's text beside prompt and style, a few words each."""
    found = ["the checkpoint's generation settings"] if settings.get("generation") == "model" else []
    found += [
        f"{name.replace('_', ' ')} {_shown(settings[name])}"
        for name in CHANGES
        if settings.get(name, DEFAULTS[name]) != DEFAULTS[name]
    ]
    return found + (["a system prompt"] if settings.get("system_prompt") else [])


def arguments_under(protocol: str, model: object, args: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """A model's arguments: `paper` gives it the bare prompt, as the released code did, unless they say otherwise."""
    if protocol == "paper" and isinstance(model, str) and model in WITH_CHAT_TEMPLATE:
        return {"chat_template": "off", **(args or {})}
    return args


def check_named(values: Mapping[str, Any]) -> None:
    """Raise one `UsageError` that tells of every unknown name among the values of fields."""
    vary = values.get("vary")
    check_all(
        *(partial(_one_of, name, values[name], known) for name, known in NAMES.items() if values.get(name) is not None),
        *([] if vary is None else [partial(variation.check, vary)]),
    )


def _check_generation(settings: Settings) -> None:
    """Raise `UsageError` for numbers out of range, and for those that would do nothing."""
    for name, low, high, what in (
        # vLLM and OpenAI's servers take no more.
        ("temperature", 0.0, 2.0, "a number from 0 (greedy) to 2"),
        ("top_p", 1e-9, 1.0, "a share above 0 and at most 1"),
        ("top_k", 1, 10**9, "a number of tokens, at least 1"),
        ("min_p", 0.0, 1.0, "a share from 0 to 1"),
    ):
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{_flag(name)} {value} is out of range; it is {what}")
    if settings.scoring != "loglikelihood" and not settings.option_texts:
        raise UsageError("--no-option-texts is for --scoring loglikelihood; leave it out")
    if settings.scoring == "loglikelihood":
        idle = {"repeats": settings.repeats > 1, "temperature": settings.temperature}
        if found := next((name for name, asked in idle.items() if asked), None):
            raise UsageError(f"{_flag(found)} does nothing to likelihoods, which no dice decide; leave it out")
    named = next((name for name in ("top_p", "top_k", "min_p") if getattr(settings, name) is not None), None)
    if settings.generation == "greedy" and (settings.temperature or named):
        raise UsageError(
            f"--generation greedy leaves nothing to {_flag(named or 'temperature')}; leave one of them out"
        )
    if named is not None and not settings.temperature and (settings.generation != "model" or settings.temperature == 0):
        raise UsageError(f"{_flag(named)} does nothing to greedy text; give a --temperature above 0 with it")


def _check_asking(settings: Settings) -> None:
    """Raise `UsageError` for ways of asking that exclude each other."""
    if settings.system_prompt is not None and not settings.system_prompt.strip():
        raise UsageError("--system-prompt is empty; leave it out")
    style = "--constrain" if settings.constrain else "--prompt-style cot" if settings.prompt_style == "cot" else None
    if style is None:
        return
    if settings.constrain and settings.prompt_style == "cot":
        raise UsageError("--constrain leaves no room for what --prompt-style cot asks for; leave one of them out")
    if settings.scoring == "loglikelihood":
        raise UsageError(f"{style} is for text; leave it out, or leave out --scoring loglikelihood")
    if settings.protocol == "paper":
        raise UsageError(f"the protocol paper asks as the released code did; leave out {style}, or --protocol paper")


def _check_vary(settings: Settings) -> None:
    """Raise `UsageError` for unknown ways, and for what leaves them without a meaning."""
    if settings.vary is None:
        return
    ways = variation.check(settings.vary)
    if settings.repeats > 1:
        raise UsageError("--vary asks each version of a document once; leave out --repeats, or --vary")
    if "wording" in ways and settings.protocol != "default":
        raise UsageError(
            f"--vary wording has the released code's wording among its own; leave out --protocol {settings.protocol}"
        )
    if "wording" in ways and settings.prompts == "released":
        raise UsageError("--vary wording has the released code's wording among its own; leave out --prompts released")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name.replace('_', ' ')} {value!r}; known: {', '.join(known)}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(value: Any) -> str:
    return ",".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, Mapping) else str(value)
