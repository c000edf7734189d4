"""A decoder-only model run by vLLM."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from mibe.errors import ModelError
from mibe.models.base import ChoiceRequest, Request, Response, Sampling
from mibe.models.checkpoint import recommended_by
from mibe.models.finish import finish_of, not_an_end
from mibe.models.identity import Hashing
from mibe.models.laid_out import TEMPLATED, LaidOut
from mibe.models.pairs import Pair, encode_pairs
from mibe.models.reasoning import (
    answer_texts,
    reasoning_tokens,
    tell_apart,
    was_cut,
    within_limits,
)
from mibe.models.size import Size, size_of_config
from mibe.models.streaming import chunks
from mibe.models.templates import check_template
from mibe.models.tokens import Encoder, added_before, check_vocabulary, end_tokens, window_problem, without_end
from mibe.models.vllm.engine import Engine, Job, engine_arguments
from mibe.models.vllm.identity import identity, sources
from mibe.parsers.reasoning import Format, opened_by, under_way

K = TypeVar("K")

ENCODED = 64
"""Prompts that the tokenizer gets at once: it works on them side by side."""

SAMPLED = frozenset({"temperature", "top_p", "top_k", "min_p", "seed", "close", "constrain"})
"""What the engine can do beyond greedy text."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request on its way: its caller's key, the tokens of its prompt, and those that are there of its output.

    `begun` is a reasoning that met its budget and was closed.
    """

    key: Any
    request: Request
    prompt: list[int]
    begun: Sequence[int] = ()

    @property
    def opened(self) -> Format | None:
        """The reasoning that its prompt has opened."""
        return opened_by(self.request.text)


class VllmModel(LaidOut):
    """A causal language model run by vLLM, prompted exactly as `hf` prompts it.

    With `chat` the tokenizer's chat template renders the prompts, and nothing is added to the rendered text; plain
    prompts get what the tokenizer puts before a text. Prompts go to the engine as token ids.
    """

    is_remote = False
    recommended: Mapping[str, Any] | None
    """The sampling in the checkpoint's `generation_config`; None where it has none."""
    chunk_size = 8192
    """For likelihoods: at each end of a chunk the engine runs half empty until the last answer is there."""

    def __init__(self, engine: Engine, *, name: str, identity: Mapping[str, Any] | None, chat: bool) -> None:
        super().__init__(engine.tokenizer, label=name, chat=chat)
        self.name = name
        self.identity = identity
        self._engine = engine
        self.recommended = recommended_by(engine.config.try_get_generation_config())
        self._encoder = Encoder(self._tokenizer, [] if chat else added_before(self._tokenizer))
        self._end_tokens = end_tokens(self._tokenizer, configurations(engine.config), chat=chat)
        self.context_window: int | None = engine.config.max_model_len

    @classmethod
    def open(cls, name: str, values: Mapping[str, Any], engine_args: Mapping[str, str]) -> VllmModel:
        """Start vLLM on the model that the arguments of `mibe.models.vllm` describe.

        Raises `UsageError` for arguments that vLLM does not take and `ModelError` when it cannot load the model.
        """
        lora = values.get("lora")
        arguments = engine_arguments(values["pretrained"], lora, engine_args)
        with Hashing(sources(values, engine_args).values()) as hashing:
            engine = Engine.start(arguments, lora)
            chat = values.get("chat_template", True) and bool(getattr(engine.tokenizer, "chat_template", None))
            try:
                check_vocabulary(engine.tokenizer, engine.config.get_vocab_size(), values["pretrained"])
                if chat:
                    check_template(engine.tokenizer, name=name)
                template = engine.tokenizer.get_chat_template() if chat else None
                known = identity(engine.config, values, engine_args, template, hashing.identity)
            except ModelError:
                engine.shutdown()
                raise
        return cls(engine, name=name, identity=known, chat=chat)

    @property
    def can(self) -> frozenset[str]:
        """What can be asked for. Without a parser of reasoning the engine would hold all of a text to the answers."""
        can = SAMPLED | TEMPLATED if self.is_chat else SAMPLED
        return can if self.reasoning is None or self._engine.parses_reasoning else can - {"constrain"}

    @property
    def size(self) -> Size | None:
        """Its weights, counted by its configuration: they lie in the engine's processes."""
        config = self._engine.config
        return size_of_config(config.hf_config, itemsize=None if config.quantization else config.dtype.itemsize)

    def count_tokens(self, text: str) -> int:
        """Exact number of tokens of a rendered prompt."""
        return len(self._encoder.whole([text])[0])

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) as `stream` does."""
        return self.stream(enumerate(requests))

    def stream(self, requests: Iterator[tuple[K, Request]]) -> Iterator[tuple[K, Response]]:
        """Yield (key, response) as the engine finishes them.

        A request that does not fit the context window, or that the engine refuses, is an error response; `seconds`
        is the time since the response before it. The engine knows one limit, the sum of both rooms: each of them is
        kept here, and reasoning that is to be closed at its budget is read again, closed, for the answer alone.
        """
        refused: list[tuple[K, Response]] = []
        again: deque[Job] = deque()
        before = time.perf_counter()
        for job, output in self._answers(requests, refused, again):
            while refused:
                yield refused.pop()
            asked: _Asked = job.key
            if begun := self._closed(asked, output):
                params = self._params(replace(asked.request.sampling, thinking_budget=None))
                again.append(Job(replace(asked, begun=begun), [*asked.prompt, *begun], params))
                continue
            now = time.perf_counter()
            response = self._response(asked, output, seconds=now - before)
            # What was closed and read again had the engine twice: how long one reading took is not its latency.
            yield asked.key, response if asked.begun else replace(response, latency=job.seconds)
            before = now
        yield from refused

    def _answers(
        self, requests: Iterator[tuple[K, Request]], refused: list[tuple[K, Response]], again: deque[Job]
    ) -> Iterator[tuple[Job, Any]]:
        """The engine's outputs: of the requests, and of what is put into `again` meanwhile, until both are empty."""
        yield from self._engine.run(self._jobs(requests, refused, again))
        while again:
            yield from self._engine.run([again.popleft() for _ in range(len(again))])

    def _jobs(
        self, requests: Iterator[tuple[K, Request]], refused: list[tuple[K, Response]], again: deque[Job]
    ) -> Iterator[Job]:
        """The requests as the engine wants them; those that do not fit the context window go to `refused`."""
        for chunk in chunks(requests, ENCODED):
            encoded = self._encoder.whole([request.text for _, request in chunk])
            for (key, request), tokens in zip(chunk, encoded, strict=True):
                if problem := window_problem(len(tokens), request.sampling.room, self.context_window):
                    refused.append((key, _failed(tokens, problem)))
                else:
                    yield Job(_Asked(key, request, tokens), tokens, self._params(request.sampling))
                while again:
                    yield again.popleft()

    def _closed(self, asked: _Asked, output: Any) -> list[int] | None:
        """The tokens of a reasoning that met its budget, with the closing mark that ends them within it; else None."""
        sampling = asked.request.sampling
        if isinstance(output, str) or sampling.thinking_budget is None or sampling.at_budget != "close" or asked.begun:
            return None
        completion = output.outputs[0]
        reason = finish_of(str(completion.finish_reason))
        if reason is None:
            return None
        found = within_limits(completion.token_ids, reason, sampling, asked.opened, self._decode)
        form = under_way(self._decode(found.tokens), asked.opened)
        if not found.cut or form is None:
            return None
        (mark,) = self._encoder.bare([form.closing])
        return [*found.tokens[: max(0, sampling.thinking_budget - len(mark))], *mark]

    def _params(self, sampling: Sampling) -> SamplingParams:
        # A stop string ends an answer; the engine would end a reasoning at it.
        stop = [text for text in sampling.stop if text and sampling.thinking_budget is None]
        choices = self._choices(sampling.allowed) if sampling.allowed else []
        return SamplingParams(
            max_tokens=sampling.room,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            seed=sampling.seed,
            stop=stop,
            stop_token_ids=self._end_tokens,
            # The text is made from the tokens afterwards, as `hf` makes it; while it grows only stop strings need it.
            detokenize=bool(stop),
            structured_outputs=StructuredOutputsParams(choice=choices) if choices else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _choices(self, allowed: Sequence[str]) -> list[str]:
        behind = [f"\n\n{text}" for text in allowed] if self._engine.parses_reasoning else []
        return [*answer_texts(allowed, chat=self.is_chat), *behind]

    def _response(self, asked: _Asked, output: Any, *, seconds: float) -> Response:
        """The response in an output of the engine."""
        sampling, prompt, begun = asked.request.sampling, asked.prompt, asked.begun
        if isinstance(output, str):
            return _failed(prompt, output)
        completion = output.outputs[0]
        said = str(completion.finish_reason)
        reason = finish_of(said)
        if reason is None:
            return _failed(prompt, not_an_end(said))
        tokens = [*begun, *completion.token_ids]
        cut = bool(begun)
        if sampling.thinking_budget is not None and not begun:
            found = within_limits(tokens, reason, sampling, asked.opened, self._decode)
            tokens, reason, cut = found.tokens, found.finish_reason, found.cut
        whole = self._decode(without_end(tokens, self._end_tokens))
        text, answer_at = tell_apart(whole, asked.opened, sampling.stop)
        return Response(
            text=text,
            # The engine was not told of stop strings where there is a budget.
            finish_reason="stop" if len(text) < len(whole) else reason,
            prompt_tokens=len(prompt),
            new_tokens=len(tokens),
            seconds=seconds,
            reasoning_tokens=reasoning_tokens(tokens, answer_at, sampling, self._decode),
            answer_at=answer_at,
            budget_cut=cut or was_cut(reason, answer_at),
        )

    def _decode(self, tokens: Sequence[int]) -> str:
        """The text of new tokens, marks that are special tokens included."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield the log-likelihoods of each request when all its continuations are scored.

        Raises `ModelError` when a prompt with its continuation does not fit the context window.
        """
        owners: list[tuple[int, int, Pair]] = []
        for index, request in enumerate(requests):
            pairs = self._pairs(request)
            if not pairs:
                yield index, ()
            owners += [(index, choice, pair) for choice, pair in enumerate(pairs)]
        params = SamplingParams(
            max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        jobs = [Job(number, [*p.context, *p.continuation], params) for number, (_, _, p) in enumerate(owners)]
        found: dict[int, dict[int, float]] = {}
        for job, output in self._engine.run(jobs):
            if isinstance(output, str):
                raise ModelError(f"{self.name}: vLLM could not score a prompt: {output}", said=output)
            index, choice, pair = owners[job.key]
            values = found.setdefault(index, {})
            values[choice] = _continuation(output.prompt_logprobs, pair)
            if len(values) == len(requests[index].continuations):
                done = found.pop(index)
                yield index, tuple(done[choice] for choice in range(len(done)))

    def _pairs(self, request: ChoiceRequest) -> list[Pair]:
        start = self._tokenizer.bos_token_id
        prefix = start if start is not None else self._tokenizer.eos_token_id
        try:
            pairs = encode_pairs(request.text, request.continuations, self._encoder.whole, self._encoder.bare, prefix)
        except ValueError as error:
            raise ModelError(str(error)) from None
        longest = max((len(pair.context) + len(pair.continuation) for pair in pairs), default=1)
        # The engine cannot score without generating one token more.
        if problem := window_problem(longest, 1, self.context_window):
            raise ModelError(problem)
        return pairs

    def device_memory_peak(self) -> int | None:
        """Bytes in use on this machine's CUDA devices, or None without one.

        vLLM takes all that it will use when it starts, in processes of its own; what others use counts in.
        """
        if not torch.cuda.is_available():
            return None
        memory: list[tuple[int, int]] = [torch.cuda.mem_get_info(number) for number in range(torch.cuda.device_count())]
        return sum(total - free for free, total in memory)

    def close(self) -> None:
        """End the engine and its processes; the model cannot be used afterwards."""
        engine = self.__dict__.pop("_engine", None)
        if engine is not None:
            engine.shutdown()


def configurations(config: Any) -> list[Any]:
    """Where a model's end tokens may stand: its configuration for generation, and its own."""
    return [SimpleNamespace(**config.try_get_generation_config()), config.hf_config]


def _continuation(prompt_logprobs: Sequence[Mapping[int, Any] | None], pair: Pair) -> float:
    """Sum over a continuation's tokens of what vLLM reports for each token of the prompt."""
    last = prompt_logprobs[-len(pair.continuation) :]
    values: list[float] = [at[token].logprob for at, token in zip(last, pair.continuation, strict=True) if at]
    return sum(values)


def _failed(tokens: Sequence[int], reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason, prompt_tokens=len(tokens))
