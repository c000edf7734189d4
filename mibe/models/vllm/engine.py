"""vLLM's engine: its arguments from text, its start without noise, its requests to their ends.

The engine is `AsyncLLM`, on which vLLM's own server stands: it spreads requests over data-parallel replicas, which
`LLM` refuses to do, and gives each output when it is ready, where `LLM.generate` returns all of them at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NoReturn

from pydantic import ValidationError
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.lora.request import LoRARequest
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.outputs import RequestOutput
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from mibe.errors import ModelError, UsageError, unknown
from mibe.models.arguments import check_names, switch
from mibe.models.event_loop import EventLoop
from mibe.models.text import one_line
from mibe.models.vllm.arguments import ENVIRONMENT, OWN

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `max_lora_rank` may be."""

WINDOW = 8192
"""Requests in the engine at once: more than it ever runs side by side, so that it never waits for one."""

READY = 256
"""Requests that lie ready outside, for the moments in which whoever builds them is busy with something else."""

WATCH = 1.0
"""Seconds between looks at an engine process that may have been killed; vLLM tells nobody who waits."""

_FAILURE = re.compile(r"\b((?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Interrupt): .+)")


@dataclass(frozen=True, slots=True)
class Job:
    """One request to the engine: what it is known by, the tokens of its prompt, what is asked.

    `seconds` is how long the engine had it, once there is an output.
    """

    key: Any
    tokens: list[int]
    params: SamplingParams
    seconds: float | None = None


class Engine:
    """A running engine and the adapter that its requests use, if any."""

    def __init__(self, llm: AsyncLLM, lora: LoRARequest | None, log: IO[str]) -> None:
        self._llm = llm
        self._lora = lora
        self._log = log
        self._loop = EventLoop("vllm")
        self._asked = 0

    @classmethod
    def start(cls, arguments: AsyncEngineArgs, lora: str | None) -> Engine:
        """Start the engine's processes and load the weights. Raises `ModelError`, in one line, when that fails."""
        with _log_of_children() as log:
            try:
                llm = AsyncLLM.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)
            except ValidationError as error:
                reason = " ".join("; ".join(detail["msg"] for detail in error.errors()).split())
                raise ModelError(f"vLLM cannot load {arguments.model}: {reason[:500]}") from error
            # What goes wrong in the engine's processes is a RuntimeError here; their log says more.
            except (ValueError, RuntimeError, OSError, ImportError, AssertionError, KeyError, TypeError) as error:
                reason = _root_cause(log) or one_line(error)
                raise ModelError(f"vLLM cannot load {arguments.model}: {reason}") from error
        engine = cls(llm, None if lora is None else LoRARequest("adapter", 1, lora), log)
        engine._add_adapter()
        return engine

    def _add_adapter(self) -> None:
        """Load the adapter now: vLLM would find out with the first request, and each of them would fail."""
        if self._lora is None:
            return
        try:
            self._loop.run(self._llm.add_lora(self._lora))
        # Whatever the engine's process raised arrives as a plain Exception.
        except Exception as error:
            self.shutdown()
            raise ModelError(f"vLLM cannot load lora={self._lora.lora_path}: {one_line(error)}") from error

    @property
    def config(self) -> Any:
        """vLLM's configuration of the model: `hf_config`, `dtype`, `quantization`, `max_model_len`."""
        return self._llm.model_config

    @property
    def parses_reasoning(self) -> bool:
        """Whether the engine tells reasoning from answers, and holds only these to the answers allowed."""
        return bool(self._llm.vllm_config.structured_outputs_config.reasoning_parser)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._llm.get_tokenizer()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, RequestOutput | str]]:
        """Yield each job with its output as soon as it is finished, or with the reason why there is none.

        The next job is asked for when the engine has room. Raises `ModelError` when the engine dies. What is still
        running when the caller stops is aborted.
        """
        try:
            yield from self._loop.pipe(jobs, self._answer_all, ahead=READY)
        except EngineDeadError as error:
            raise self._death() from error

    async def _answer_all(
        self, jobs: AsyncIterator[Job], put: Callable[[tuple[Job, RequestOutput | str]], None]
    ) -> None:
        room = asyncio.Semaphore(WINDOW)
        try:
            # Whoever stops early finds the engine idle: a group ends when its tasks did, and each request aborts
            # itself when it is cancelled.
            async with asyncio.TaskGroup() as guarded:
                watch = guarded.create_task(self._watch())
                async with asyncio.TaskGroup() as running:
                    async for job in jobs:
                        await room.acquire()
                        running.create_task(self._answer(job, put)).add_done_callback(lambda _: room.release())
                watch.cancel()
        except ExceptionGroup as errors:
            raise _first(errors) from None

    async def _answer(self, job: Job, put: Callable[[tuple[Job, RequestOutput | str]], None]) -> None:
        self._asked += 1
        prompt = {"prompt_token_ids": job.tokens}
        begun = time.perf_counter()
        answers = self._llm.generate(prompt, job.params, str(self._asked), lora_request=self._lora)
        try:
            (output,) = [answer async for answer in answers]
        except (EngineGenerateError, VLLMClientError, ValueError) as error:
            put((job, one_line(error.__cause__ or error)))
        else:
            put((replace(job, seconds=time.perf_counter() - begun), output))

    async def _watch(self) -> NoReturn:
        while not self._llm.errored:
            await asyncio.sleep(WATCH)
        raise EngineDeadError

    def _death(self) -> ModelError:
        reason = _root_cause(self._log) or "its process ended without a word, as one that is killed for memory does"
        return ModelError(
            f"vLLM's engine died: {reason}. Every response so far is kept; the same command goes on from there",
            said=reason,
        )

    def shutdown(self) -> None:
        """End the engine's processes and free what they hold."""
        # vLLM's reader of outputs takes the end of the engine for its death, and says so on the screen.
        if self._llm.output_handler is not None:
            self._loop.run(_cancelled(self._llm.output_handler))
        self._llm.shutdown()
        self._loop.close()
        self._log.close()


def _first(error: Exception) -> Exception:
    """The first of the errors in a group, groups within it included."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait((task,))


def engine_arguments(pretrained: str, lora: str | None, args: Mapping[str, str]) -> AsyncEngineArgs:
    """vLLM's arguments from text, read as its command line reads them (`compilation_config.mode=0` too).

    Raises `UsageError` for an unknown name or quantisation, with the nearest ones, and for a value that vLLM refuses.
    """
    parser = AsyncEngineArgs.add_cli_args(_Parser(add_help=False))
    actions = {action.dest: action for action in parser._actions}
    # The model is `pretrained`, as everywhere; keys belong into the environment, for commands are recorded.
    known = ({*actions, *OWN}) - {"model", "hf_token"}
    check_names("vllm", (name.partition(".")[0] for name in args), known)
    method = args.get("quantization")
    if method is not None and method not in QUANTIZATION_METHODS:
        raise unknown("quantization of the model 'vllm'", method, QUANTIZATION_METHODS)
    words = [f"--model={pretrained}", "--disable-log-stats", "--no-use-tqdm-on-load"]
    if lora is not None:
        words += ["--enable-lora", f"--max-lora-rank={_lora_rank(Path(lora))}"]
    return AsyncEngineArgs.from_cli_args(
        parser.parse_args([*words, *(_word(actions.get(name), name, text) for name, text in args.items())])
    )


class _Parser(FlexibleArgumentParser):  # type: ignore[misc]
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"arguments of the model 'vllm': {' '.join(message.split())[:300]}")


def _word(action: argparse.Action | None, name: str, text: str) -> str:
    """One argument as a word of vLLM's command line."""
    head, dot, key = name.partition(".")
    option = head.replace("_", "-") + dot + key
    if not isinstance(action, argparse.BooleanOptionalAction):
        return f"--{option}={text}"
    try:
        return f"--{option}" if switch(text) else f"--no-{option}"
    except ValueError as error:
        raise UsageError(f"argument {name}={text} of the model 'vllm': {error}") from None


def _lora_rank(folder: Path) -> int:
    """The rank to make room for: the adapter's own, or the next that vLLM has. Raises `ModelError`."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        own = max([config["r"], *config.get("rank_pattern", {}).values()])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"lora={folder} holds no LoRA adapter: {one_line(error)}") from error
    rank = next((rank for rank in LORA_RANKS if rank >= own), None)
    if rank is None:
        raise ModelError(f"lora={folder} has rank {own}, and vLLM takes at most {LORA_RANKS[-1]}; merge it instead")
    return rank


@contextmanager
def _log_of_children() -> Iterator[IO[str]]:
    """A file that processes started meanwhile write their standard output and error to, for as long as they live.

    Libraries in compiled code print there as well, which no logging level keeps off the screen. Whoever sets vLLM's
    own logging level wants to see it, and gets it on standard error.
    """
    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (the engine reads it until it ends)
    shown = os.environ["VLLM_LOGGING_LEVEL"] != ENVIRONMENT["VLLM_LOGGING_LEVEL"]
    logging.getLogger("vllm").setLevel(logging.NOTSET if shown else logging.CRITICAL)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    try:
        os.dup2(2 if shown else log.fileno(), 1)
        os.dup2(2 if shown else log.fileno(), 2)
        yield log
    finally:
        for number, stream in enumerate(before, start=1):
            os.dup2(stream, number)
            os.close(stream)


def _root_cause(log: IO[str]) -> str | None:
    """The first error in the log of the engine's processes; what follows it only says that something failed."""
    log.seek(0)
    found = (match[1] for line in log if (match := _FAILURE.search(line)))
    return next((text[:300] for text in found if "root cause" not in text), None)
