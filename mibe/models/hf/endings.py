"""What a row has written so far: in its reasoning or in its answer, and where the room for either ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mibe.models.base import FinishReason, Sampling
from mibe.parsers.reasoning import Format, begun, is_closed, under_way

MARK_TOKENS = 32
"""Tokens of a text in which a mark is looked for: the longest in use are of seven words."""


@dataclass(slots=True)
class Written:
    """The new tokens of one row, and where it stands.

    `inside` is the reasoning it is in, by the prompt or by a mark of its own (`is_sure`), or by the beginning of one.
    The reasoning `closed` ended before token number `closed_at`, and the answer begins with number `answer_from`: there
    may be white space between. `dictated` are the tokens that are to be written for it next, and `was_cut` says that a
    budget ended its reasoning.
    """

    inside: Format | None = None
    is_sure: bool = False
    tokens: list[int] = field(default_factory=list)
    closed: Format | None = None
    closed_at: int = 0
    answer_from: int = 0
    dictated: list[int] = field(default_factory=list)
    was_cut: bool = False

    @classmethod
    def after(cls, opened: Format | None) -> Written:
        """Nothing yet, after a prompt that has opened this reasoning, or none."""
        return cls(inside=opened, is_sure=opened is not None)

    def add(self, token: int) -> None:
        """One token more: what the model chose, unless another one is dictated."""
        self.tokens.append(self.dictated.pop(0) if self.dictated else token)


class Endings:
    """When the text after a prompt is over: at an end token, at a stop string of the answer or at a limit.

    A reasoning with its closing mark has the thinking budget; the answer's limit counts from there. `room` is the most
    tokens that a text can have.
    """

    def __init__(self, tokenizer: Any, sampling: Sampling, end_tokens: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(end_tokens)
        self._stop = tuple(filter(None, sampling.stop))
        self._limit = sampling.max_new_tokens
        self._budget = sampling.thinking_budget
        self._closes = sampling.at_budget == "close" and self._budget is not None
        self.room = max(sampling.room, sampling.max_new_tokens + MARK_TOKENS) if self._closes else sampling.room
        # A token is at least one byte of text, but for markers that may stand between; hence some to spare.
        self._window = max((len(text.encode()) for text in self._stop), default=0) + 4

    def reasons(self, rows: Sequence[Written]) -> list[FinishReason | None]:
        """For each row why its last token ends it, None where it goes on."""
        if self._budget is not None:
            self._follow(rows)
        stopped = self._hold_stop_string([row.tokens[row.answer_from :][-self._window :] for row in rows])
        return [self._reason(row, stop) for row, stop in zip(rows, stopped, strict=True)]

    def _reason(self, row: Written, holds_stop: bool) -> FinishReason | None:
        if row.dictated:
            return None
        if row.tokens[-1] in self._ends:
            return "stop"
        if self._budget is None or row.inside is None:
            if holds_stop:
                return "stop"
            return "length" if len(row.tokens) - row.answer_from >= self._limit else None
        closing = self._closing(row.inside) if self._closes else []
        if len(row.tokens) + len(closing) < self._budget:
            return None
        row.was_cut, row.dictated = True, closing
        return None if closing else "length"

    def _closing(self, form: Format) -> list[int]:
        ids: list[int] = self._tokenizer(form.closing, add_special_tokens=False)["input_ids"]
        return ids

    def _follow(self, rows: Sequence[Written]) -> None:
        """See which rows have come into their reasoning or out of it; one that has come out stays out.

        White space between closing mark and answer is no part of the answer, as long as the budget has room for it.
        """
        for row in rows:
            if 0 < row.answer_from == len(row.tokens) - 1 < (self._budget or 0):
                row.answer_from += self._tokenizer.decode(row.tokens[-1:]).isspace()
        before_answer = [row for row in rows if row.answer_from == 0 and not row.dictated]
        tails = [row.tokens[-MARK_TOKENS:] for row in before_answer]
        texts: list[str] = self._tokenizer.batch_decode(tails) if tails else []
        for row, text in zip(before_answer, texts, strict=True):
            if row.inside is not None and (row.was_cut or is_closed(text, row.inside)):
                row.closed, row.inside = row.inside, None
                row.closed_at = row.answer_from = len(row.tokens)
            elif not row.is_sure:
                beginning = begun(text)
                row.inside = under_way(text) or beginning
                row.is_sure = row.inside is not None and beginning is None

    def _hold_stop_string(self, tails: Sequence[list[int]]) -> list[bool]:
        if not self._stop:
            return [False] * len(tails)
        return [any(stop in text for stop in self._stop) for text in self._tokenizer.batch_decode(tails)]
