"""What is no answer to a reader, though a metric would give something for it.

A run reads kindly: no model of a run gains by marking every word. A policy that is trained on a reward finds what pays,
so a reward gives nothing for all there is to answer, several answers for one place, the prompt back, a loop, a text
that nobody would read; `mibe.rewards.hedging` says which answers of a closed set leave it open. These rules may look at
the gold answer, as parsers may not: what the gold answer does too is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count

from mibe.metrics.diagnosis_names import alternatives
from mibe.metrics.extraction import Entity
from mibe.metrics.summarization import lcs_length
from mibe.parsers.alignment import fold
from mibe.parsers.spans import MarkedSpans, one_line
from mibe.task import Category, Example, Task, Value

LONGEST = 16_000
"""Characters of an answer, behind its reasoning, that a reader would read for it."""

WHOLE = 0.8
"""Share of a text's words from which on another text holds all of it."""

ALL = 0.9
"""Share of a sentence's words from which on everything is marked."""

FEWEST = 20
"""Words of an input that can be copied: an impression may well say all of three findings."""

SHORT = 300
"""Characters up to which an answer may repeat itself: "B\\nB\\nB" is B."""

RUN = 8
"""Words in a row that are looked for again where a text has no sentences: shorter runs come again in honest texts."""

_WORD = re.compile(r"\w+")
_TAG = re.compile(r"<[^<>]*>")
_SENTENCE = re.compile(r"[.!?;\n]+")
_NUMBER = re.compile(r"(?:^|(?<=\s))\(?\d+[.):](?=\s)")
"""Of an item in a list."""


def admitted(task: Task, example: Example, answer: str, value: Value) -> Value | None:
    """What a reader would take of a value that was read from `answer`: the value, a part of it, or None."""
    if len(answer) > SHORT and _is_endless(answer, task.prompt.answer(example)):
        return None
    if task.category is Category.DIAGNOSIS:
        return [first_name(name) for name in value]
    if isinstance(value, str):
        is_free = not task.candidates(example)
        return None if is_free and _is_copy(task, example, value) else value
    if task.labels:
        return None if _lists_labels(value, example.target, task.labels) else value
    parser = task.parser
    if not isinstance(parser, MarkedSpans) or parser.field not in example.inputs:
        return value
    return _marks(value, example.target, example.inputs[parser.field], answer, parser)


# --- ranked diagnoses -------------------------------------------------------------------------------------------------


def first_name(diagnosis: str) -> str:
    """A diagnosis without a second one in parentheses: "Gout (PSEUDOGOUT)" is gout, "Hepatitis A (HAV)" stays."""
    outside, inside = alternatives(diagnosis)
    if all(_abbreviates(short, outside) or _abbreviates(outside, short) for short in inside):
        return diagnosis
    return outside


def _abbreviates(short: str, name: str) -> bool:
    """Whether the signs of an abbreviation stand in a name in their order, the first of them at the start of a word.

    After Schwartz & Hearst 2003, "A simple algorithm for identifying abbreviation definitions in biomedical text".
    """
    signs = [sign for sign in short.casefold().removesuffix("s") if sign.isalnum()]
    name = name.casefold()
    starts = [match.start() for match in re.finditer(rf"\b{re.escape(signs[0])}", name)] if signs else []
    return any(_stand_in(signs, name[start:]) for start in starts)


def _stand_in(signs: Sequence[str], text: str) -> bool:
    left = iter(text)
    return all(sign in left for sign in signs)


# --- sets of labels ---------------------------------------------------------------------------------------------------


def _lists_labels(value: Collection[str], target: Collection[str], labels: Collection[str]) -> bool:
    """Whether an answer lists what labels there are: more than half of them, and more than twice those that apply."""
    return len(value) > len(labels) / 2 and len(value) > 2 * len(target)


# --- free text --------------------------------------------------------------------------------------------------------


def _is_copy(task: Task, example: Example, text: str) -> bool:
    """Whether a text holds all of the instruction or of an input, and the gold answer does not."""
    words = _words(text)
    for shown in (task.prompt.instruction, *example.inputs.values()):
        given = _words(shown)
        long = len(given) >= FEWEST and len(words) >= WHOLE * len(given)
        if words == given or (long and _holds(words, given)):
            return not any(_holds(_words(gold), given) for gold in _texts(example.target))
    return False


def _is_endless(answer: str, gold: str) -> bool:
    """Whether nobody would read an answer to its end: a loop, or a very long one, unless the gold answer is so too."""
    return len(answer) > max(LONGEST, 2 * len(gold)) or (_loops(answer) and not _loops(gold))


def _loops(text: str) -> bool:
    """Whether most of a text is sentences, or runs of words, that it has already said; numbers of items aside."""
    text = _NUMBER.sub(" ", text)
    sentences = [tuple(words) for part in _SENTENCE.split(text) if (words := _words(part))]
    words = _words(text)
    runs = [tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]
    return 2 * sum(map(len, set(sentences))) < sum(map(len, sentences)) or 2 * len(set(runs)) < len(runs)


def _holds(words: list[str], given: list[str]) -> bool:
    """Whether the words hold most of the given ones in their order."""
    return lcs_length(words, given) >= WHOLE * len(given)


def _texts(target: Value) -> list[str]:
    return [target] if isinstance(target, str) else [str(one) for one in target]


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


# --- marked entities --------------------------------------------------------------------------------------------------


def _marks(value: Value, target: Value, source: str, answer: str, parser: MarkedSpans) -> Value | None:
    """The entities, those of which one place has several taken out of the text; None for no marks and for all marks."""
    if not value:
        return value if _holds(_words(_TAG.sub("", answer)), _words(source)) else None
    found, gold = [Entity(*one) for one in value], {Entity(*one) for one in target}
    if _marked_share(found, source) >= ALL > _marked_share(gold, source):
        return None
    # An entity that stands nowhere equals nothing, and is a false positive: see `mibe.metrics.extraction`.
    nowhere = min((entity.start for entity in found if entity.start < 0), default=0)
    places = count(nowhere - 1, -1)
    # One that stands nowhere may be the second answer for a place, in a list of marks or a second copy.
    named = {(one.type, one_line(source[one.start : one.end])) for one in gold}
    elsewhere = [one for one in parser.misplaced(answer, source) if one not in named] if nowhere else []
    return [
        _nowhere(one.type, places)
        if one in gold and (_has_rival(one, found, gold) or _is_named_otherwise(one, elsewhere, source))
        else list(one)
        for one in found
    ]


def _is_named_otherwise(entity: Entity, others: Iterable[tuple[str, str]], source: str) -> bool:
    """Whether one of these marks, by type and text, is another answer for the entity's words or a part of them."""
    words = f" {one_line(source[entity.start : entity.end])} "
    return any(f" {text} " in words or words in f" {text} " for _, text in others)


def _nowhere(kind: str, places: Iterator[int]) -> list[str | int]:
    place = next(places)
    return [kind, place, place]


def _has_rival(entity: Entity, found: Sequence[Entity], gold: Collection[Entity]) -> bool:
    """Whether another answer is given for a part of the entity's place, which is none of the gold ones."""
    return any(
        other != entity and other not in gold and other.start < entity.end and entity.start < other.end
        for other in found
    )


def _marked_share(entities: Collection[Entity], source: str) -> float:
    """Share of a text's words that stand in an entity; 0 of a text without words."""
    words = [match.span() for match in _WORD.finditer(source)]
    marked = sum(any(entity.start < end and start < entity.end for entity in entities) for start, end in words)
    return marked / len(words) if words else 0.0
