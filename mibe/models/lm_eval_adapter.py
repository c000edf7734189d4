"""Any model class that lm-eval knows, by its name: `--model lm_eval:NAME`.

lm-eval's classes answer a list of requests at once, as plain texts, and most of them end with the first request that
fails. Here they get few requests at a time, and where one fails the others are found by halving.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import positive
from mibe.models.base import ChoiceRequest, Message, Model, Request, Response, Sampling
from mibe.models.hf import ARGUMENTS, check_exists
from mibe.models.identity import source_identity
from mibe.models.text import byte_count, first_stop, one_line, plain_text
from mibe.registry import unknown

PREFIX = "lm_eval:"

LOCAL = frozenset(
    {
        "dummy",
        "habana",
        "hf",
        "hf-audiolm-qwen",
        "hf-auto",
        "hf-mistral3",
        "hf-multimodal",
        "huggingface",
        "ipex",
        "mamba_ssm",
        "megatron_lm",
        "nemo_lm",
        "neuronx",
        "onnxruntime",
        "onnxruntime-genai",
        "openvino",
        "sglang",
        "steered",
        "trtllm",
        "vllm",
        "vllm-vlm",
        "winml",
    }
)
"""Names whose classes run the model in this process or its children. Every other one may send text away."""

SERVERS = frozenset({"gguf", "ggml"})
"""Names whose classes send text to their `base_url` and nowhere else; lm-eval's classes for HTTP APIs do the same."""

SOURCES = ("pretrained", "tokenizer", "peft", "delta", "model_path", "base_model")
"""Arguments that may name a folder or a hub's repository."""

SECRETS = frozenset({"api_key", "auth_token", "hf_token", "header", "token"})
"""Arguments that are keys or carry them. Commands and identities are written into run records."""

TRANSPORT = frozenset({"batch_size", "max_batch_size", "max_retries", "num_concurrent", "timeout", "device"})
"""Arguments that say how a model is asked and not what it is: no part of its identity."""

AT_ONCE_LOCAL = 128
AT_ONCE_PER_CONNECTION = 4
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
        raise ModelError(f'models of lm-eval need `pip install "mibe[hf]"` ({error})') from error
    if name not in registry:
        raise unknown("model", PREFIX + name, [PREFIX + each for each in known])
    for secret in sorted(SECRETS & args.keys()):
        raise UsageError(f"{secret}= would be written into the run record; put keys into the environment, as lm-eval")
    for argument in SOURCES:
        if argument in args:
            check_exists(argument, args[argument])
    try:
        chat_template = ARGUMENTS["chat_template"](args.get("chat_template", "auto"))
        at_once = positive(args["at_once"]) if "at_once" in args else None
    except ValueError as error:
        raise UsageError(f"arguments of the model {PREFIX + name!r}: {error}") from None
    passed = {key: read(text) for key, text in args.items() if key not in ("chat_template", "at_once")}
    try:
        with _quiet():
            lm = registry[name](**passed)
    except Exception as error:
        # A class for any engine or service may raise what it likes; a missing package and a missing key are common.
        raise ModelError(f"lm-eval cannot load {name}: {one_line(error)}") from error
    return LmEvalModel(lm, name=name, args=args, chat=chat_template, at_once=at_once)


class LmEvalModel:
    """An object of one of lm-eval's `LM` classes.

    Those classes return no finish reason. `length` is told from `stop` by counting: an output that is no shorter than
    the limit, in the class's own tokens, was cut by it. Where a class has no tokenizer, every output counts as stopped.
    """

    def __init__(self, lm: Any, *, name: str, args: Mapping[str, str], chat: bool, at_once: int | None) -> None:
        source = args.get("pretrained") or args.get("model") or name
        self.name = Path(source).name if Path(source).is_dir() else source
        self._lm = lm
        self._tokenize = _tokenizer(lm)
        self._render = _renderer(lm) if chat or _takes_messages(lm) else None
        self.is_chat = self._render is not None
        self.is_remote = is_remote(name, lm)
        self.context_window = _context_window(lm, args)
        self.identity = _identity(name, args, chat=self.is_chat)
        self._at_once = at_once or _at_once(lm, self.is_remote)
        self._failures = 0

    def render(self, messages: Sequence[Message]) -> str:
        """The messages as the class renders them: by a chat template, as JSON for a chat API, or as plain text."""
        return plain_text(messages) if self._render is None else self._render(messages)

    def count_tokens(self, text: str) -> int:
        """Number of tokens by the class's tokenizer, or an upper bound where it has none: the number of bytes."""
        return byte_count(text) if self._tokenize is None else len(self._tokenize(text))

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
        failure: Exception | None = None
        try:
            texts = self._call("generate_until", [self._asked(requests[index]) for index in indices])
        except Exception as error:  # noqa: BLE001  (a class for any engine or service may raise what it likes)
            failure = error
            # Those that were answered before one failed are in the hook; they need not be asked, or paid, again.
            texts = [answers.get(requests[index].text) for index in indices]
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
        settings = {
            "until": [text for text in sampling.stop if text],
            "max_gen_toks": sampling.max_new_tokens,
            "do_sample": sampling.temperature > 0,
            "temperature": sampling.temperature,
        }
        return self._context(request.text), settings

    def _context(self, text: str) -> Any:
        return _chat_string(text) if _takes_messages(self._lm) else text

    def _call(self, method: str, arguments: Sequence[tuple[Any, Any]]) -> list[Any]:
        instance = import_module("lm_eval.api.instance").Instance
        with _quiet():
            results = list(
                getattr(self._lm, method)([instance(method, {}, pair, n) for n, pair in enumerate(arguments)])
            )
        if len(results) != len(arguments):
            raise RuntimeError(f"{len(arguments)} requests got {len(results)} answers")
        return results

    def _response(self, request: Request, text: str, seconds: float) -> Response:
        new = None if self._tokenize is None else len(self._tokenize(text))
        return Response(
            text=text[: first_stop(text, request.sampling.stop)],
            finish_reason="length" if new is not None and new >= request.sampling.max_new_tokens else "stop",
            prompt_tokens=None if self._tokenize is None else len(self._tokenize(request.text)),
            new_tokens=new,
            seconds=seconds,
        )

    def _failed(self, failure: Exception | None) -> Response:
        reason = "no text came back" if failure is None else one_line(failure)
        status = _status(failure)
        if status in REFUSED:
            raise ModelError(f"{self.name}: {reason}")
        self._failures += status not in OWN_FAULT
        if self._failures == FAILURES_IN_A_ROW:
            raise ModelError(
                f"{self.name}: {FAILURES_IN_A_ROW} requests failed one after the other, the last one so: {reason}. "
                "Every response so far is kept; the same command goes on from there"
            )
        return Response(text="", finish_reason="error", error=reason)

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield the log-likelihoods of each request. Raises `ModelError` for a class that gives none."""
        several = max(1, self._at_once // max((len(request.continuations) for request in requests), default=1))
        for first in range(0, len(requests), several):
            group = requests[first : first + several]
            pairs = [(self._context(request.text), text) for request in group for text in request.continuations]
            try:
                values = iter(self._call("loglikelihood", pairs) if pairs else [])
            except Exception as error:
                raise ModelError(f"{self.name} gives no likelihoods: {one_line(error)}") from error
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
            self._texts[_plain(asked[0])] = text

    def get(self, context: str) -> str | None:
        """The answer to a context, if there was one."""
        return self._texts.get(context)


def is_remote(name: str, lm: Any) -> bool:
    """Whether prompts leave this machine, as far as can be known: what is not known to stay counts as leaving.

    A server at a loopback address is this machine, unless a proxy stands between.
    """
    if name in LOCAL:
        return False
    if name not in SERVERS and not _is_plain_api(lm):
        return True
    url = str(getattr(lm, "base_url", None) or "")
    if not is_loopback(urlsplit(url).hostname or ""):
        return True
    return bool(import_module("requests.utils").get_environ_proxies(url))


def _is_plain_api(lm: Any) -> bool:
    """Whether the class sends by lm-eval's own two functions, which know no address but `base_url`."""
    api = import_module("lm_eval.models.api_models").TemplateAPI
    return isinstance(lm, api) and all(getattr(type(lm), m) is getattr(api, m) for m in ("model_call", "amodel_call"))


def _takes_messages(lm: Any) -> bool:
    """Whether the class speaks to a chat API, which takes messages and no text."""
    api = import_module("lm_eval.models.api_models").TemplateAPI
    if not isinstance(lm, api):
        return False
    try:
        payload = lm._create_payload([Message(role="user", content="a")], generate=True, gen_kwargs={})
    except (AssertionError, AttributeError, TypeError, ValueError):
        return False
    return "messages" in payload


def _renderer(lm: Any) -> Callable[[Sequence[Message]], str] | None:
    """How the class makes one text of messages, or None where it cannot."""

    def as_text(messages: Sequence[Message]) -> Any:
        return lm.apply_chat_template([dict(message) for message in messages])

    def as_json(messages: Sequence[Message]) -> str:
        return json.dumps(list(messages), ensure_ascii=False)

    if _takes_messages(lm):
        return as_json
    try:
        with _quiet():
            probe = as_text([Message(role="user", content="a")])
    # No such method, no tokenizer, no template in it, or a tokenizer that cannot be fetched.
    except (NotImplementedError, AttributeError, ValueError, TypeError, OSError, ImportError):
        return None
    return as_text if type(probe) is str else None


def _chat_string(text: str) -> Any:
    return import_module("lm_eval.models.api_models").JsonChatStr(text)


def _plain(context: Any) -> str:
    return str(getattr(context, "prompt", context))


def _tokenizer(lm: Any) -> Callable[[str], Sequence[int]] | None:
    """The class's tokenizer as a function, or None where it has none on this machine."""

    def tokens(text: str) -> Any:
        return lm.tok_encode(text)

    try:
        probe = tokens("a b")
    except (NotImplementedError, AttributeError, TypeError, ValueError, OSError):
        return None
    return tokens if isinstance(probe, list) and all(isinstance(token, int) for token in probe) else None


def _context_window(lm: Any, args: Mapping[str, str]) -> int | None:
    """The window that the class cuts prompts to, from the left, where the instruction stands; None without one.

    An API class that sends text does not cut and its own number is a default: there the user's alone counts.
    """
    api = import_module("lm_eval.models.api_models").TemplateAPI
    if isinstance(lm, api) and not lm.tokenized_requests and "max_length" not in args:
        return None
    try:
        window = getattr(lm, "max_length", None)
    except NotImplementedError:
        return None
    return window if isinstance(window, int) else None


def _at_once(lm: Any, remote: bool) -> int:
    connections = getattr(lm, "_concurrent", None)
    if connections is None:
        return 1 if remote else AT_ONCE_LOCAL
    return int(lm.batch_size if connections <= 1 else connections * AT_ONCE_PER_CONNECTION)


def _identity(name: str, args: Mapping[str, str], *, chat: bool) -> dict[str, Any] | None:
    """The class, its arguments, and the content of the folders among them.

    None, and so no caching, when the commit of something from a hub is not known.
    """
    sources: dict[str, Any] = {}
    for argument in SOURCES:
        if argument in args and (name in LOCAL or Path(args[argument]).is_dir()):
            sources[argument] = source_identity(args[argument], args.get("revision"))
    if None in sources.values():
        return None
    others = {key: text for key, text in args.items() if key not in TRANSPORT | {"at_once", "chat_template"}}
    return {"model": PREFIX + name, "chat": chat, **others, **sources}


def _status(failure: Exception | None) -> int | None:
    """The HTTP status in an error of `requests` or of `aiohttp`."""
    found = getattr(getattr(failure, "response", None), "status_code", None) or getattr(failure, "status", None)
    return found if isinstance(found, int) else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars, prints and logs of lm-eval and what it uses off the screen; logs may quote prompts."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
