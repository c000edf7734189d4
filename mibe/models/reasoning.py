"""What a chat template says of a model's reasoning, and what a model wrote told apart into reasoning and answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mibe.models.base import FinishReason, Renderer, Sampling
from mibe.models.templates import Render, shortest_prompt, template_switches
from mibe.models.text import first_stop
from mibe.parsers.reasoning import ANSWER_ENDS, FORMATS, Format, behind_closing, closed_by, opened_by, split

ROOM = 8192
"""Tokens of reasoning before an answer, where nobody says otherwise and the window has them."""

GIVEN = "given"
"""The form of reasoning that a server keeps in a field of its own, or to itself."""

THINKING_SWITCHES = ("enable_thinking", "thinking", "reasoning")
"""Variables by which chat templates turn reasoning on and off, the commonest first."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """That a model reasons before it answers: in which form (a name of `mibe.parsers.reasoning.FORMATS`, or `GIVEN`),
    whether its prompt opens the reasoning, how that was recognised, and by which variables its template switches it."""

    format: str
    opened: bool
    how: str
    switches: tuple[str, ...] = ()


def recognise(template: str, prompt: str) -> Reasoning | None:
    """What the text of a chat template, and a prompt rendered with it, say of a model's reasoning; None: nothing.

    A prompt that ends in a closing mark switches it off: the template has written an empty reasoning for the model.
    """
    read = template_switches(template)
    switches = tuple(name for name in (*THINKING_SWITCHES, "reasoning_effort") if name in read)
    if (opened := opened_by(prompt)) is not None:
        return Reasoning(opened.name, True, f"its prompt ends in {opened.marks[0]}", switches)
    if closed_by(prompt):
        return None
    for form in FORMATS:
        if (mark := form.mark_in(template)) is not None:
            return Reasoning(form.name, False, f"its chat template knows {mark}", switches)
    return None


def reasoning_by_template(template: Any, render: Render) -> Reasoning | None:
    """How a chat model reasons, as its chat template says, and a prompt laid out by it. Raises what `render` raises."""
    return recognise(str(template), shortest_prompt(render))


def reasoning_of(model: Renderer) -> Reasoning | None:
    """How a model reasons, None for one that does not or does not say."""
    found: Reasoning | None = getattr(model, "reasoning", None)
    return found


def room_to_think(model: Renderer, asked: int | None, max_new_tokens: int) -> int | None:
    """The thinking budget of a model's requests: the one asked for, or `ROOM` for a model that reasons, or None.

    Where nobody asks, reasoning takes no more than half of what the answer leaves of the window; prompts have the rest.
    """
    if asked is not None:
        return asked
    if reasoning_of(model) is None:
        return None
    window = model.context_window
    return ROOM if window is None else max(0, min(ROOM, (window - max_new_tokens) // 2))


def answer_texts(answers: Sequence[str], *, chat: bool) -> list[str]:
    """Answers as a model writes them: after a chat template's generation prompt alone, after a cue behind a space."""
    return list(answers) if chat else [f" {text}" for text in answers]


def forms_of(reasoning: Reasoning | None, sampling: Sampling) -> list[Format]:
    """The forms in which a model may reason: its own, or any where it tells none and has room to think all the same."""
    if reasoning is None:
        return [] if sampling.thinking_budget is None else list(FORMATS)
    return [form for form in FORMATS if form.name == reasoning.format]


def answers_behind(answers: Sequence[str], form: Format) -> list[str]:
    """Answers as a model writes them after the mark that closes a reasoning: at once, or after what belongs between."""
    between = dict.fromkeys(["", "\n", "\n\n", behind_closing(form)])
    return [space + text for text in answers for space in between]


def tell_apart(text: str, opened: Format | None, stop: Sequence[str] = ()) -> tuple[str, int | None]:
    """A model's text up to the end of its answer, by mark or stop string, and where this begins (None: it never does).

    `opened` is the form of reasoning that the prompt had opened.
    """
    at = split(text, opened)
    if at is None:
        return text, None
    end = first_stop(text[at:], (*stop, *ANSWER_ENDS) if at else stop)
    return (text if end is None else text[: at + end]), at


def was_cut(finish_reason: FinishReason, answer_at: int | None) -> bool:
    """Whether a limit on tokens ended a reasoning."""
    return finish_reason == "length" and answer_at is None


Decode = Callable[[Sequence[int]], str]


def tokens_before(tokens: Sequence[int], at: int | None, decode: Decode) -> int:
    """How many of a text's tokens stand before the place `at` in it; all of them where the answer never begins."""
    if at is None:
        return len(tokens)

    def characters(count: int) -> int:
        # Half a character is shown as one of its own.
        return len(decode(tokens[:count]).rstrip("\ufffd"))

    return 0 if at == 0 else bisect_left(range(len(tokens)), at, key=characters)


def reasoning_tokens(tokens: Sequence[int], at: int | None, sampling: Sampling, decode: Decode) -> int | None:
    """How many of an output's tokens are reasoning, never more than its budget; None where none was looked for."""
    if sampling.thinking_budget is None:
        return None if at == 0 else tokens_before(tokens, at, decode)
    return min(tokens_before(tokens, at, decode), sampling.thinking_budget)


@dataclass(frozen=True, slots=True)
class Bounded:
    """The tokens of an output within both of its limits, why they end where they do, and how many are reasoning.

    `cut` says that the budget ended the reasoning.
    """

    tokens: list[int]
    finish_reason: FinishReason
    reasoning: int
    cut: bool = False


def within_limits(
    tokens: Sequence[int], finish_reason: FinishReason, sampling: Sampling, opened: Format | None, decode: Decode
) -> Bounded:
    """What is left of an output that an engine limited by the sum of both rooms: reasoning and answer in theirs."""
    budget = sampling.thinking_budget or 0
    reasoning = tokens_before(tokens, split(decode(tokens), opened), decode)
    if reasoning > budget:
        return Bounded(list(tokens[:budget]), "length", budget, cut=True)
    most = reasoning + sampling.max_new_tokens
    if len(tokens) > most:
        return Bounded(list(tokens[:most]), "length", reasoning)
    return Bounded(list(tokens), finish_reason, reasoning)
