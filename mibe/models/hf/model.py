"""A decoder-only model in the Hugging Face format, loaded by lm-eval and run in batches of our own.

lm-eval's own loops return nothing before the last request is done and keep neither finish reasons nor token counts.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import resolve_max_length
from transformers import GenerationConfig

from mibe.errors import ModelError
from mibe.models.base import NO_NUMBERS, ChoiceRequest, Request, Response, Sampling, TokenScores
from mibe.models.checkpoint import recommended_by
from mibe.models.hf.batches import (
    CPU_SLOTS,
    LARGEST_BATCH,
    Batcher,
    batch_that_fits,
    free_memory,
    keep_freed_memory,
    release_memory,
    slots_that_fit,
)
from mibe.models.hf.choosing import TAIL, Answers, Draw, answer_tables
from mibe.models.hf.endings import Endings
from mibe.models.hf.generation import Fault, Generated, Generator
from mibe.models.hf.grouping import group_by_head
from mibe.models.hf.identity import identity, sources
from mibe.models.hf.likelihood import score_choices, score_tokens
from mibe.models.hf.loading import load_engine, quiet
from mibe.models.hf.plain import Row, generate_batch, rows_of, score_batch, score_tokens_plainly
from mibe.models.hf.reader import LOGITS, Reader, text_config, uses_virtual_tokens
from mibe.models.identity import Hashing
from mibe.models.laid_out import TEMPLATED, LaidOut
from mibe.models.pairs import Pair, encode_pairs
from mibe.models.reasoning import reasoning_tokens, tell_apart, was_cut
from mibe.models.size import Size, size_of_module
from mibe.models.templates import check_template
from mibe.models.tokens import Encoder, added_before, end_tokens, window_problem, without_end
from mibe.parsers.reasoning import Format, opened_by

SAMPLED = frozenset({"temperature", "top_p", "top_k", "min_p", "seed", "close", "constrain"})
"""What the model can do beyond greedy text."""

TOO_LARGE = "out of memory for one prompt; use a smaller dtype or more GPUs"
"""What is said where a single prompt has no place."""

NO_LIMIT = 10**9
"""Tokenizers without a known limit report a number above this one."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One request on its way: its place, its tokens and what was asked."""

    index: int
    tokens: list[int]
    request: Request

    @property
    def opened(self) -> Format | None:
        """The reasoning that its prompt has opened."""
        return opened_by(self.request.text)


class HfModel(LaidOut):
    """A causal language model on this machine.

    `batch_size` None means as many as memory should hold. With `chat` the tokenizer's chat template renders the
    prompts, and nothing is added to the rendered text; plain prompts get what the tokenizer puts before a text.
    """

    is_remote = False
    recommended: Mapping[str, Any] | None
    """The sampling in the checkpoint's `generation_config`; None where it has none."""

    def __init__(
        self, engine: HFLM, *, name: str, identity: Mapping[str, Any] | None, batch_size: int | None, chat: bool
    ) -> None:
        super().__init__(engine.tokenizer, label=name, chat=chat)
        self.name = name
        self.identity = identity
        self._engine = engine
        self._model = engine.model
        self._end_tokens = end_tokens(engine.tokenizer, (engine.model.generation_config, engine.config), chat=chat)
        self._reader = Reader(engine.model)
        self._encoder = Encoder(engine.tokenizer, [] if chat else added_before(engine.tokenizer))
        self.context_window = context_window(engine)
        self.can = SAMPLED | TEMPLATED if chat else SAMPLED
        self._answers: dict[tuple[str, tuple[str, ...], bool], tuple[Answers, dict[str, Answers]]] = {}
        own = engine.model.generation_config
        self.recommended = None if own is None else recommended_by(own.to_diff_dict())
        self._by_memory = batch_size is None
        if engine.device.type == "cpu":
            keep_freed_memory()
        self._batches = Batcher(batch_size or LARGEST_BATCH)
        # The settings a checkpoint comes with (sampling, penalties) would make "greedy" something else for each model.
        self._model.generation_config = GenerationConfig(
            eos_token_id=self._end_tokens or None,
            pad_token_id=self._tokenizer.pad_token_id,
            bos_token_id=self._tokenizer.bos_token_id,
        )

    @classmethod
    def open(cls, name: str, values: Mapping[str, Any]) -> HfModel:
        """Load the model that the converted arguments of `mibe.models.hf` describe. Raises `ModelError`."""
        with Hashing(sources(values).values()) as hashing:
            engine = load_engine(values)
            chat = values.get("chat_template", True) and bool(getattr(engine.tokenizer, "chat_template", None))
            if chat:
                check_template(engine.tokenizer, name=name)
            known = identity(engine, values, chat=chat, identify=hashing.identity)
        return cls(
            engine,
            name=name,
            identity=known,
            batch_size=values.get("batch_size"),
            chat=chat,
        )

    @classmethod
    def wrap(cls, model: Any, tokenizer: Any, *, name: str, batch_size: int) -> HfModel:
        """A model in memory, without an identity and so without a cache. See `mibe.models.hf.from_loaded`."""
        with quiet():
            engine = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
        chat = bool(getattr(engine.tokenizer, "chat_template", None))
        return cls(engine, name=name, identity=None, batch_size=batch_size, chat=chat)

    @property
    def size(self) -> Size | None:
        """Its weights, counted; None where they are packed."""
        return size_of_module(self._model)

    def count_tokens(self, text: str) -> int:
        """Exact number of tokens of a rendered prompt."""
        return len(self._encoder.whole([text])[0])

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield responses as each is ready: those with the longest prompts begin.

        A request that does not fit the context window, or alone does not fit memory, is an error response.
        """
        groups: dict[Sampling, list[_Job]] = defaultdict(list)
        encoded = self._encoder.whole([request.text for request in requests])
        for index, (request, tokens) in enumerate(zip(requests, encoded, strict=True)):
            job = _Job(index, tokens, request)
            if problem := window_problem(len(tokens), request.sampling.room, self.context_window):
                yield index, _failed(job, problem)
            else:
                # What is a row's own does not part it from the others.
                groups[replace(request.sampling, seed=0, allowed=())].append(job)
        for sampling, jobs in groups.items():
            room = self._reader.limit - Endings(self._tokenizer, sampling, self._end_tokens).room
            for run, some in (
                (self._generate, [job for job in jobs if len(job.tokens) <= room]),
                (self._generate_plainly, [job for job in jobs if len(job.tokens) > room]),
            ):
                yield from run(sorted(some, key=lambda job: -len(job.tokens)), sampling)

    def _generate(self, jobs: Sequence[_Job], sampling: Sampling) -> Iterator[tuple[int, Response]]:
        if not jobs:
            return
        endings = Endings(self._tokenizer, sampling, self._end_tokens)
        most = max(Counter(tuple(job.tokens) for job in jobs).values())
        generator = Generator(
            self._reader,
            endings,
            sampling,
            self._batches,
            slots=self._slots(len(jobs[0].tokens) + endings.room, endings.room, most),
            within=self._ready,
            opened=[job.opened for job in jobs],
        )
        for ended, seconds in generator.run([job.tokens for job in jobs], [self._draw(job) for job in jobs]):
            for number, row in ended:
                yield jobs[number].index, self._response(jobs[number], row, seconds / len(ended))

    def _generate_plainly(self, jobs: Sequence[_Job], sampling: Sampling) -> Iterator[tuple[int, Response]]:
        endings = Endings(self._tokenizer, sampling, self._end_tokens)

        def work(batch: Sequence[_Job]) -> tuple[list[Generated | Fault], float]:
            start = time.perf_counter()
            with self._ready():
                prompts = [job.tokens for job in batch]
                opened = [job.opened for job in batch]
                draws = [self._draw(job) for job in batch]
                rows = generate_batch(
                    self._model, prompts, draws, sampling, endings, self._tokenizer.pad_token_id, opened
                )
            took = time.perf_counter() - start
            whole = [replace(row, latency=took) if isinstance(row, Generated) else row for row in rows]
            return whole, took / len(batch)

        for batch, result in self._batches.run(jobs, work, lambda job: self._fit(len(job.tokens) + endings.room)):
            rows: Sequence[Generated | Fault] = ["memory"] * len(batch) if result is None else result[0]
            seconds = 0.0 if result is None else result[1]
            for job, row in zip(batch, rows, strict=True):
                yield job.index, self._response(job, row, seconds)

    def _draw(self, job: _Job) -> Draw:
        sampling = job.request.sampling
        if not sampling.allowed:
            return Draw(sampling.seed)
        key = job.request.text[-TAIL:], sampling.allowed, sampling.thinking_budget is None
        if key not in self._answers:
            self._answers[key] = answer_tables(
                job.request, self.reasoning, self._encoder.bare, self._end_tokens, chat=self.is_chat
            )
        return Draw(sampling.seed, *self._answers[key])

    def _response(self, job: _Job, row: Generated | Fault, seconds: float) -> Response:
        if row == "memory":
            return _failed(job, "out of memory, even alone in a batch")
        if row == "logits":
            return _failed(job, f"the model's logits are {NO_NUMBERS}")
        whole = self._decode(without_end(row.tokens, self._end_tokens))
        text, answer_at = tell_apart(whole, job.opened, job.request.sampling.stop)
        return Response(
            text=text,
            finish_reason=row.finish_reason,
            prompt_tokens=len(job.tokens),
            new_tokens=len(row.tokens),
            seconds=seconds,
            reasoning_tokens=reasoning_tokens(row.tokens, answer_at, job.request.sampling, self._decode),
            answer_at=answer_at,
            budget_cut=row.was_cut or was_cut(row.finish_reason, answer_at),
            latency=row.latency,
            first_token=row.first_token,
        )

    def _decode(self, tokens: Sequence[int]) -> str:
        """The text of new tokens, marks that are special tokens included."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield the log-likelihoods request by request; prompts with a common beginning follow each other.

        Raises `ModelError` when a prompt with its continuation does not fit the context window, or alone does not
        fit memory, or when an adapter with virtual tokens shifts all positions.
        """
        if uses_virtual_tokens(self._model):
            raise ModelError(f"{self.name}: prompt and prefix tuning can be scored by generation alone")
        pairs = [self._pairs(request) for request in requests]
        longest = max((len(pair.input) for choices in pairs for pair in choices), default=0)
        yield from ((index, ()) for index, choices in enumerate(pairs) if not choices)
        score = self._score if longest <= self._reader.limit else self._score_plainly
        yield from score(pairs, longest)

    def _score(self, pairs: Sequence[Sequence[Pair]], longest: int) -> Iterator[tuple[int, tuple[float, ...]]]:
        asked = [index for index, choices in enumerate(pairs) if choices]
        slots = self._slots(longest)
        for group in group_by_head([pairs[index][0].context[:-1] for index in asked]):

            def work(batch: Sequence[int], head: int = group.head) -> list[list[float]]:
                with self._ready():
                    return score_choices(self._reader, [pairs[index] for index in batch], head)

            members = [asked[number] for number in group.members]
            for batch, result in self._batches.run(members, work, lambda index: slots // _tokens(pairs[index])):
                for index, values in zip(batch, self._scores(result), strict=True):
                    yield index, tuple(values)

    def _score_plainly(self, pairs: Sequence[Sequence[Pair]], _: int) -> Iterator[tuple[int, tuple[float, ...]]]:
        done: dict[int, dict[int, float]] = defaultdict(dict)

        def work(batch: Sequence[Row]) -> list[list[float]]:
            with self._ready():
                return score_batch(self._model, [[pairs[index][number] for number in some] for index, some in batch])

        for batch, result in self._batches.run(
            rows_of(pairs), work, lambda row: self._fit(len(pairs[row[0]][row[1][0]].input))
        ):
            for (index, choices), values in zip(batch, self._scores(result), strict=True):
                done[index].update(zip(choices, values, strict=True))
                if len(done[index]) == len(pairs[index]):
                    found = done.pop(index)
                    yield index, tuple(found[choice] for choice in range(len(found)))

    def _scores(self, result: Sequence[Sequence[float]] | None) -> Sequence[Sequence[float]]:
        if result is None:
            raise ModelError(f"{self.name}: {TOO_LARGE}")
        return result

    def read_tokens(self, texts: Sequence[str]) -> Iterator[tuple[int, TokenScores]]:
        """Yield the scores of the tokens of each text, longest texts first, as the tokenizer has them.

        Raises `ModelError` as `loglikelihood` does.
        """
        if uses_virtual_tokens(self._model):
            raise ModelError(f"{self.name}: prompt and prefix tuning can be scored by generation alone")
        tokens = Encoder(self._tokenizer, added_before(self._tokenizer)).whole(texts)
        longest = max(map(len, tokens), default=0)
        if problem := window_problem(max(1, longest), 0, self.context_window):
            raise ModelError(problem)
        plainly = longest > self._reader.limit
        # All logits of a batch are held at once.
        most: int = LOGITS // text_config(self._model).vocab_size

        def fit(index: int) -> int:
            return min(self._fit(len(tokens[index])), most // len(tokens[index]))

        def work(batch: Sequence[int]) -> list[TokenScores]:
            with self._ready():
                some = [tokens[index] for index in batch]
                return score_tokens_plainly(self._model, some) if plainly else score_tokens(self._reader, some)

        # A first token has nothing before it.
        yield from ((index, TokenScores((), (), ())) for index, text in enumerate(tokens) if len(text) < 2)
        longer = [index for index, text in enumerate(tokens) if len(text) > 1]
        order = sorted(longer, key=lambda index: -len(tokens[index]))
        for batch, result in self._batches.run(order, work, fit):
            if result is None:
                raise ModelError(f"{self.name}: {TOO_LARGE}")
            yield from zip(batch, result, strict=True)

    def _pairs(self, request: ChoiceRequest) -> list[Pair]:
        try:
            pairs = encode_pairs(
                request.text,
                request.continuations,
                self._encoder.whole,
                self._encoder.bare,
                self._engine.prefix_token_id,
            )
        except ValueError as error:
            raise ModelError(str(error)) from None
        if problem := window_problem(max((len(pair.input) for pair in pairs), default=1), 0, self.context_window):
            raise ModelError(problem)
        return pairs

    def _slots(self, longest: int, room: int = 0, draws: int = 1) -> int:
        """Tokens of prompts and outputs that a batch may hold; no bound but its rows for a fixed batch size.

        `room` are the tokens of an output, `longest` those of the longest prompt with it, and `draws` the most of one
        prompt.
        """
        if not self._by_memory:
            return self._batches.limit * longest
        on_cpu = self._engine.device.type != "cuda"
        return slots_that_fit(self._free(), room, draws, self._engine.config, self._model.dtype.itemsize, on_cpu=on_cpu)

    def _fit(self, tokens: int) -> int:
        """How many sequences like this one, read at once, should fit the memory that is free now."""
        if not self._by_memory:
            return self._batches.limit
        most = LARGEST_BATCH if self._engine.device.type == "cuda" else max(1, CPU_SLOTS // tokens)
        return min(most, batch_that_fits(self._free(), tokens, self._engine.config, self._model.dtype.itemsize))

    def _free(self) -> int:
        if self._engine.device.type == "cuda":
            release_memory()
        return free_memory({parameter.device for parameter in self._model.parameters()})

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """What the model runs in: its precision, no gradients, and no messages of other libraries."""
        with quiet(), self._precision(), torch.inference_mode():
            yield

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        dtype = self._engine.mixed_precision_dtype
        precision: contextlib.AbstractContextManager[Any] = torch.autocast(
            self._engine.device.type, dtype=dtype, enabled=dtype is not None
        )
        return precision

    def device_memory_peak(self) -> int | None:
        """Peak bytes over all CUDA devices of this process, or None without one."""
        if self._engine.device.type != "cuda":
            return None
        peaks: list[int] = [torch.cuda.max_memory_allocated(number) for number in range(torch.cuda.device_count())]
        return sum(peaks)

    def close(self) -> None:
        """Free the weights; the model cannot be used afterwards."""
        self.__dict__.pop("_engine", None)
        self.__dict__.pop("_model", None)
        self.__dict__.pop("_reader", None)
        gc.collect()
        release_memory()


def _tokens(pairs: Sequence[Pair]) -> int:
    """Tokens held while a request is scored: its context, and a copy for each continuation of several tokens."""
    return len(pairs[0].context) + sum(len(pair.input) for pair in pairs if len(pair.continuation) > 1)


def _failed(job: _Job, reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason, prompt_tokens=len(job.tokens))


def context_window(engine: HFLM) -> int | None:
    """Tokens of prompt and output together: the argument `max_length`, or what configuration or tokenizer say."""
    window: int = engine._max_length or resolve_max_length(engine.config, engine.tokenizer, default=NO_LIMIT)
    return window if window < NO_LIMIT else None
