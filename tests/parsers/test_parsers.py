"""Parsers: the labelled outputs, and what holds for any text."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parser_tasks import PARSERS

from mibe.data.documents import examples
from mibe.parsers.labels import LabelSet, OneLabel
from mibe.parsers.options import OptionLetter
from mibe.parsers.outcome import read
from mibe.parsers.ranked import RankedDiagnoses
from mibe.parsers.reasoning import without
from mibe.parsers.spans import MarkedSpans, Span, read_marks
from mibe.parsers.text import free_text, is_refusal
from mibe.registry import load_task
from mibe.task import Outcome, Parser, Prediction

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "cases" / "parsing.jsonl"
REAL = ROOT / ".." / "shared" / "cases" / "real_forms.jsonl"
EXTRA = ROOT / "tests" / "cases" / "parsing_extra.jsonl"
CHOICES = ("Lisinopril", "Vitamin D", "E. coli", "None of the above")


def cases(path: Path) -> list[Any]:
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{path.name} is not beside this checkout"))]
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        pytest.param(case, id=f"{number}-{case['task']}") for number, case in enumerate(map(json.loads, lines), start=1)
    ]


def _parser(task: str) -> Parser:
    return PARSERS.get(task) or load_task(task).parser


@pytest.mark.parametrize("case", [*cases(SHARED), *cases(REAL), *cases(EXTRA)])
def test_reads_what_a_person_reads(case: dict[str, Any]) -> None:
    value = _parser(case["task"])(case["output"], choices=tuple(case["choices"] or ()))
    expected = case["expected"]
    if case["task"] == "hoc" and value is not None and expected is not None:
        value, expected = set(value), set(expected)
    assert value == expected, case["why"]


# --- the options of real questions --------------------------------------------------------------------------------

FORMS = {
    "letter": "{letter}",
    "full stop and text": "{letter}. {text}",
    "bracket and text": "{letter}) {text}",
    "brackets and text": "({letter}) {text}",
    "space and text": "{letter} {text}",
    "small letter": "{small}) {text}",
    "half of the text": "{letter}) {half}",
    "stated": "The answer is {letter}. {text}",
    "stated in brackets": "The correct answer is ({letter}) {text}.",
    "headed": "Answer: {letter}. {text}",
    "headed, half of the text": "Answer: {letter}) {half}",
    "bold": "**{letter}. {text}**\n\nExplanation: the history fits.",
    "bold, stated": "The correct option is **{letter}) {text}**. The others do not explain the findings.",
    "concluded": "The history points to it. Therefore, the answer is {letter}. {text}",
    "named": "Option {letter}: {text}",
    "JSON": '{{"answer": "{letter}"}}',
    "boxed": "so $\\boxed{{{letter}}}$",
    "goes on": "{letter}\n\nQuestion: Which of these is a fruit?\nA. Car\nB. Apple\nAnswer: B",
    "text": "{text}",
    "text, stated": "The correct answer is {text}.",
    "text in a sentence": "The best next step would be {text}.",
}


def questions() -> Iterator[tuple[str, ...]]:
    """Choices of real questions without those that a person could not tell apart by what is quoted of them."""
    for task in ("medqa", "medmcqa", "mmlu"):
        for example in islice(examples(load_task(task), "test"), 0, None, 7):
            texts = [choice.casefold().strip(" .") for choice in example.choices]
            if len(set(texts)) == len(texts) and all(re.search("[a-z]{3}", text) for text in texts):
                yield tuple(example.choices)


@pytest.mark.parametrize("form", FORMS)
def test_any_option_of_real_questions_is_read_in_any_form(form: str) -> None:
    wrong, unread, count = [], [], 0
    for number, choices in enumerate(questions()):
        letter = "ABCDE"[number % len(choices)]
        text = choices[number % len(choices)]
        words = text.split()
        half = " ".join(words[: (len(words) + 1) // 2])
        output = FORMS[form].format(letter=letter, small=letter.lower(), text=text, half=half)
        value = PARSERS["medqa"](output, choices=choices)
        count += 1
        if value is None:
            unread.append((output, choices))
        elif value != letter:
            wrong.append((output, choices, value))
    assert count > 2000 and wrong == []
    # "A) cannot be …", cut in half, may as well deny A.
    assert len(unread) <= (0.01 if "half" in form else 0.002) * count, unread[:5]


# --- any text -------------------------------------------------------------------------------------------------------

# fmt: off
FRAGMENTS = st.sampled_from(
    [
        "A", "B", "(C)", "b)", "E", "yes", "no", "maybe", "not ", "Answer:", "The answer is ", "Final answer: ", "or",
        "and", "DDI-effect", "effect", "Neurology", "Surgery", "inducing angiogenesis", "none", "entails", "wait, ",
        "Therefore ", "<think>", "</think>", '<span class="problem">', "</span>", "&lt;", "{", "}", "[", "]",
        '"answer": ', "```", "**", "\\boxed{", "$", "\n", "\n\n", " ", ".", ",", ":", "1. ", "- ", "Question:",
        "</s>", "Lisinopril", "Vitamin D", "E. coli", "\u200b", "Ａ", "İ", "I'm sorry, but I can't",
    ]
)
LOOPS = [
    "<span ", "((((", "A ", "<think>", "</think>", '{"a":', "[", "no, ", "\\boxed{", "**", "__", "#", "> ", "- ",
    "answer ", "answer is ", "wait, ", "so ", "1. ", "<", "|", "$", "Question: ", "DDI-effect ", "not ",
    '<span class="problem">x</span>', "```", "_a", "(A) ", "\n", "Vitamin D and ", "final final ", "i ", ":-",
    "most likely: ", "&lt;", "'", '"',
]
# fmt: on
MESSY = [
    "1. Sarcoidosis\n2. Tuberculosis\n3. Granulomatosis with polyangiitis",
    "Most likely: Pheochromocytoma\n\nOther possibilities:\n1. Panic disorder\n2. Carcinoid syndrome",
    "- Gout\n  - swollen joint\n- Septic arthritis (less likely)",
    "The answer is (C) E. coli.",
    "I would say maybe, the evidence is mixed.",
    'He had <span class="problem">chest pain</span> and took <span class="treatment">aspirin</span>.',
    "DDI-effect, since the two act together",
    "sustaining proliferative signaling; inducing angiogenesis",
    "Answer: Cardiovascular / Pulmonary",
    "The premise does not contradict it: neutral",
    '{"answer": "B"}',
]
OUTPUTS = st.one_of(
    st.text(max_size=300), st.lists(FRAGMENTS, max_size=30).map("".join), st.lists(FRAGMENTS).map(" ".join)
)


def is_legal(task: str, value: Any) -> bool:
    parser = PARSERS[task]
    match parser:
        case OptionLetter():
            return value in {"A", "B", "C", "D"}
        case OneLabel():
            return value in parser.labels
        case LabelSet():
            return value == [label for label in parser.labels if label in value]
        case MarkedSpans():
            return all(kind in parser.types and text == text.strip() != "" for kind, text in value)
        case RankedDiagnoses():
            return 0 < len(value) <= 10 and all(value) and len({name.casefold() for name in value}) == len(value)
        case _:
            return isinstance(value, str) and value == value.strip() != ""


@pytest.mark.parametrize("task", PARSERS)
@settings(max_examples=150, deadline=None)
@given(output=OUTPUTS)
def test_any_text_gives_a_legal_prediction_or_none(task: str, output: str) -> None:
    value = PARSERS[task](output, choices=CHOICES)
    assert value is None or is_legal(task, value)


@pytest.mark.parametrize("task", PARSERS)
@settings(max_examples=50, deadline=None)
@given(output=OUTPUTS, around=st.text("\n \t\u200b\ufeff", max_size=5))
def test_white_space_and_invisible_characters_around_an_output_change_nothing(
    task: str, output: str, around: str
) -> None:
    parser = PARSERS[task]
    assert parser(around + output + around, choices=CHOICES) == parser(output, choices=CHOICES)


INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
KEEPS_ITS_TEXT = {"emrqa", "nejm_cpc", "pubmedsum", "mimic_cxr", "i2b2"}
"""Tasks whose prediction is a piece of the output, the white space between its words included."""


@pytest.mark.parametrize("task", PARSERS)
@settings(max_examples=50, deadline=None)
@given(output=OUTPUTS | st.sampled_from(MESSY), data=st.data())
def test_invisible_characters_within_an_output_change_nothing(task: str, output: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(output)), max_size=8))
    character = data.draw(st.sampled_from(INVISIBLE))
    for place in sorted(places, reverse=True):
        output = output[:place] + character + output[place:]
    clean = output.translate(dict.fromkeys(map(ord, INVISIBLE)))
    assert PARSERS[task](output, choices=CHOICES) == PARSERS[task](clean, choices=CHOICES)


@pytest.mark.parametrize("space", ["  ", "\u00a0", "\t", "\u2003"])
@pytest.mark.parametrize("task", PARSERS)
@settings(max_examples=50, deadline=None)
@given(output=st.sampled_from(MESSY))
def test_other_white_space_between_words_changes_nothing(task: str, space: str, output: str) -> None:
    def words(value: Any) -> Any:
        return json.loads(json.dumps(value, ensure_ascii=False).replace("\\t", " ").replace(space, " "))

    given, plain = (PARSERS[task](text, choices=CHOICES) for text in (output.replace(" ", space), output))
    assert (words(given) if task in KEEPS_ITS_TEXT else given) == plain


def test_no_parser_can_be_given_a_target() -> None:
    for parser in PARSERS.values():
        parameters = inspect.signature(type(parser).__call__).parameters
        assert set(parameters) == {"self", "output", "choices", "inputs"}


@pytest.mark.parametrize("unit", LOOPS)
@pytest.mark.parametrize("task", ["medqa", "ddi", "hoc", "i2b2", "emrqa", "nejm_cpc", "pubmedsum"])
def test_a_long_loop_of_one_thing_comes_back(task: str, unit: str) -> None:
    PARSERS[task](unit * (200_000 // len(unit)), choices=CHOICES)


# --- outcomes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finish_reason", "expected"),
    [
        ("yes", "stop", Prediction("yes", Outcome.PARSED)),
        ("yes", "length", Prediction("yes", Outcome.PARSED)),
        ("yes", "error", Prediction(None, Outcome.ERROR)),
        ("yes", "filter", Prediction(None, Outcome.REFUSED)),
        ("<think>It may be yes", "length", Prediction(None, Outcome.TRUNCATED)),
        ("I'm sorry, but I cannot answer this.", "stop", Prediction(None, Outcome.REFUSED)),
        ("I'm sorry, but I cannot answer this.", "length", Prediction(None, Outcome.TRUNCATED)),
        ("The trial was small.", "stop", Prediction(None, Outcome.UNPARSED)),
        ("", "stop", Prediction(None, Outcome.UNPARSED)),
    ],
)
def test_every_response_has_one_outcome(text: str, finish_reason: str, expected: Prediction) -> None:
    assert read(text, finish_reason, PARSERS["pubmedqa"]) == expected


def test_a_stated_empty_set_is_parsed() -> None:
    assert read("none", "stop", PARSERS["hoc"]) == Prediction([], Outcome.PARSED)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot provide medical advice.",
        "As an AI language model, I am not able to diagnose patients.",
        "I am unable to assist with this request.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "No.",
        "The patient is unable to provide a history.",
        "Surgery cannot help.",
        "He said: sorry.",
        "The lesion can't be seen.",
    ],
)
def test_other_peoples_inability_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a<think>b</think>c", "ac"),
        ("a</think>b", "b"),
        ("a<think>b", ""),
        ("<THINKING>a</THINKING>b", "b"),
        ("<think>a<think>b</think>c", "c"),
        ("<|channel|>analysis<|message|>a<|channel|>final<|message|>b", "b"),
        ("<|channel|>analysis<|message|>a", ""),
        ("a < b > c", "a < b > c"),
    ],
)
def test_reasoning_is_no_part_of_an_answer(text: str, left: str) -> None:
    assert without(text) == left


def test_free_text_keeps_the_characters_of_names() -> None:
    assert free_text("  Sjögren's “sicca” ² μ</s>") == "Sjögren's “sicca” ² μ"


def test_offsets_of_marks_fit_the_text_without_tags() -> None:
    text, spans = read_marks(
        'A <span class="test">CT of <span class="problem"> it </span></span>.', {"test": "test", "problem": "problem"}
    )
    assert text == "A CT of  it ."
    assert spans == [Span("test", 2, 11), Span("problem", 9, 11)]
    assert [text[span.start : span.end] for span in spans] == ["CT of  it", "it"]


def test_aliases_of_mark_classes() -> None:
    parser = MarkedSpans(("test",), aliases={"Lab": "test"})
    assert parser('<span class="lab">CBC</span> <tests>CT</tests>') == [["test", "CBC"], ["test", "CT"]]


def test_the_sentence_as_it_was_given_is_no_place_of_its_marks() -> None:
    parser = MarkedSpans(("problem",))
    sentence = "No pain,\nbut a Rash of the arm ."
    marked = 'No pain,\nbut a <span class="problem">Rash</span> of the arm .'
    for before in ("", f"{sentence}\n", f"Sentence: {sentence}\n\n", f"Here it is: {sentence}\n"):
        assert parser(before + marked, inputs={"text": sentence}) == [["problem", 15, 19]]
        assert parser(f"{before}{marked}\n{sentence}", inputs={"text": sentence}) == [["problem", 15, 19]]


def test_an_alias_must_stand_for_a_label() -> None:
    with pytest.raises(ValueError, match="DDI-none"):
        OneLabel(("DDI-int",), aliases={"none": "DDI-none"})


def test_without_options_no_letter_is_an_answer() -> None:
    assert OptionLetter()("A") is None


@pytest.mark.parametrize("form", ["{}", "{}.", " {}\n", "The answer is {}", "The answer is {}.", "Answer: {}"])
def test_a_bare_letter_is_what_the_grammar_reads(form: str) -> None:
    """It is read without the grammar, and by it to the same end."""
    parser = OptionLetter()
    odd = [("A", "B", "C"), ("B", "A"), ("Vitamin A", "a", "C."), ("(C)", "B)", "A+")]
    real = [example.choices for example in islice(examples(load_task("medqa"), "test"), 0, None, 250)]
    for choices in (*odd, *real):
        for letter in "ABCDE":
            output = form.format(letter)
            assert parser(output, choices=choices) == parser.explain(output, choices=choices).value, (choices, output)


def test_letters_end_with_the_last_option() -> None:
    assert OptionLetter()("C", choices=("x", "y", "z")) == "C"
    assert OptionLetter()("C", choices=("x", "y")) is None


def test_words_that_are_answers_only_where_they_stand_as_one() -> None:
    labels = ("effect", "int")
    assert OneLabel(labels)("It has an effect on the liver.") == "effect"
    assert OneLabel(labels, as_answer_only=("effect",))("It has an effect on the liver.") is None
    assert OneLabel(labels, as_answer_only=("effect",))("The answer is effect.") == "effect"


def test_none_words_are_the_task_s_own() -> None:
    parser = LabelSet(("a1", "b2"), none_words=("no finding",))
    assert parser("No finding.") == []
    assert parser("none") is None


def test_only_the_first_names_of_a_long_list_are_kept() -> None:
    assert RankedDiagnoses(most=2)("1. Gout\n2. Lupus\n3. Lyme disease") == ["Gout", "Lupus"]
