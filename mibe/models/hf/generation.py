"""Greedy or sampled text for many prompts: each row of the running batch ends on its own, and others take its place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from mibe.models.base import FinishReason, Sampling
from mibe.models.hf.batches import Batcher, is_out_of_memory, release_memory
from mibe.models.hf.choosing import Chooser, Draw
from mibe.models.hf.endings import Endings, Written
from mibe.models.hf.grouping import group_by_head
from mibe.models.hf.reader import Reader, are_numbers
from mibe.models.hf.slots import Part, Rows, merge
from mibe.parsers.reasoning import Format


@dataclass(frozen=True, slots=True)
class Generated:
    """New tokens of one prompt, up to and with the one that ended it, and why it ended there.

    `was_cut` says that a budget ended its reasoning. `latency` are the seconds from when its prompt began to be read,
    `first_token` those until the first token was there; None where nobody looked.
    """

    tokens: list[int]
    finish_reason: FinishReason
    was_cut: bool = False
    latency: float | None = None
    first_token: float | None = None

    @classmethod
    def of(cls, written: Written, reason: FinishReason) -> Generated:
        """What a row has written, now that it is over."""
        return cls(written.tokens, reason, written.was_cut)


Fault = Literal["memory", "logits"]
"""Why there is no text: the prompt does not fit memory, even alone; or the logits after it are no numbers."""

Ended = tuple[int, Generated | Fault]
"""Number of a prompt and what came after it."""


@dataclass(slots=True)
class _Line:
    """One text under way: the number of its prompt, the row and slots it fills, its own dice and what it has written.

    `begun` is when its prompt began to be read, and `first` when its first token was there, by this process's clock.

    Draws of one prompt are lines of one row for as long as they have the same tokens.
    """

    index: int
    row: int
    prompt_length: int
    slots: int
    draw: Draw
    dice: torch.Generator
    written: Written
    begun: float
    first: float = 0.0
    is_sound: bool = True

    @property
    def place(self) -> tuple[int, int]:
        """Its row and last token: lines in the same place are in the same state."""
        return self.row, self.tokens[-1]

    @property
    def tokens(self) -> list[int]:
        """Its new tokens."""
        return self.written.tokens


class Generator:
    """Runs prompts (token ids) through the model in one batch that rows leave and join as it goes on.

    At most `batches.limit` texts are under way, and no more than `slots` tokens of prompts and outputs. Prompts join
    by groups with a common head, which is read once, as soon as a whole group or a quarter of the batch fits in. Draws
    of one prompt join together: it is read once, and so is what they write alike. They may come to fill more than
    `slots` as they part. When memory runs out, everything unfinished starts anew with half as many texts. `within` is
    entered for all work, and brings `torch.inference_mode`. `opened` is the reasoning that each prompt has opened; ()
    for none.
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
        self._groups: deque[tuple[int, deque[list[int]]]] = deque()
        self._joining: list[list[int]] = []
        self._rows: list[Rows] = []
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
        same: dict[tuple[int, ...], list[int]] = {}
        for index in sorted(self._left):
            same.setdefault(tuple(self._prompts[index]), []).append(index)
        most = self._batches.limit
        draws = [some[at : at + most] for some in same.values() for at in range(0, len(some), most)]
        groups = group_by_head([self._prompts[some[0]][:-1] for some in draws])
        self._groups = deque((group.head, deque(draws[number] for number in group.members)) for group in groups)

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

    def _next(self) -> tuple[int, list[list[int]]]:
        """The draws that join now, prompt by prompt, and the prompts' common head: of the next group what fits.

        Nothing while so little fits that it does not pay for a pass.
        """
        if not self._groups:
            return 0, []
        head, members = self._groups[0]
        longest = max([len(self._prompts[members[0][0]]), *(line.slots for line in self._lines)])
        most = min(self._batches.limit, self._slots // (longest + self._endings.room))
        used = len({line.place for line in self._lines})
        free = min(max(most, len(members[0])) - used, self._batches.limit - len(self._lines))
        if self._lines and free < min(sum(map(len, members)), max(len(members[0]), most // 4)):
            return 0, []
        joining: list[list[int]] = []
        while members and len(members[0]) <= free:
            joining.append(members.popleft())
            free -= len(joining[-1])
        if not members:
            self._groups.popleft()
        return head, joining

    def _join(self, head: int) -> None:
        """Read each prompt once for all its draws. Lines count the rows that are there, and then these."""
        begun = time.perf_counter()
        prompts = [self._prompts[draws[0]] for draws in self._joining]
        longest = max(map(len, prompts))
        read = list(self._reader.read_apart(prompts, head, self._endings.room))
        first = sum(map(len, self._rows))
        lines = [
            _Line(index, row, len(prompt), longest, draw, draw.dice(prompt), self._written(index), begun)
            for row, (prompt, draws) in enumerate(zip(prompts, self._joining, strict=True), first)
            for index in draws
            for draw in [self._draws[index]]
        ]
        self._choose(lines, torch.cat([logits for _, logits in read])[[line.row - first for line in lines]])
        # Choosing has waited for the device.
        there = time.perf_counter()
        for line in lines:
            line.first = there
        self._rows += [rows for rows, _ in read]
        self._lines += lines

    def _step(self) -> None:
        """One more token for every line."""
        if self._must_move():
            self._move()
        (batch,) = self._rows
        # Rows that nobody is left of read a token that nobody looks at.
        ids, positions = torch.zeros(2, len(batch), 1, dtype=torch.long)
        for line in self._lines:
            ids[line.row] = line.tokens[-1]
            positions[line.row] = line.prompt_length + len(line.tokens) - 1
        logits = self._reader.last_logits(batch, ids, positions)
        self._choose(self._lines, logits[[line.row for line in self._lines]])

    def _must_move(self) -> bool:
        """Whether rows have joined, the lines of one row have parted, or nobody is left of half of the rows."""
        places = {line.place for line in self._lines}
        used = {row for row, _ in places}
        return len(self._rows) > 1 or len(places) > len(used) or 2 * len(used) <= len(self._rows[0])

    def _move(self) -> None:
        """Make the batch one row for all lines that have the same tokens after the same prompt, and nothing else."""
        places = sorted({line.place for line in self._lines})
        number = {place: row for row, place in enumerate(places)}
        for line in self._lines:
            line.row = number[line.place]
        parts, first = [], 0
        for rows in self._rows:
            own = [row - first for row, _ in places if 0 <= row - first < len(rows)]
            if own:
                parts.append(Part.of(rows, own))
            first += len(rows)
        self._rows.clear()
        self._rows.append(merge(parts, self._endings.room))

    def _choose(self, lines: Sequence[_Line], logits: torch.Tensor) -> None:
        """Add a token to each line that has numbers to choose by."""
        sound = are_numbers(logits)
        for line, is_sound in zip(lines, sound, strict=True):
            line.is_sound = is_sound
        if not all(sound):
            lines, logits = [line for line in lines if line.is_sound], logits[torch.tensor(sound)]
        if not lines:
            return
        chosen = self._chooser.choose(
            logits, [line.draw for line in lines], [line.written for line in lines], [line.dice for line in lines]
        )
        for line, token in zip(lines, chosen, strict=True):
            line.slots += 1
            line.written.add(token)

    def _written(self, index: int) -> Written:
        return Written.after(self._opened[index] if self._opened else None)

    def _end_lines(self) -> list[Ended]:
        ended: list[Ended] = [(line.index, "logits") for line in self._lines if not line.is_sound]
        running = [line for line in self._lines if line.is_sound]
        self._lines = []
        now = time.perf_counter()
        for line, reason in zip(running, self._endings.reasons([line.written for line in running]), strict=True):
            if line.draw.is_over(line.written):
                reason = "stop"
            if reason is None:
                self._lines.append(line)
            else:
                text = Generated.of(line.written, reason)
                ended.append((line.index, replace(text, latency=now - line.begun, first_token=line.first - line.begun)))
        if not self._lines:
            self._rows.clear()
        return ended

    def _start_anew(self) -> list[Ended]:
        """After a lack of memory: give up a prompt that was alone, else go on with half as many."""
        tried = [*(index for draws in self._joining for index in draws), *(line.index for line in self._lines)]
        self._joining, self._lines, self._rows = [], [], []
        self._reader.forget()
        release_memory()
        if len(tried) == 1:
            self._left.difference_update(tried)
        else:
            self._batches.lower(len(tried))
        self._line_up()
        return [(index, "memory") for index in tried] if len(tried) == 1 else []
