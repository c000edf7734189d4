"""Entities marked in a sentence by `<span class="…">` tags (i2b2)."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mibe.parsers.text import free_text, is_refusal

_TAG = re.compile(r"<[ ]{0,3}(/?)[ ]{0,3}([A-Za-z][\w-]{0,30})([^<>]{0,200})>")
_CLASS = re.compile(r"\b(?:class|type|label)[ ]{0,3}=[ ]{0,3}\\?[\"'“”‘’]?([^\"'“”‘’\\]+)", re.I)
_FENCE = re.compile(r"^[ ]*```[\w+-]*[ ]*\n?", re.M)
_CUE = re.compile(
    r"(?:^|\n)[ ]*(?:#+ ?|\*\*)?(?:output text|output|marked sentence|answer)(?:\*\*)?[ ]*:(?:\*\*)?", re.I
)
_NEXT = re.compile(
    r"\n[ ]*(?:#+ ?)?(?:input text|input|entity markup guide|question|sentence|human|user)[ ]*\d*[ ]*:", re.I
)
_CUE_START = re.compile(r"(?:input text|input|task|instruction)\b", re.I)
_PROMPT = re.compile(r"\bto denote an? (?:medical problem|treatment|test)\b", re.I)


@dataclass(frozen=True, slots=True)
class Span:
    """A mark of class `type` over `text[start:end]` of the text without tags."""

    type: str
    start: int
    end: int


def read_marks(marked: str, types: Mapping[str, str]) -> tuple[str, list[Span]]:
    """The text without its tags, and its well-formed marks in the order of their opening tags.

    `types` maps class names in lower case to types. A closing tag closes the nearest open tag of its name; a mark
    never closed, of another class or around nothing but white space is left out. Offsets are into the returned text,
    so that they can be aligned with the input sentence where a model changed it.
    """
    pieces: list[str] = []
    length = position = 0
    open_tags: dict[str, list[tuple[int, str | None, int]]] = {}
    closed: list[tuple[int, Span]] = []
    for order, tag in enumerate(_TAG.finditer(marked)):
        name = tag[2].lower()
        if name not in types and name not in _MARKUP:
            continue
        pieces.append(marked[position : tag.start()])
        length += tag.start() - position
        position = tag.end()
        stack = open_tags.setdefault(name, [])
        if not tag[1]:
            stack.append((order, types.get(name) or _class_type(tag[3], types), length))
        elif stack:
            opened, kind, start = stack.pop()
            if kind is not None:
                closed.append((opened, Span(kind, start, length)))
    text = "".join([*pieces, marked[position:]])
    spans = [trimmed for _, span in sorted(closed, key=lambda pair: pair[0]) if (trimmed := _trim(text, span))]
    return text, spans


_MARKUP = frozenset(
    {"span", "mark", "b", "i", "em", "strong", "p", "div", "html", "body", "u", "code", "br", "font", "tag", "entity"}
)


def _class_type(attributes: str, types: Mapping[str, str]) -> str | None:
    """The first of a tag's classes that is asked for."""
    found = _CLASS.search(attributes)
    if found is None:
        return None
    whole = found[1].strip().lower()
    return types.get(whole) or next((types[part] for part in whole.split() if part in types), None)


def _trim(text: str, span: Span) -> Span | None:
    """The span without white space at its ends, or None if nothing is left."""
    inside = text[span.start : span.end]
    start = span.start + len(inside) - len(inside.lstrip())
    end = span.end - len(inside) + len(inside.rstrip())
    return Span(span.type, start, end) if start < end else None


@dataclass(frozen=True)
class MarkedSpans:
    """Reads entities marked as `<span class="TYPE">…</span>`, as [type, text] in the order of the opening tags.

    `types` are the classes asked for and `aliases` maps other class names to them. A sentence without marks states
    that there are no entities: [].
    """

    types: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> list[list[str]] | None:
        """A list of [type, text], or None where there is no sentence to read."""
        marked = sentence_in(output)
        if not marked:
            return None
        text, spans = read_marks(marked, self._classes())
        if not spans and (is_refusal(text) or _PROMPT.search(text)):
            return None
        return [[span.type, text[span.start : span.end]] for span in spans]

    def _classes(self) -> dict[str, str]:
        names = {kind.lower(): kind for kind in self.types}
        plurals = {f"{name}s": kind for name, kind in names.items()}
        return {**plurals, **{alias.lower(): kind for alias, kind in self.aliases.items()}, **names}


def sentence_in(output: str) -> str:
    """The marked sentence of an output: unescaped, without code fence, repeated prompt and invented next sentence."""
    text = _FENCE.sub("", free_text(output))
    if "&lt;" in text or "&#60;" in text:
        text = html.unescape(text)
    following = _NEXT.search(text)
    if following and _is_sentence(text[: following.start()]):
        return text[: following.start()].strip()
    cue = _CUE.search(text)
    if cue:
        text = text[cue.end() :]
        following = _NEXT.search(text)
        text = text[: following.start()] if following else text
    return text.strip()


def _is_sentence(text: str) -> bool:
    """Whether a text before a heading is the answer: neither a repeated prompt nor a preface ("Here it is:")."""
    plain = text.strip()
    return bool(plain) and not _PROMPT.search(plain) and not plain.endswith(":") and not _CUE_START.match(plain)
