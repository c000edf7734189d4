"""Marked sentences judged by where their marks stand in the input sentence."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mibe.parsers.alignment import Alignment, fold
from mibe.parsers.spans import MarkedSpans, Span, write_marks
from mibe.parsers.text import INVISIBLE

TYPES = ("problem", "treatment", "test")
PARSER = MarkedSpans(TYPES)

# Words as in clinical notes; few of them, so that equal words stand beside each other.
WORDS = [
    "pain",
    "chest",
    "Pain",
    "of",
    "the",
    "no",
    "10mg",
    "q.d.",
    "x-ray",
    "(",
    ")",
    ",",
    "<",
    "5",
    "b12",
    "s/p",
    "µg",
]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14)


@st.composite
def annotated(draw: st.DrawFn, words: st.SearchStrategy[list[str]] = sentences) -> tuple[list[str], list[list[Any]]]:
    """The words of a sentence, and entities over them as [type, first word, last word], which may be nested."""
    chosen = draw(words)
    entities: list[list[Any]] = []
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, len(chosen) - 1))
        last = draw(st.integers(first, len(chosen) - 1))
        crosses = any(a < first <= b < last or first < a <= last < b for _, a, b in entities)
        if not crosses:
            entities.append([draw(st.sampled_from(TYPES)), first, last])
    return chosen, entities


def in_characters(words: list[str], entities: list[list[Any]]) -> list[list[Any]]:
    starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
    return [[kind, starts[first], starts[last] + len(words[last])] for kind, first, last in entities]


def marked(words: list[str], entities: list[list[Any]]) -> str:
    return write_marks(" ".join(words), [Span(*entity) for entity in in_characters(words, entities)])


def read(output: str, sentence: str) -> list[list[Any]]:
    value: Any = PARSER(output, inputs={"text": sentence})
    return value


def as_set(entities: list[list[Any]]) -> set[tuple[Any, ...]]:
    return {tuple(entity) for entity in entities}


@settings(max_examples=300, deadline=None)
@given(annotated())
def test_the_gold_sentence_gives_the_gold_entities(example: tuple[list[str], list[list[Any]]]) -> None:
    words, entities = example
    assert as_set(read(marked(words, entities), " ".join(words))) == as_set(in_characters(words, entities))


@settings(max_examples=200, deadline=None)
@example((["the"], [["problem", 0, 0]]), "preface")
@given(annotated(), st.sampled_from(["upper", "spaces", "joined", "quotes", "preface"]))
def test_another_spelling_of_the_same_sentence_changes_nothing(
    example: tuple[list[str], list[list[Any]]], change: str
) -> None:
    words, entities = example
    output = marked(words, entities)
    changed = {
        "upper": lambda: output.replace("pain", "PAIN").replace("chest", "Chest"),
        "spaces": lambda: output.replace(" of ", "  of\n"),
        "joined": lambda: output.replace(" ,", ",").replace("( ", "(").replace(" )", ")"),
        "quotes": lambda: output.replace("-", "–"),
        "preface": lambda: f"Here is the marked sentence:\n\n{output}",
    }[change]()
    assert as_set(read(changed, " ".join(words))) == as_set(in_characters(words, entities))


distinct = st.integers(2, 14).map(lambda count: [f"w{chr(97 + i)}" for i in range(count)])


@settings(max_examples=300, deadline=None)
@given(annotated(distinct), st.data())
def test_text_that_was_dropped_loses_only_the_entities_in_it(
    example: tuple[list[str], list[list[Any]]], data: st.DataObject
) -> None:
    words, entities = example
    kept = sorted(data.draw(st.sets(st.integers(0, len(words) - 1), min_size=1)))
    whole = [e for e in entities if set(range(e[1], e[2] + 1)) <= set(kept)]
    moved = [[kind, kept.index(first), kept.index(last)] for kind, first, last in whole]
    output = marked([words[i] for i in kept], moved)
    assert as_set(read(output, " ".join(words))) == as_set(in_characters(words, whole))


@settings(max_examples=200, deadline=None)
@given(annotated(), st.integers(1, 14))
def test_an_output_that_was_cut_off_keeps_its_place(example: tuple[list[str], list[list[Any]]], length: int) -> None:
    words, entities = example
    kept = words[:length]
    whole = [entity for entity in entities if entity[2] < len(kept)]
    assert as_set(read(marked(kept, whole), " ".join(words))) == as_set(in_characters(words, whole))


FRAGMENTS = st.sampled_from(
    ["pain", "chest ", " of", '<span class="problem">', '<span class="test">', "</span>", "\n", "İ", "ß", "\u200b", "ﬁ"]
)
texts = st.one_of(st.text(max_size=80), st.lists(FRAGMENTS, max_size=30).map("".join))


@settings(max_examples=400, deadline=None)
@given(texts, texts)
def test_any_output_over_any_sentence_gives_legal_entities(output: str, sentence: str) -> None:
    value = read(output, sentence)
    if value is None:
        return
    assert len(as_set(value)) == len(value)
    made_up = [start for _, start, _ in value if start < 0]
    assert made_up == [-1 - i for i in range(len(made_up))]
    for kind, start, end in value:
        assert kind in TYPES
        assert start == end < 0 or (0 <= start < end <= len(sentence) and sentence[start:end].strip())


@settings(max_examples=200, deadline=None)
@given(texts, texts)
def test_a_place_holds_the_same_text(copy: str, source: str) -> None:
    alignment = Alignment(copy, source)
    rng = random.Random(0)
    for _ in range(5):
        start = rng.randint(0, len(copy))
        end = rng.randint(start, len(copy))
        place = alignment.place(start, end)
        if place is not None:
            visible = [
                [c for c in fold(t) if not c.isspace() and ord(c) not in INVISIBLE]
                for t in (copy[start:end], source[slice(*place)])
            ]
            assert visible[0] == visible[1]


@given(st.text(max_size=50))
def test_folding_keeps_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)


SENTENCE = "No chest pain , but pain in the left leg and do n't touch ."


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('No chest pain, but <span class="problem">pain</span> in the left leg', ["20:pain"]),
        ('<span class="problem">Chest Pain</span>', ["3:chest pain"]),
        ('<span class="problem">pain in the left leg</span>', ["20:pain in the left leg"]),
        ('and <span class="test">don\'t touch</span> .', ["45:do n't touch"]),
        ('He denies <span class="problem">angina</span>.', [None]),
        ('<span class="problem">angina</span> and <span class="problem">Angina</span>', [None]),
        ('<span class="problem">angina</span> and <span class="test">angina</span>', [None, None]),
        ('<span class="problem">chest pains</span>', [None]),
        ('<span class="problem">chest but pain</span>', [None]),
        ('<span class="problem">chest pain , but leg</span>', [None]),
        ("No findings here", []),
    ],
)
def test_places(output: str, expected: list[str | None]) -> None:
    found = [None if start < 0 else f"{start}:{SENTENCE[start:end]}" for _, start, end in read(output, SENTENCE)]
    assert found == expected


def test_a_sentence_that_is_given_twice_counts_once() -> None:
    once = 'No <span class="problem">chest pain</span> , but pain in the left leg'
    assert read(f"{once} . {once} .", SENTENCE) == read(once, SENTENCE) == [["problem", 3, 13]]


def test_a_rewritten_sentence_neither_earns_nor_loses_by_accident() -> None:
    output = 'The patient reports that the <span class="problem">lower extremity pain</span> is on the left .'
    assert read(output, SENTENCE) == [["problem", -1, -1]]
    # Letters that occur in the sentence here and there are not its words.
    assert read('<span class="problem">not</span> <span class="test">le</span>', SENTENCE) == [
        ["problem", -1, -1],
        ["test", -2, -2],
    ]


@pytest.mark.parametrize("sentence", ["The 5'-nucleotidase test , pain > 3", "The 5'-nucleotidase test , pain &gt; 3"])
def test_character_references_are_read_where_the_sentence_has_none(sentence: str) -> None:
    written = sentence.replace("'", "&#x27;").replace(" > ", " &gt; ")
    output = written.replace("pain &gt; 3", '<span class="problem">pain &gt; 3</span>')
    ((kind, start, end),) = read(output, sentence)
    assert (kind, sentence[start:end]) == ("problem", sentence[sentence.index("pain") :])


def test_without_the_sentence_entities_are_texts() -> None:
    output = 'No <span class="problem">chest pain</span>'
    assert PARSER(output) == PARSER(output, inputs={"other": "x"}) == [["problem", "chest pain"]]


def test_marks_that_cross_are_written_without_the_later_one() -> None:
    spans = [Span("test", 0, 4), Span("problem", 2, 7), Span("test", 2, 4), Span("treatment", 8, 9)]
    assert write_marks("a bb cc d", spans) == (
        '<span class="test">a <span class="test">bb</span></span> cc <span class="treatment">d</span>'
    )


@pytest.mark.parametrize("unit", ["pain ", '<span class="problem">pain</span> ', '<span class="test">x</span>', "a b "])
def test_a_megabyte_over_a_sentence_comes_back(unit: str) -> None:
    read(unit * (1_000_000 // len(unit)), SENTENCE * 10)
