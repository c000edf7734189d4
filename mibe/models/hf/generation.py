"""Greedy or sampled text for many prompts: each row of the running batch ends on its own, and others take its place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from mibe.models.base import FinishReason, Sampling
from mibe.models.hf.batches import Batcher, is_out_of_memory, release_memory
from mibe.models.hf.choosing import Chooser, Draw
from mibe.models.hf.endings import Endings, Written
from mibe.models.hf.grouping import group_by_head
from mibe.models.hf.reader import Reader
from mibe.models.hf.slots import Part, Rows, merge
from mibe.parsers.reasoning import Format


@dataclass(frozen=True, slots=True)
class Generated:
    """New tokens of one prompt, up to and with the one that ended it, and why it ended there.

    `was_cut` says that a budget ended its reasoning.
    """

    tokens: list[int]
    finish_reason: FinishReason
    was_cut: bool = False

    @classmethod
    def of(cls, written: Written, reason: FinishReason) -> Generated:
        """What a row has written, now that it is over."""
        return cls(written.tokens, reason, written.was_cut)


Ended = tuple[int, Generated | None]
"""Number of a prompt and what came after it; None where it does not fit memory, even alone."""


@dataclass(slots=True)
class _Line:
    """One row of the running batch: the number of its prompt, the slots it fills, its own dice, what it has written."""

    index: int
    prompt_length: int
    slots: int
    draw: Draw
    dice: torch.Generator
    written: Written
    is_over: bool = False

    @property
    def tokens(self) -> list[int]:
        """Its new tokens."""
        return self.written.tokens


class Generator:
    """Runs prompts (token ids) through the model in one batch that rows leave and join as it goes on.

    At most `batches.limit` rows are in the batch, and no more than `slots` tokens of prompts and outputs. Prompts join
    by groups with a common head, which is read once, as soon as a whole group or a quarter of the batch fits in. When
    memory runs out, everything unfinished starts anew with half as many rows. `within` is entered for all work, and
    brings `torch.inference_mode`. `opened` is the reasoning that each prompt has opened; () for none.
    """

    def __init__(
        self,
        reader: Reader,
        endings: Endings,
        sampling: Sampling,
        batches: Batcher,
        *,
        slots: int,
        within: Callable[[], AbstractContextManager[Any]],
        opened: Sequence[Format | None] = (),
    ) -> None:
        self._reader = reader
        self._endings = endings
        self._sampling = sampling
        self._chooser = Chooser(sampling)
        self._batches = batches
        self._slots = slots
        self._within = within
        self._opened = opened
        self._prompts: Sequence[Sequence[int]] = ()
        self._draws: Sequence[Draw] = ()
        self._left: set[int] = set()
        self._groups: deque[tuple[int, deque[int]]] = deque()
        self._joining: list[int] = []
        self._rows: Rows | None = None
        self._lines: list[_Line] = []

    def run(self, prompts: Sequence[Sequence[int]], draws: Sequence[Draw]) -> Iterator[tuple[list[Ended], float]]:
        """Yield (what has ended, seconds of work since the last time) until every prompt, with its draw, has."""
        self._prompts, self._draws = prompts, draws
        self._left = set(range(len(prompts)))
        self._line_up()
        seconds = 0.0
        while self._left:
            start = time.perf_counter()
            ended = self._advance()
            seconds += time.perf_counter() - start
            if ended:
                self._left.difference_update(index for index, _ in ended)
                yield ended, seconds
                seconds = 0.0

    def _line_up(self) -> None:
        """Group what is left to do. A prompt's last token is never part of a head: the logits after it are wanted."""
        left = sorted(self._left)
        groups = group_by_head([self._prompts[index][:-1] for index in left])
        self._groups = deque((group.head, deque(left[number] for number in group.members)) for group in groups)

    def _advance(self) -> list[Ended]:
        """Let prompts join, or take one step; what ended by it."""
        try:
            with self._within():
                head, self._joining = self._next()
                if self._joining:
                    self._join(head)
                else:
                    self._step()
            self._joining = []
            return self._end_lines()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: there the error's frames would still hold the memory.
        return self._start_anew()

    def _next(self) -> tuple[int, list[int]]:
        """The prompts that join now and their common head: of the next group what fits, when that pays for a pass."""
        if not self._groups:
            return 0, []
        head, members = self._groups[0]
        running = self._running()
        longest = max([len(self._prompts[members[0]]), *(self._lines[row].slots for row in running)])
        most = max(1, min(self._batches.limit, self._slots // (longest + self._endings.room)))
        free = most - len(running)
        if running and free < min(len(members), max(1, most // 4)):
            return 0, []
        joining = [members.popleft() for _ in range(min(free, len(members)))]
        if not members:
            self._groups.popleft()
        return head, joining

    def _join(self, head: int) -> None:
        prompts = [self._prompts[index] for index in self._joining]
        longest = max(map(len, prompts))
        rows, logits = self._reader.read(prompts, head, self._endings.room)
        lines = [
            _Line(
                index, len(prompt), longest, self._draws[index], self._draws[index].dice(prompt), self._written(index)
            )
            for index, prompt in zip(self._joining, prompts, strict=True)
        ]
        self._choose(lines, logits)
        self._keep_running(rows, lines)

    def _step(self) -> None:
        """One more token for every row."""
        if 2 * len(self._running()) <= len(self._lines):
            self._keep_running()
        assert self._rows is not None
        ids = torch.tensor([[line.tokens[-1]] for line in self._lines])
        positions = torch.tensor([[line.prompt_length + len(line.tokens) - 1] for line in self._lines])
        logits = self._reader.last_logits(self._rows, ids, positions)
        self._choose(self._lines, logits)

    def _keep_running(self, new: Rows | None = None, lines: Sequence[_Line] = ()) -> None:
        """Make the batch those rows that are not over, and the new ones."""
        running = self._running()
        parts = [Part.of(self._rows, running)] if self._rows is not None and running else []
        if new is not None:
            parts.append(Part.whole(new))
        self._rows = new if [new] == [part.rows for part in parts] else merge(parts, self._endings.room)
        self._lines = [*(self._lines[row] for row in running), *lines]

    def _running(self) -> list[int]:
        return [row for row, line in enumerate(self._lines) if not line.is_over]

    def _choose(self, lines: Sequence[_Line], logits: torch.Tensor) -> None:
        """Add a token to each line."""
        chosen = self._chooser.choose(
            logits, [line.draw for line in lines], [line.written for line in lines], [line.dice for line in lines]
        )
        for line, token in zip(lines, chosen, strict=True):
            line.slots += 1
            line.written.add(token)

    def _written(self, index: int) -> Written:
        return Written.after(self._opened[index] if self._opened else None)

    def _end_lines(self) -> list[Ended]:
        running = [self._lines[row] for row in self._running()]
        ended: list[Ended] = []
        for line, reason in zip(running, self._endings.reasons([line.written for line in running]), strict=True):
            if line.draw.is_over(line.written):
                reason = "stop"
            if reason is not None:
                line.is_over = True
                ended.append((line.index, Generated.of(line.written, reason)))
        return ended

    def _start_anew(self) -> list[Ended]:
        """After a lack of memory: give up a prompt that was alone, else go on with half as many."""
        tried = [*self._joining, *(self._lines[row].index for row in self._running())]
        self._joining, self._lines, self._rows = [], [], None
        self._reader.forget()
        release_memory()
        if len(tried) == 1:
            self._left.difference_update(tried)
        else:
            self._batches.lower(len(tried))
        self._line_up()
        return [(index, None) for index in tried] if len(tried) == 1 else []
