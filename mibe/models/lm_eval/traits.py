"""What an object of one of lm-eval's classes can do, and where it sends text: found out by asking it, once."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from jinja2 import TemplateError

from mibe.errors import ModelError
from mibe.models.base import Message
from mibe.models.keys import can_be_sent
from mibe.models.locality import IN_PROCESS, SERVERS, asks_this_machine
from mibe.models.templates import Render

Tokenize = Callable[[str], Sequence[int]]


def is_remote(name: str, lm: Any) -> bool:
    """Whether prompts leave this machine, as far as can be known: what is not known to stay counts as leaving.

    A server at a loopback address is this machine, unless a proxy stands between.
    """
    if name in IN_PROCESS:
        return False
    if name not in SERVERS and not _is_plain_api(lm):
        return True
    return not asks_this_machine(str(getattr(lm, "base_url", None) or ""))


def _is_api(lm: Any) -> bool:
    return isinstance(lm, import_module("lm_eval.models.api_models").TemplateAPI)


def _is_plain_api(lm: Any) -> bool:
    """Whether the class sends by lm-eval's own two functions, which know no address but `base_url`."""
    api = import_module("lm_eval.models.api_models").TemplateAPI
    return _is_api(lm) and all(getattr(type(lm), m) is getattr(api, m) for m in ("model_call", "amodel_call"))


def if_ours(lm: Any) -> str | None:
    """What to say where the class asks a server of its user's own; None for a class that asks none."""
    return "ask it by --model openai with base_url=… and --trusted-endpoint" if _is_api(lm) else None


def check_key(lm: Any) -> None:
    """Raise `ModelError` for a key that no header can hold: HTTP libraries quote it when they say so."""
    if not _is_api(lm):
        return
    try:
        values = [str(value) for value in lm.header.values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        # No key in the environment: the class says so itself, with its first request.
        return
    if not all(can_be_sent(value.replace(" ", "")) for value in values):
        raise ModelError(
            "the key that lm-eval reads from the environment is none: there is a line break or a character outside "
            "ASCII in it; set the variable to the key alone"
        )


def takes_messages(lm: Any) -> bool:
    """Whether the class speaks to a chat API, which takes messages and no text."""
    if not _is_api(lm):
        return False
    try:
        payload = lm._create_payload([Message(role="user", content="a")], generate=True, gen_kwargs={})
    except (AssertionError, AttributeError, TypeError, ValueError):
        return False
    return "messages" in payload


def renderer(lm: Any) -> Render | None:
    """How the class makes one text of messages, or None where it cannot."""

    def as_text(messages: Sequence[Message]) -> Any:
        return lm.apply_chat_template([dict(message) for message in messages])

    def as_json(messages: Sequence[Message]) -> str:
        return json.dumps(list(messages), ensure_ascii=False)

    if takes_messages(lm):
        return as_json
    try:
        with quiet():
            probe = as_text([Message(role="user", content="a")])
    except TemplateError:
        # There is one, and what is wrong with it shows with the first prompt.
        return as_text
    # No such method, no tokenizer, no template in it, or a tokenizer that cannot be fetched.
    except (NotImplementedError, AttributeError, ValueError, TypeError, OSError, ImportError):
        return None
    return as_text if type(probe) is str else None


def chat_string(text: str) -> Any:
    """Messages as JSON, in the form in which lm-eval hands them to its classes for chat APIs."""
    return import_module("lm_eval.models.api_models").JsonChatStr(text)


def tokenizer(lm: Any, **options: Any) -> Tokenize | None:
    """The class's tokenizer as a function, or None where it has none on this machine."""

    def tokens(text: str) -> Any:
        return lm.tok_encode(text, **options)

    try:
        probe = tokens("a b")
    except (NotImplementedError, AttributeError, TypeError, ValueError, OSError):
        return None
    return tokens if isinstance(probe, list) and all(isinstance(token, int) for token in probe) else None


def context_window(name: str, lm: Any, args: Mapping[str, str]) -> int | None:
    """The window that the class cuts prompts to, from the left, where the instruction stands; None without one.

    Classes that send text do not cut, and the number that some of them have is a default: there the user's counts.
    """
    cuts = name in IN_PROCESS or (_is_api(lm) and lm.tokenized_requests)
    if not cuts:
        return int(args["max_length"]) if args.get("max_length", "").isdigit() else None
    try:
        window = getattr(lm, "max_length", None)
    except NotImplementedError:
        return None
    return window if isinstance(window, int) else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, prints and logs of lm-eval and what it uses off the screen; logs may quote prompts."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers", "asyncio")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
