"""Reasoning before an answer: the marks that models put around it, and the one function that tells the two apart.

Two kinds of text come here: what a model of ours has just written, whose prompt may have opened the reasoning, and text
from anywhere (`mibe parse`, `mibe score`, old runs), of which nothing is known but what it says itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mibe.parsers.patterns import late


@dataclass(frozen=True, slots=True)
class Grammar:
    """How reasoning is written: patterns of the marks that open and close it.

    `lone`: a closing mark that nothing opened closes all text before it, since the prompt may hold the opening one.
    `restarts`: what follows a closing mark is the whole answer, whatever stood before.
    """

    opens: str
    closes: str
    lone: bool = True
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """One form of a grammar: the marks as models write them, and as templates and budgets write them for a model.

    `known_by` is what templates have of the marks, where it is not the whole of them. `message_ends` are tokens that
    end a part of a turn and not the turn; `turn_ends` are those that end it.
    """

    name: str
    opening: str
    closing: str
    grammar: Grammar
    known_by: tuple[str, ...] = ()
    message_ends: tuple[str, ...] = ()
    turn_ends: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, str]:
        """Opening and closing mark without the white space around them."""
        return self.opening.strip(), self.closing.strip()

    def mark_in(self, template: str) -> str | None:
        """A mark of this form that stands in the text of a chat template."""
        return next((mark for mark in self.known_by or self.marks if mark in template), None)


_TAG_NAMES = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|scratchpad|analysis|reflection)\b[^<>◁▷]{0,80}[>▷]"
TAGS = Grammar(
    rf"(?i:[<◁]\s{{0,3}}\|?{_TAG_NAMES})", rf"(?i:[<◁]\s{{0,3}}(?:/\|?|\|/){_TAG_NAMES})(?:\s{{0,9}}<response>)?"
)
BRACKETS = Grammar(r"(?i:\[THINK\])", r"(?i:\[/THINK\])")
# Any channel but a whole final one: a text that was cut inside the name of a channel has no answer either.
CHANNELS = Grammar(
    r"<\|channel\|>",
    r"<\|channel\|>\s*final\b[^<]{0,40}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>",
    restarts=True,
)
# The same after a decoder that left out special tokens, as it stands in old logs.
BARE_CHANNELS = Grammar(r"\A\s*analysis(?=[A-Z]|(?s:.*)assistantfinal)", r"assistantfinal", lone=False, restarts=True)
# The turn of one who thinks, and that of one who answers, within the assistant's.
TURNS = Grammar(r"<\|im_start\|>think\b", r"<\|im_start\|>answer\b")
HEADINGS = Grammar(r"\A\s*#{1,3}[ ]*Thinking\b", r"(?m:^)[ ]*#{1,3}[ ]*Final Response\b:?", lone=False, restarts=True)
SENTENCES = Grammar(
    r"\A\s*Here (?:is my thought process|are my reasoning steps):",
    r"Here is my response:|\[BEGIN FINAL RESPONSE\]",
    lone=False,
)

FORMATS: tuple[Format, ...] = (
    Format("think", "<think>\n", "\n</think>\n\n", TAGS),
    Format("thought", "<thought>\n", "\n</thought>\n\n", TAGS),
    Format("thinking", "<thinking>\n", "\n</thinking>\n\n", TAGS),
    Format("thoughts", "<thoughts>\n", "\n</thoughts>\n\n", TAGS),
    Format("reasoning", "<reasoning>\n", "\n</reasoning>\n\n", TAGS),
    Format("scratchpad", "<scratchpad>\n", "\n</scratchpad>\n\n", TAGS),
    Format("reflection", "<reflection>\n", "\n</reflection>\n\n", TAGS),
    Format("seed", "<seed:think>", "</seed:think>", TAGS),
    Format("kimi", "◁think▷", "◁/think▷", TAGS),
    Format("mistral", "[THINK]", "[/THINK]", BRACKETS),
    Format("medgemma", "<unused94>thought\n", "<unused95>", Grammar("<unused94>", "<unused95>")),
    Format("gemma", "<|channel>thought\n", "<channel|>", Grammar(r"<\|channel>", r"<channel\|>")),
    Format(
        "harmony",
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        CHANNELS,
        known_by=("<|channel|>analysis", "<|channel|>final"),
        message_ends=("<|end|>",),
        turn_ends=("<|return|>", "<|call|>"),
    ),
    Format("harmony-bare", "analysis", "assistantfinal", BARE_CHANNELS, known_by=("assistantfinal",)),
    Format(
        "cohere",
        "<|START_THINKING|>",
        "<|END_THINKING|><|START_RESPONSE|>",
        # With reasoning switched off only the answer is marked.
        Grammar(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>(?:\s{0,9}<\|START_RESPONSE\|>)?|<\|START_RESPONSE\|>"),
        known_by=("<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    Format(
        "open-thoughts",
        "<|begin_of_thought|>\n\n",
        "\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n",
        Grammar(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>(?:\s{0,9}<\|begin_of_solution\|>)?"),
        known_by=("<|begin_of_thought|>", "<|end_of_thought|>"),
    ),
    Format("s1", "<|im_start|>think\n", "\n<|im_start|>answer\n", TURNS),
    Format("huatuo", "## Thinking\n\n", "\n\n## Final Response\n\n", HEADINGS),
    Format("granite", "Here is my thought process:\n\n", "\n\nHere is my response:\n\n", SENTENCES),
    Format("apriel", "Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n", SENTENCES),
)
"""Every form that is known. Of the forms of one grammar the first stands for those without a name of their own."""

ANSWER_ENDS = ("</response>", "<|END_RESPONSE|>", "<|end_of_solution|>")
"""Marks after an answer, of models that put one before it too."""

_GRAMMARS: tuple[Grammar, ...] = tuple(dict.fromkeys(form.grammar for form in FORMATS))
# Closing marks first: that of channels begins as an opening one does.
_MARKS = late("|".join(f"(?P<c{n}>{g.closes})|(?P<o{n}>{g.opens})" for n, g in enumerate(_GRAMMARS)))
# What every mark begins with: a sign anywhere, or a word at the start of the text. Most answers hold neither.
_BEGINS = late(
    f"[{re.escape(''.join({form.opening[0] for form in FORMATS if not form.opening[0].isalnum()}))}]|\\A\\s*(?:"
    f"{'|'.join({re.escape(form.opening.split()[0]) for form in FORMATS if form.opening[0].isalnum()})})"
)
_CLOSES = {grammar: re.compile(grammar.closes) for grammar in _GRAMMARS}


def opened_by(prompt: str) -> Format | None:
    """The form whose opening mark a prompt ends in: the model's text then begins inside its reasoning."""
    end = prompt[-200:].rstrip()
    return next((form for form in _MARKED if end.endswith(form.marks[0])), None)


def closed_by(prompt: str) -> bool:
    """Whether a prompt ends in a closing mark: the model is to answer at once."""
    return any(re.search(rf"(?:{grammar.closes})\s*\Z", prompt[-200:]) for grammar in _GRAMMARS)


def split(text: str, opened: Format | None = None) -> int | None:
    """Where the answer begins in what a model wrote: 0 without reasoning, None where a reasoning never ended.

    `opened` is the form that the prompt had opened. Reasoning in the midst of an answer stays in it; `without` takes it
    away.
    """
    kept, inside = _scan(text, opened)
    if inside is not None:
        return None
    if kept == [(0, len(text))]:
        return 0
    first = next((start for start, end in kept if text[start:end].strip()), len(text))
    return first + len(text[first:]) - len(text[first:].lstrip()) if first else 0


def without(text: str) -> str:
    """The text without its reasoning; one that never ended leaves nothing."""
    kept, inside = _scan(text, None)
    return "" if inside is not None else "".join(text[start:end] for start, end in kept)


def under_way(text: str, opened: Format | None = None) -> Format | None:
    """The reasoning that is not over at the end of the text."""
    return _scan(text, opened)[1]


def begun(text: str, forms: Sequence[Format] = FORMATS) -> Format | None:
    """The form of which a text that was cut at once holds a part of the opening mark and nothing else."""
    # The last character may be half there: a token can be a byte.
    start = text.rstrip("\ufffd").strip()
    if len(start) < 2:
        return None
    return next((form for form in forms if form.marks[0].startswith(start)), None)


def is_closed(tail: str, form: Format) -> bool:
    """Whether a closing mark of this form stands in the last part of a text."""
    return _CLOSES[form.grammar].search(tail) is not None


def behind_closing(form: Format) -> str:
    """What a model writes between the mark that closes its reasoning and its answer."""
    end = next(end for end in range(len(form.closing) + 1) if is_closed(form.closing[:end], form))
    return form.closing[end:]


def answer_at_again(text: str, stored: int | None, opened: Format | None = None) -> int | None:
    """Where the answer begins in a logged text, by today's table and what was known when it was written.

    `stored` is what the log says: a place stays as it is; 0 and None (a reasoning that never ended, in marks that may
    be known by now) are looked at again.
    """
    if stored:
        return stored
    found = split(text, opened)
    return None if stored is None and not found else found


def _scan(text: str, opened: Format | None) -> tuple[list[tuple[int, int]], Format | None]:
    """(start, end) of what is no reasoning, in order; and the reasoning that is not over at the end."""
    if opened is None and not _BEGINS.search(text):
        return [(0, len(text))], None
    kept: list[tuple[int, int]] = []
    position, inside, marked = 0, opened, False
    for mark in _MARKS.finditer(text):
        kind = mark.lastgroup or ""
        grammar = _GRAMMARS[int(kind[1:])]
        if inside is not None and grammar is not inside.grammar:
            continue
        if kind[0] == "c":
            if inside is None and not grammar.lone:
                continue
            if inside is None or grammar.restarts:
                kept.clear()
            inside = None
        elif inside is None:
            kept.append((position, mark.start()))
            inside = _form_of(mark[0], grammar)
        else:
            continue
        position, marked = mark.end(), True
    if inside is None and not marked:
        inside = begun(text, _MARKED)
    return kept if inside is not None else [*kept, (position, len(text))], inside


def _form_of(mark: str, grammar: Grammar) -> Format:
    """The form that an opening mark belongs to."""
    forms = [form for form in FORMATS if form.grammar is grammar]
    return next((form for form in forms if mark.strip().lower() == form.marks[0].lower()), forms[0])


_MARKED: Sequence[Format] = tuple(form for form in FORMATS if not form.opening[0].isalnum())
"""The forms whose opening mark is no words that an answer or a prompt may hold."""
