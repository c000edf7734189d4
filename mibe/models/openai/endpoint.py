"""One model behind one address: the arguments that say which, each checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mibe.models.arguments import positive, switch
from mibe.models.locality import is_loopback
from mibe.parsers.reasoning import FORMATS, Format

OPENAI_HOST = "api.openai.com"
KEY = "OPENAI_API_KEY"
RELEASED_KEY = "OPENAI_API_SECRET_KEY"
"""Where the code released with the paper, and lm-eval before 0.4, look for the key."""

SAMPLED = frozenset({"temperature", "top_p", "seed"})
SERVED_SAMPLING = frozenset({"top_k", "min_p"})
STRICT = (".openai.com", ".openai.azure.com", ".anthropic.com", ".googleapis.com", ".mistral.ai", ".x.ai")
"""Ends of the hosts whose APIs take OpenAI's own parameters alone; vLLM, SGLang, llama.cpp and gateways take more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One model behind one address. The key is no part of what it shows of itself.

    `timeout` is for one attempt and `deadline` for all attempts of a request together, `max_wait` is the longest pause
    between two of them; all in seconds. `concurrency` is the most requests that are under way at once, `template_args`
    are switches of the chat template that the server has. `reasoning` is the form of reasoning that this template
    opens, where the server gives reasoning no field of its own. With `stream` answers are asked for as they grow, which
    tells when the first token came.
    """

    model: str
    base_url: str
    api: str = "chat"
    key: str | None = field(default=None, repr=False)
    key_name: str = KEY
    trusted: bool = False
    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 300.0
    deadline: float = 900.0
    max_wait: float = 60.0
    max_reply_mb: int = 32
    context_window: int | None = None
    reasoning_effort: str | None = None
    reasoning: Format | None = None
    max_tokens_parameter: str = "max_tokens"
    batch: bool = False
    poll_interval: float = 60.0
    template_args: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False

    @property
    def host(self) -> str:
        """The name of the machine that is asked."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def place(self) -> str:
        """The address without its scheme: what tells one server from another."""
        parts = urlsplit(self.base_url)
        return parts.netloc + parts.path.rstrip("/")

    @property
    def can(self) -> frozenset[str]:
        """What can be asked for beyond greedy text; makers of models take less than servers that run anybody's."""
        if self.api != "chat":
            return SAMPLED if self._is_strict else SAMPLED | SERVED_SAMPLING
        asked = SAMPLED | {"reasoning_effort", "constrain"}
        return asked if self._is_strict else asked | SERVED_SAMPLING | {"chat_template_args"}

    @property
    def if_ours(self) -> str | None:
        """What makes the server local where it is its user's own; None for those of model makers."""
        elsewhere = "of a judge, and of commands without it, trusted_endpoint=yes among the model's arguments"
        return None if self._is_strict else f"--trusted-endpoint ({elsewhere})"

    @property
    def _is_strict(self) -> bool:
        return self.host == OPENAI_HOST or self.host.endswith(STRICT)

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this machine's own."""
        return is_loopback(self.host)

    @property
    def is_ours(self) -> bool:
        """Whether text may go there as to this machine: it is this machine, or its user trusts that one server."""
        return self.is_loopback or self.trusted


def limit_parameter_of(base_url: str) -> str:
    """The parameter tried first. OpenAI's own API takes the newer one for all its models, others may not know it."""
    return "max_completion_tokens" if urlsplit(base_url).hostname == OPENAI_HOST else "max_tokens"


def server_address(text: str) -> str:
    """The address of a server from its text. Raises `ValueError` for one that cannot be."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ValueError("must hold no user or password; keys come from the environment")
    if parts.query or parts.fragment:
        raise ValueError("must end with the path, which is /v1 for most servers")
    return text.rstrip("/")


def _api(text: str) -> str:
    if text not in ("chat", "completions"):
        raise ValueError("must be chat, or completions for models without a chat template")
    return text


def _variable(text: str) -> str:
    if not text.isidentifier():
        raise ValueError("must be the name of an environment variable, not the key")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not 0 < value < 10**7:
        raise ValueError("must be more than 0 seconds")
    return value


def _limit(text: str) -> str:
    if text not in ("max_tokens", "max_completion_tokens"):
        raise ValueError("must be max_tokens or max_completion_tokens")
    return text


def _reasoning(text: str) -> Format:
    forms = {form.name: form for form in FORMATS}
    if text not in forms:
        raise ValueError(f"must be the form of reasoning that the server's template opens: {', '.join(forms)}")
    return forms[text]


ARGUMENTS: Mapping[str, Callable[[str], Any]] = {
    "model": str,
    "base_url": server_address,
    "api": _api,
    "api_key_env": _variable,
    "trusted_endpoint": switch,
    "concurrency": positive,
    "requests_per_minute": positive,
    "tokens_per_minute": positive,
    "timeout": _seconds,
    "deadline": _seconds,
    "max_wait": _seconds,
    "max_reply_mb": positive,
    "context_window": positive,
    "reasoning_effort": str,
    "reasoning": _reasoning,
    "max_tokens_parameter": _limit,
    "prices": lambda text: Path(text).expanduser(),
    "batch_api": switch,
    "poll_interval": _seconds,
    "stream": switch,
}
"""Argument → converter from its text."""
