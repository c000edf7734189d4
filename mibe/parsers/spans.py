"""Entities marked in a sentence by `<span class="…">` tags (i2b2)."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mibe.parsers.alignment import Alignment, fold
from mibe.parsers.patterns import late
from mibe.parsers.text import free_text, is_refusal
from mibe.task import Example

_TAG = late(r"<[ ]{0,3}(/?)[ ]{0,3}([A-Za-z][\w-]{0,30})([^<>]{0,200})>")
_CLASS = late(r"\b(?:class|type|label)[ ]{0,3}=[ ]{0,3}\\?[\"'“”‘’]?([^\"'“”‘’\\]+)", re.I)
_ESCAPED_TAG = late(r"&(?:lt|#60);[ ]?/?[ ]?[a-z]", re.I)
_REFERENCE = late(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{1,5}|#x[0-9a-f]{1,4});", re.I)
_LINE_END = late(r"\n")
_FENCE = late(r"^[ ]*```[\w+-]*[ ]*\n?", re.M)
_CUE = late(r"(?:^|\n)[ ]*(?:#+ ?|\*\*)?(?:output text|output|marked sentence|answer)(?:\*\*)?[ ]*:(?:\*\*)?", re.I)
_NEXT = late(r"\n[ ]*(?:#+ ?)?(?:input text|input|entity markup guide|question|sentence|human|user)[ ]*\d*[ ]*:", re.I)
_CUE_START = late(r"(?:input text|input|task|instruction)\b", re.I)
_PREFACE = late(r"\A([^<\n]{1,200}:)[ *_]{0,4}\n\s*(?=\S)")
_PROMPT = late(r"\bto denote an? (?:medical problem|treatment|test)\b", re.I)


Entity = tuple[str, int, int]


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


def write_marks(text: str, spans: Iterable[Span]) -> str:
    """The text with a mark around each span: the inverse of `read_marks`.

    Marks may be nested. Of two that cross, which tags cannot say, the one that begins first is kept.
    """
    pieces: list[str] = []
    open_ends: list[int] = []
    position = 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        while open_ends and open_ends[-1] <= span.start:
            pieces.append(f"{text[position : open_ends[-1]]}</span>")
            position = open_ends.pop()
        if not open_ends or span.end <= open_ends[-1]:
            pieces.append(f'{text[position : span.start]}<span class="{span.type}">')
            position = span.start
            open_ends.append(span.end)
    for end in reversed(open_ends):
        pieces.append(f"{text[position:end]}</span>")
        position = end
    return "".join([*pieces, text[position:]])


def marked_answer(example: Example) -> str:
    """The sentence of an example (its input `text`) with its target marked: what a model should write."""
    return write_marks(example.inputs["text"], [Span(*entity) for entity in example.target])


def placed(text: str, spans: Sequence[Span], source: str) -> list[list[str | int]]:
    """The spans of `text` as distinct [type, start, end] in characters of `source`; see `MarkedSpans`."""
    if not spans:
        return []
    alignment = Alignment(text, source)
    places = [alignment.place(span.start, span.end) for span in spans]
    names = [(span.type, one_line(text[span.start : span.end])) for span in spans]
    listed = {name for name, place in zip(names, places, strict=True) if place}
    made_up = 0
    entities: dict[Entity, None] = {}
    for name, place in zip(names, places, strict=True):
        if place:
            entities[(name[0], *place)] = None
        elif name not in listed:
            listed.add(name)
            made_up += 1
            entities[(name[0], -made_up, -made_up)] = None
    return [list(entity) for entity in entities]


@dataclass(frozen=True)
class MarkedSpans:
    """Reads entities marked as `<span class="TYPE">…</span>`, in the order of the opening tags.

    With the input sentence, which is the input field `field`, an entity is [type, start, end] in characters of that
    sentence: a mark is judged by the place where its text stands there, however the model changed the rest. A marked
    text that is not in the sentence is [type, -1, -1], the next one [type, -2, -2], and so on, an entity that equals
    nothing (`mibe.metrics.extraction`); a repetition of what is marked already is left out. Without the sentence, an
    entity is [type, text].

    `types` are the classes asked for and `aliases` maps other class names to them. A sentence without marks states
    that there are no entities: [].
    """

    types: Sequence[str]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    field: str = "text"

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> list[list[str]] | list[list[str | int]] | None:
        """A list of entities, or None where there is no sentence to read."""
        source = (inputs or {}).get(self.field)
        marked = self._sentence(output, source or "")
        if not marked:
            return None
        text, spans = read_marks(marked, self._classes())
        if not spans and (is_refusal(text) or _PROMPT.search(text)):
            return None
        if source is None:
            return [[span.type, text[span.start : span.end]] for span in spans]
        return placed(text, spans, source)

    def misplaced(self, output: str, source: str) -> list[tuple[str, str]]:
        """Type and text, in one case and spacing, of each mark that finds no place of its own in the sentence."""
        text, spans = read_marks(self._sentence(output, source), self._classes())
        alignment = Alignment(text, source)
        return [
            (span.type, one_line(text[span.start : span.end]))
            for span in spans
            if alignment.place(span.start, span.end) is None
        ]

    def _sentence(self, output: str, source: str) -> str:
        return _without_copy(_without_preface(sentence_in(output, source), source), source)

    def _classes(self) -> dict[str, str]:
        names = {kind.lower(): kind for kind in self.types}
        plurals = {f"{name}s": kind for name, kind in names.items()}
        return {**plurals, **{alias.lower(): kind for alias, kind in self.aliases.items()}, **names}


def sentence_in(output: str, source: str = "") -> str:
    """The marked sentence of an output: unescaped, without code fence, repeated prompt and invented next sentence.

    Character references that `source` has too belong to the sentence, and stay.
    """
    text = _FENCE.sub("", free_text(output))
    if _ESCAPED_TAG.search(text) or (_REFERENCE.search(text) and not _REFERENCE.search(source)):
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


def _without_preface(marked: str, source: str) -> str:
    """The text without a first line like "Here is the marked sentence:", whose words are not the sentence's.

    A line that stands in the source is kept: it may be a heading in a note.
    """
    preface = _PREFACE.match(marked)
    if preface and one_line(preface[1]) not in one_line(source):
        return marked[preface.end() :]
    return marked


def _without_copy(marked: str, source: str) -> str:
    """The text behind the sentence as it was given, where lines before the first mark end in it."""
    first = _TAG.search(marked)
    if first and source:
        given, room = one_line(source), 2 * len(source)
        for end in (line.start() for line in _LINE_END.finditer(marked, 0, first.start())):
            if one_line(marked[max(0, end - room) : end]).endswith(given):
                return marked[end:].lstrip()
    return marked


def one_line(text: str) -> str:
    """The text in one case, typography and spacing, for a comparison of marks."""
    return " ".join(fold(text).split())


def _is_sentence(text: str) -> bool:
    """Whether a text before a heading is the answer: neither a repeated prompt nor a preface ("Here it is:")."""
    plain = text.strip()
    return bool(plain) and not _PROMPT.search(plain) and not plain.endswith(":") and not _CUE_START.match(plain)
