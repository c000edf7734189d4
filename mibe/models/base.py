"""The contract between mibe and a model: requests in, responses out, as they are ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from mibe.terminal.characters import sound

NO_NUMBERS = "NaN or infinite: where float16 overflows, dtype=bfloat16 or float32 helps; else the weights are damaged"
"""What is said of logits and likelihoods that are no numbers, and so must not become an answer."""


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


KEYED_OF_OLD = ("max_new_tokens", "stop", "temperature", "seed")
"""Fields of a sampling that a cache's key holds at any value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How text is generated. Temperature 0 is greedy decoding, the default everywhere.

    `max_new_tokens` is the room for an answer. A model that reasons has `thinking_budget` tokens before it (None: a
    model that does not reason); where they are used up, `at_budget` "stop" ends the output and "close" writes the
    closing mark for the model, which then answers. `allowed` are the only answers it can give; empty where it is free.
    """

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    thinking_budget: int | None = None
    at_budget: Literal["stop", "close"] = "stop"
    allowed: tuple[str, ...] = ()

    @property
    def room(self) -> int:
        """The most tokens that can be written: reasoning and answer."""
        return self.max_new_tokens + (self.thinking_budget or 0)

    def in_key(self) -> dict[str, Any]:
        """The fields as a cache's key holds them: newer ones where they are set, so that earlier answers are found."""
        return {
            entry.name: value
            for entry in fields(self)
            if (value := getattr(self, entry.name)) != entry.default or entry.name in KEYED_OF_OLD
        }


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt: the messages (for chat APIs) and the text rendered from them by `Model.render`.

    Requests of one prompt that differ in `sampling.seed` alone are draws of it: a model may read the prompt once for
    all.
    """

    messages: tuple[Message, ...]
    text: str
    sampling: Sampling


FinishReason = Literal["stop", "length", "filter", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back for one request.

    `text` is all that the model wrote, reasoning and its marks included, but for characters that are none, which are
    marked (`mibe.terminal.characters`); the answer begins at `answer_at` of it (None:
    a reasoning that never ended, so that there is no answer).
    `finish_reason` is "stop" (the model ended or a stop string was met), "length" (the token limit), "filter" (the
    model or a content filter declined) or "error" (`error` says why, `text` is empty). Token counts are of the
    prompt and of what was generated; `seconds` is its share of the wall time that the model worked: all of them add up.
    Models behind an API also say how many tokens of the prompt came from the server's cache, how many of the new ones
    were reasoning, and what the response cost in USD; `cost_is_bound` where that is the most it can have cost, since
    the server's counts say nothing. `budget_cut` says that a limit ended the reasoning, be it that
    the closing mark was then written for the model. `latency` are the seconds from when the engine began with this
    request, or it was sent, until all of the text was there, and `first_token` those until the first of it; other
    requests may be under way beside it. None where an engine does not tell.
    """

    text: str
    finish_reason: FinishReason
    error: str | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    seconds: float | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    answer_at: int | None = 0
    budget_cut: bool = False
    latency: float | None = None
    first_token: float | None = None
    cost_is_bound: bool = False

    def __post_init__(self) -> None:
        # The border: whatever a server, an engine, a plugin or a function gave, files and pages can hold it.
        object.__setattr__(self, "text", sound(self.text))
        if self.error is not None:
            object.__setattr__(self, "error", sound(self.error))

    @property
    def answer(self) -> str:
        """What comes after the reasoning: all that parsers, metrics and judges see."""
        return "" if self.answer_at is None else self.text[self.answer_at :]


@dataclass(frozen=True, slots=True)
class ChoiceRequest:
    """One prompt and the texts whose likelihood after it is asked for."""

    text: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How a model takes the tokens of a text, each after those before it: the first has nothing before it and no score.

    `log_probs` are their natural-log probabilities, `means` and `deviations` mean and standard deviation of the
    log-probabilities of the whole vocabulary at the same place, weighted by the probabilities.
    """

    log_probs: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


class Renderer(Protocol):
    """What building prompts needs of a model: their layout and their length. See `Model`."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def is_chat(self) -> bool:
        """Whether prompts are chat turns."""
        ...

    @property
    def context_window(self) -> int | None:
        """Tokens of prompt and output together."""
        ...

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model will read."""
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a rendered prompt."""
        ...


@runtime_checkable
class ReadsTokens(Protocol):
    """A model whose probabilities of the whole vocabulary can be had."""

    def read_tokens(self, texts: Sequence[str]) -> Iterator[tuple[int, TokenScores]]:
        """Yield (index, scores of the tokens of a text as it stands, without a template), in any order.

        Raises `ModelError` for a text that does not fit the context window.
        """
        ...


class Model(Protocol):
    """A language model, local or remote.

    Attributes
    ----------
    name:
        Short name for tables and run folders.
    identity:
        JSON data that tells this model from every other: name or path, revision or content hash, dtype, adapters.
        It is part of the response cache's key. None means the outputs are never cached.
    is_remote:
        True when prompts leave this machine.
    is_chat:
        True when prompts are given as chat turns; False when they are given as one plain text.
    context_window:
        Tokens of prompt and output together, or None when there is no known limit.

    A model may also have `can`, the names of what it can do beyond greedy text (fields of `Sampling`, "close",
    "constrain", "chat_template_args", "reasoning_effort"; without it nothing); `recommended`, the sampling that its
    checkpoint recommends, or None; `use_template_args(args)`, called before each run with all the switches of its chat
    template, whose names are `template_switches` where they are known; and `reasoning`: how it reasons before it
    answers (`mibe.models.reasoning.Reasoning`), None where it does not.

    A remote model may have `if_ours`: what its user says where the server behind it is their own and counts as local.

    A model may also have `size` (`mibe.models.size.Size`): its weights, counted, for what a document costs.

    A model may also have `read_tokens` (`ReadsTokens`).

    A model may also have `chunk_size`: how many prompts it wants at once, if not the usual number; or `stream`, which
    takes requests one by one (see `mibe.models.streaming`).
    """

    name: str
    identity: Mapping[str, Any] | None
    is_remote: bool
    is_chat: bool
    context_window: int | None

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model will read for these messages (chat template applied)."""
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a rendered prompt. Models without a tokenizer may estimate from above."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index of the request, response) as responses are ready, in any order, each index once.

        One failed request is one response with `finish_reason="error"`; only what makes every request fail
        (a model that cannot be loaded, a wrong key) raises `ModelError`.
        """
        ...

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield (index, natural-log likelihood of each continuation). Raises `NoLikelihoods` where it has none."""
        ...

    def device_memory_peak(self) -> int | None:
        """Peak bytes used on the accelerator, or None without one."""
        ...

    def close(self) -> None:
        """Free what the model holds."""
        ...
