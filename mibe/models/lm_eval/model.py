"""Any model class that lm-eval knows, by its name: `--model lm_eval:NAME`.

lm-eval's classes answer a list of requests at once, as plain texts, and most of them end with the first request that
fails. Here they get few requests at a time, and where one fails the others are found by halving.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from mibe.errors import ModelError, NoLikelihoods, UsageError, unknown
from mibe.models.arguments import positive
from mibe.models.base import ChoiceRequest, FinishReason, Message, Model, Request, Response, Sampling
from mibe.models.folders import check_exists
from mibe.models.hf.arguments import ARGUMENTS
from mibe.models.identity import source_identity
from mibe.models.keys import in_environment, without
from mibe.models.lm_eval import LM_EVAL
from mibe.models.lm_eval.endings import Ended, tell_endings
from mibe.models.lm_eval.traits import (
    Tokenize,
    chat_string,
    check_key,
    context_window,
    if_ours,
    is_remote,
    quiet,
    renderer,
    takes_messages,
    tokenizer,
)
from mibe.models.locality import IN_PROCESS, ElsewhereError, kept, server_here
from mibe.models.reasoning import Reasoning, reasoning_by_template, tell_apart, was_cut
from mibe.models.templates import TEMPLATE_ERRORS, template_problem
from mibe.models.text import byte_count, one_line, plain_text
from mibe.parsers.reasoning import opened_by
from mibe.terminal.characters import sound
from mibe.terminal.news import say

T = TypeVar("T")

SOURCES = ("pretrained", "tokenizer", "peft", "delta", "model_path", "base_model")
"""Arguments that may name a folder or a hub's repository."""

SECRETS = frozenset({"api_key", "auth_token", "hf_token", "header", "token"})
"""Arguments that are keys or carry them. Commands and identities are written into run records."""

TRANSPORT = frozenset({"batch_size", "max_batch_size", "max_retries", "num_concurrent", "timeout", "device"})
"""Arguments that say how a model is asked and not what it is: no part of its identity."""

AT_ONCE_LOCAL = 128
"""Requests handed over together to an engine in this process. None of them is on disk before all are answered."""

AT_ONCE_PER_CONNECTION = 4
"""The same for a server that is asked over several connections: enough to keep them busy."""

FAILURES_IN_A_ROW = 10
"""So many requests that fail one after the other, none of them by its own fault, are the model's failure."""

REFUSED = frozenset({401, 402, 403, 404, 405})
"""HTTP answers that every request will get: a wrong key, no money, a wrong address or model."""

OWN_FAULT = frozenset({400, 413, 422})
"""HTTP answers to one request that others need not get."""


def load(name: str, args: Mapping[str, str]) -> Model:
    """The model of lm-eval's class `name`; the arguments are that class's own, read as lm-eval reads them.

    Two are mibe's: `chat_template=off` gives a chat model plain prompts, and `at_once` is the number of requests
    that are handed over together. Raises `UsageError` for an unknown name, with the nearest ones, and `ModelError`
    when the model cannot be loaded.
    """
    try:
        registry = import_module("lm_eval.api.registry").model_registry
        known = import_module("lm_eval.models").MODEL_MAPPING
        read = import_module("lm_eval.utils").handle_arg_string
    except ImportError as error:
        raise ModelError(f'models of lm-eval need `pip install "mibe[lm-eval]"` ({error})') from error
    if name not in registry:
        raise unknown("model", LM_EVAL + name, [LM_EVAL + each for each in known])
    for secret in sorted(SECRETS & args.keys()):
        raise UsageError(
            f"{secret}= is not taken: commands end in run records; lm-eval reads keys from the environment"
        )
    for argument in SOURCES:
        if argument in args:
            check_exists(argument, args[argument])
    try:
        chat_template = ARGUMENTS["chat_template"](args.get("chat_template", "auto"))
        at_once = positive(args["at_once"]) if "at_once" in args else None
    except ValueError as error:
        raise UsageError(f"arguments of the model {LM_EVAL + name!r}: {error}") from None
    say(f"loading {args.get('pretrained') or args.get('model') or name} …")
    passed = {key: read(text) for key, text in args.items() if key not in ("chat_template", "at_once")}
    lm: Any = None
    try:
        with quiet():
            lm = registry[name](**passed)
    except Exception as error:  # noqa: BLE001  (a class for any engine or service may raise what it likes)
        reason = without(in_environment(os.environ), one_line(error))
    if lm is None:
        # Out here, so that no traceback shows the class's own words, which may quote a key.
        raise ModelError(f"lm-eval cannot load {name}: {reason}")
    check_key(lm)
    return LmEvalModel(lm, name=name, args=args, chat=chat_template, at_once=at_once)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a request failed, and with which HTTP status if with one."""

    reason: str
    status: int | None


_NOTHING = _Failure("no text came back", None)


class LmEvalModel:
    """An object of one of lm-eval's `LM` classes.

    Those classes return no finish reason; what a server says is kept here on its way through the class
    (`mibe.models.lm_eval.endings`). Elsewhere `length` is told from `stop` by counting: an output that is no shorter
    than the limit, in the class's own tokens, was cut by it. Where a class has no tokenizer, every output counts as
    stopped. Nor do they tell reasoning from answers: its marks are looked for in the text, if the class has left them
    there.
    """

    can = frozenset({"temperature", "top_p"})

    def __init__(self, lm: Any, *, name: str, args: Mapping[str, str], chat: bool, at_once: int | None) -> None:
        source = args.get("pretrained") or args.get("model") or name
        self.name = Path(source).name if Path(source).is_dir() else source
        self._lm = lm
        tell_endings(lm)
        self.is_remote = is_remote(name, lm)
        self.if_ours = if_ours(lm)
        # What asks a server on this machine is held to that server, with all its redirects and proxies.
        self._reach = None if self.is_remote or name in IN_PROCESS else server_here(str(lm.base_url))
        self._takes_messages = takes_messages(lm)
        self._render = renderer(lm) if chat or self._takes_messages else None
        self._prompt_tokens = self._kept(tokenizer(lm))
        self._new_tokens = self._kept(tokenizer(lm, add_special_tokens=False))
        self.is_chat = self._render is not None
        self.context_window = context_window(name, lm, args)
        self.identity: Mapping[str, Any] | None = identity(name, args, chat=self.is_chat)
        self._keys = in_environment(os.environ)
        self._at_once = at_once or _at_once(lm, remote=name not in IN_PROCESS)
        self._failures = 0

    @property
    def reasoning(self) -> Reasoning | None:
        """How the model reasons, as the chat template of the class's tokenizer says."""
        # Some classes fetch their tokenizer when it is first looked at; one with a template has it by now.
        template = getattr(getattr(self._lm, "tokenizer", None), "chat_template", None) if self.is_chat else None
        return reasoning_by_template(template, self.render) if template else None

    def _here(self, action: Callable[[], T]) -> T:
        """The result of something that the class does, be it that its server does it."""
        return action() if self._reach is None else kept(self._reach, action)

    def _kept(self, tokens: Tokenize | None) -> Tokenize | None:
        return None if tokens is None else lambda text: self._here(partial(tokens, text))

    def render(self, messages: Sequence[Message]) -> str:
        """The messages as the class renders them: by a chat template, as JSON for a chat API, or as plain text."""
        if self._render is None:
            return plain_text(messages)
        try:
            return self._here(partial(self._render, messages))
        except TEMPLATE_ERRORS as error:
            raise template_problem(self.name, one_line(error)) from error

    def count_tokens(self, text: str) -> int:
        """Number of tokens by the class's tokenizer, or an upper bound where it has none: the number of bytes."""
        return byte_count(text) if self._prompt_tokens is None else len(self._prompt_tokens(text))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield responses group by group. A request that fails, alone as well, is an error response.

        Raises `ModelError` when requests fail by the dozen, or by what will not change: a wrong key or address.
        """
        by_sampling: dict[Sampling, list[int]] = {}
        for index, request in enumerate(requests):
            by_sampling.setdefault(request.sampling, []).append(index)
        for indices in by_sampling.values():
            for first in range(0, len(indices), self._at_once):
                yield from self._group(requests, indices[first : first + self._at_once])

    def _group(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[tuple[int, Response]]:
        start = time.perf_counter()
        answers = _Answers()
        self._lm.set_cache_hook(answers)
        failure = _NOTHING
        try:
            texts = self._call("generate_until", [self._asked(requests[index]) for index in indices])
        except ElsewhereError:
            raise
        except Exception as error:  # noqa: BLE001  (a class for any engine or service may raise what it likes)
            failure = _Failure(without(self._keys, one_line(error)), _status(error))
            # Those that were answered before one failed are in the hook; they need not be asked, or paid, again.
            texts = [answers.get(requests[index].text) for index in indices]
        if failure is not _NOTHING and len(indices) > 1:
            with quiet():
                # What lm-eval had under way goes now, or asyncio's complaints about it come later, on the screen.
                gc.collect()
        seconds = (time.perf_counter() - start) / len(indices)
        waiting = []
        for index, text in zip(indices, texts, strict=True):
            if text is None:
                waiting.append(index)
            else:
                self._failures = 0
                yield index, self._response(requests[index], text, seconds)
        if len(indices) == 1 and waiting:
            yield waiting[0], self._failed(failure)
        elif waiting:
            middle = (len(waiting) + 1) // 2
            for half in filter(None, (waiting[:middle], waiting[middle:])):
                yield from self._group(requests, half)

    def _asked(self, request: Request) -> Any:
        sampling = request.sampling
        settings: dict[str, Any] = {
            # A stop string ends an answer, and a reasoning is not to be ended by one.
            "until": [text for text in sampling.stop if text and sampling.thinking_budget is None],
            "max_gen_toks": sampling.room,
            "do_sample": sampling.temperature > 0,
            "temperature": sampling.temperature,
            **({"top_p": sampling.top_p} if sampling.top_p < 1 else {}),
        }
        return self._context(request.text), settings

    def _context(self, text: str) -> Any:
        return chat_string(text) if self._takes_messages else text

    def _call(self, method: str, arguments: Sequence[tuple[Any, Any]]) -> list[Any]:
        instance = import_module("lm_eval.api.instance").Instance
        asked = [instance(method, {}, pair, number) for number, pair in enumerate(arguments)]
        with quiet():
            results = self._here(lambda: list(getattr(self._lm, method)(asked)))
        if len(results) != len(arguments):
            raise RuntimeError(f"{len(arguments)} requests got {len(results)} answers")
        return results

    def _response(self, request: Request, text: str, seconds: float) -> Response:
        sampling = request.sampling
        # A tokenizer takes no text with half a character in it.
        whole = sound(str(text))
        new = None if self._new_tokens is None else len(self._new_tokens(whole))
        counted: FinishReason = "length" if new is not None and new >= sampling.room else "stop"
        finish_reason = text.finish_reason if isinstance(text, Ended) else counted
        text, answer_at = tell_apart(whole, opened_by(request.text), sampling.stop)
        # A class was not told of stop strings where there is a thinking budget: what stands behind one is no answer.
        finish_reason = "stop" if len(text) < len(whole) else finish_reason
        return Response(
            text=text,
            finish_reason=finish_reason,
            prompt_tokens=None if self._prompt_tokens is None else len(self._prompt_tokens(request.text)),
            new_tokens=new,
            seconds=seconds,
            answer_at=answer_at,
            budget_cut=was_cut(finish_reason, answer_at),
        )

    def _failed(self, failure: _Failure) -> Response:
        if failure.status in REFUSED:
            raise ModelError(f"{self.name}: {failure.reason}", said=failure.reason)
        self._failures += failure.status not in OWN_FAULT
        if self._failures == FAILURES_IN_A_ROW:
            raise ModelError(
                f"{self.name}: {FAILURES_IN_A_ROW} requests failed one after the other, the last one so: "
                f"{failure.reason}. Every response so far is kept; the same command goes on from there",
                said=failure.reason,
            )
        return Response(text="", finish_reason="error", error=failure.reason)

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield the log-likelihoods of each request. Raises `NoLikelihoods` for a class that gives none."""
        several = max(1, self._at_once // max((len(request.continuations) for request in requests), default=1))
        for first in range(0, len(requests), several):
            group = requests[first : first + several]
            pairs = [(self._context(request.text), text) for request in group for text in request.continuations]
            try:
                values = iter(self._call("loglikelihood", pairs) if pairs else [])
            except ElsewhereError:
                raise
            except Exception as error:
                reason = without(self._keys, one_line(error))
                raise NoLikelihoods(f"{self.name} gives no likelihoods: {reason}", said=reason) from error
            for index, request in enumerate(group, first):
                yield index, tuple(float(next(values)[0]) for _ in request.continuations)

    def device_memory_peak(self) -> int | None:
        """None: these classes do not say."""
        return None

    def close(self) -> None:
        """Free what the class holds; the model cannot be used afterwards."""
        self.__dict__.pop("_lm", None)


class _Answers:
    """Stands where lm-eval keeps its cache: gets each answer when it is there, and not when the last one is."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def add_partial(self, method: str, asked: Sequence[Any], text: Any) -> None:
        """Keep the answer to the request `asked`, a context and its settings."""
        if isinstance(text, str):
            context = asked[0]
            self._texts[getattr(context, "prompt", context)] = text

    def get(self, context: str) -> str | None:
        """The answer to a context, if there was one."""
        return self._texts.get(context)


def _at_once(lm: Any, *, remote: bool) -> int:
    connections = getattr(lm, "_concurrent", None)
    if connections is None:
        return 1 if remote else AT_ONCE_LOCAL
    return max(1, int(lm._batch_size)) * (AT_ONCE_PER_CONNECTION * connections if connections > 1 else 1)


def identity(name: str, args: Mapping[str, str], *, chat: bool) -> dict[str, Any] | None:
    """The class, its arguments, and the content of the folders among them.

    None, and so no caching, when the commit of something from a hub is not known.
    """
    sources: dict[str, Any] = {}
    for argument in SOURCES:
        if argument in args and (name in IN_PROCESS or Path(args[argument]).is_dir()):
            sources[argument] = source_identity(args[argument], args.get("revision"))
    if None in sources.values():
        return None
    others = {key: text for key, text in args.items() if key not in TRANSPORT | {"at_once", "chat_template"}}
    return {"model": LM_EVAL + name, "chat": chat, **others, **sources}


def _status(failure: Exception) -> int | None:
    """The HTTP status in an error of `requests` or of `aiohttp`."""
    found = getattr(getattr(failure, "response", None), "status_code", None) or getattr(failure, "status", None)
    return found if isinstance(found, int) else None
