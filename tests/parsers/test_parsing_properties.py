"""What holds for readings of every wording: no answer is favoured, and a cut never turns one answer into another."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from composed_outputs import (
    BEFORE,
    FIRST,
    LABEL_BEFORE,
    LABEL_FIRST,
    LABEL_STATED,
    LABELS,
    LEFT,
    OPTION_SETS,
    STATED,
    Composed,
    composed,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parser_tasks import PARSERS

from mibe.analysis.outputs import parse_outputs
from mibe.parsers.cues import LANGUAGES
from mibe.parsers.evidence import evidence
from mibe.parsers.options import OptionLetter
from mibe.parsers.outcome import read
from mibe.protocols import apply
from mibe.registry import load_task
from mibe.task import Outcome, Parser, Value

COMPOSED = list(composed())
LETTER = OptionLetter()


def test_a_person_reads_the_same_from_composed_outputs() -> None:
    wrong = [case for case in COMPOSED if _read(case) != case.expected]
    assert len(COMPOSED) > 5000 and wrong == []


def _read(case: Composed) -> Value | None:
    return load_task(case.task).parser(case.output, choices=case.choices)


# --- no answer is favoured --------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_relabelling_the_options_permutes_the_answer(data: st.DataObject) -> None:
    choices = data.draw(st.sampled_from(OPTION_SETS))
    form = data.draw(st.sampled_from([*(b + "\n\n" + c for b in BEFORE for c in STATED), *LEFT]))
    order = data.draw(st.permutations(range(len(choices))))
    answer, *others = data.draw(st.permutations(range(len(choices))))

    def asked(place: Callable[[int], int], texts: Sequence[str]) -> str | None:
        fields = {name: "ABCDE"[place(i)] for name, i in zip("LOP", (answer, *others), strict=False)}
        fields |= {name: choices[i] for name, i in zip(("T", "OT", "PT"), (answer, *others), strict=False)}
        return LETTER(form.format(**fields), choices=texts)

    moved = {old: new for new, old in enumerate(order)}
    assert asked(lambda i: i, choices) == "ABCDE"[answer]
    assert asked(lambda i: moved[i], [choices[old] for old in order]) == "ABCDE"[moved[answer]]


@pytest.mark.parametrize("task", LABELS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_swapping_labels_in_an_output_swaps_the_reading(task: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from([*LABEL_FIRST, *(b + c for b in LABEL_BEFORE for c in LABEL_STATED)]))
    first, second, third = data.draw(st.permutations(LABELS[task]))[:3]
    listed = "\n".join(f"- {label}" for label in LABELS[task])
    parser = load_task(task).parser
    one = parser(form.format(X=first, Y=second, Z=third, all=listed))
    other = parser(form.format(X=second, Y=first, Z=third, all=listed))
    assert (one, other) == (first, second)


@pytest.mark.parametrize("label", ["Yes", "No", "Maybe", "yes", "no", "maybe"])
@pytest.mark.parametrize(
    "after",
    [
        " Explanation: the arms healed alike.",
        " Both techniques were safe.",
        " The rate fell.",
        ", it does.",
        " (p = 0.4)",
    ],
)
def test_yes_no_and_maybe_are_read_alike(label: str, after: str) -> None:
    assert PARSERS["pubmedqa"](label + after) == label.lower()


@pytest.mark.parametrize("order", [("yes", "no"), ("no", "yes"), ("maybe", "no"), ("no", "maybe", "yes")])
def test_a_list_of_labels_is_no_answer_in_any_order(order: Sequence[str]) -> None:
    assert PARSERS["pubmedqa"]("\n".join(f"{n}. {label}" for n, label in enumerate(order, start=1))) is None


# --- prefaces and cuts ------------------------------------------------------------------------------------------------

PREFACES = (
    "Sure! ", "Here is my answer.\n\n", "Let me think about this. The patient is 45 years old.\n\n", "\n\n", "Okay. ",
    "Thank you for the question.\n\n", "Step 1: The findings are acute.\n\n",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(case=st.sampled_from([c for c in COMPOSED if c.kind.startswith("stated,")]), preface=st.sampled_from(PREFACES))
def test_a_harmless_preface_changes_nothing(case: Composed, preface: str) -> None:
    assert load_task(case.task).parser(preface + case.output, choices=case.choices) == case.expected


@settings(max_examples=1500, deadline=None)
@given(case=st.sampled_from([case for case in COMPOSED if case.expected]), share=st.floats(0, 1))
def test_a_cut_never_turns_into_another_answer(case: Composed, share: float) -> None:
    # A model stops between tokens, not in the midst of "Answer".
    ends = [word.end() for word in re.finditer(r"\w+|\W", case.output)]
    cut = case.output[: ends[int(share * (len(ends) - 1))]]
    # What is nothing but an answer is that answer: how it was to go on cannot be known.
    assume(len(re.findall(r"\w+", cut)) > (1 if case.choices else 3))
    found = read(cut, "length", load_task(case.task).parser, choices=case.choices)
    assert found.value in (None, case.expected)
    assert found.outcome in (Outcome.PARSED, Outcome.TRUNCATED)


@pytest.mark.parametrize("form", FIRST)
def test_an_answer_that_opens_the_output_needs_no_end(form: str) -> None:
    output = form.format(L="B", O="A", P="D", OT="Aspirin", PT="Alteplase")
    assert read(output, "length", LETTER, choices=OPTION_SETS[0]).value == "B"


RANKED = "1. Gout\n2. Septic arthritis (less likely, though possible)\n3. Lyme disease - a tick bite\n4. Psoriasis"
MARKED = 'A <span class="test">CT</span> showed <span class="problem">a mass</span> of <span class="test">it</span> .'
TOPICS = "inducing angiogenesis; resisting cell death; cellular energetics"


@given(st.integers(0, len(RANKED)))
def test_a_cut_list_of_diagnoses_is_the_beginning_of_the_whole(at: int) -> None:
    whole, cut = PARSERS["nejm_cpc"](RANKED), PARSERS["nejm_cpc"](RANKED[:at]) or []
    assert cut[:-1] == whole[: len(cut) - 1 if cut else 0]


@given(st.integers(0, len(MARKED)), st.integers(0, len(TOPICS)))
def test_a_cut_of_marks_or_topics_adds_none(at: int, topics_at: int) -> None:
    marks, topics = PARSERS["i2b2"], PARSERS["hoc"]
    assert all(mark in marks(MARKED) for mark in marks(MARKED[:at]) or [])
    assert set(topics(TOPICS[:topics_at]) or []) <= set(topics(TOPICS))


@given(st.text("ab \n", min_size=1), st.integers(0, 40))
def test_a_cut_of_free_text_is_its_beginning(text: str, at: int) -> None:
    for task in ("emrqa", "pubmedsum"):
        whole, cut = PARSERS[task](text), PARSERS[task](text[:at])
        assert cut is None or (whole is not None and whole.startswith(cut))


# --- languages, wordings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("letter", "ABCD")
def test_every_language_has_its_words_for_answer(language: str, letter: str) -> None:
    words = re.sub(r"\(\?[:<!=][^()]*\)\??|\?", "", LANGUAGES[language].answer).split("|")
    for word in filter(None, (re.sub(r"\[(.)[^]]*\]", r"\1", word) for word in words)):
        if word.isalpha():
            assert LETTER(f"{word}: {letter}", choices=OPTION_SETS[0]) == letter, word


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("The answer is: lisinopril 10 mg", "lisinopril 10 mg"),
        ('The answer is: "lisinopril"', "lisinopril"),
        ("Answer: lisinopril", "lisinopril"),
        ("The answer is unclear from the note", "The answer is unclear from the note"),
    ],
)
def test_the_words_before_a_copied_answer_are_no_part_of_it(output: str, expected: str) -> None:
    assert PARSERS["emrqa"](output) == expected


@pytest.mark.parametrize("task", [task for task in PARSERS if task not in ("i2b2",)])
def test_a_filter_s_message_is_a_refusal(task: str) -> None:
    message = "The response was filtered due to the prompt triggering our content management policy."
    assert read(message, "stop", PARSERS[task], choices=OPTION_SETS[0]).outcome is Outcome.REFUSED


def test_a_filter_in_a_study_is_none() -> None:
    text = "The output was filtered at 40 Hz. The response was blocked by atropine in all animals."
    assert read(text, "stop", PARSERS["pubmedsum"]).value == text


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("Fragile X syndrome (female carrier, although rare)", "Fragile X syndrome"),
        ("Vaskulitis, z. B. Panarteriitis nodosa", "Vaskulitis, z. B. Panarteriitis nodosa"),
        ("St. Louis encephalitis. A mosquito bite fits.", "St. Louis encephalitis"),
        ("Lupus (SLE): a rash. Fever.", "Lupus (SLE)"),
    ],
)
def test_names_keep_their_abbreviations_and_lose_remarks(item: str, name: str) -> None:
    assert PARSERS["nejm_cpc"](f"1. {item}\n2. Gout") == [name, "Gout"]


def test_a_reading_says_its_rule() -> None:
    reading = LETTER.explain("Option B is heparin. The answer is A.", choices=OPTION_SETS[0])
    assert (reading.value, reading.rule, reading.words) == ("A", "announced", "The answer is [A].")
    assert LETTER.explain("B or C", choices=OPTION_SETS[0]).value is None
    assert evidence("The answer is A.", "A", LETTER, choices=OPTION_SETS[0]) is not None


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "protocol", "unit"),
    [
        ("medqa", "default", "answer is "), ("medqa", "default", "A, "), ("ddi", "default", "if "),
        ("medqa", "default", "a"), ("medqa", "default", "("), ("pubmedqa", "default", "0"), ("hoc", "default", "["),
        ("nejm_cpc", "default", "1. "), ("emrqa", "default", "'"), ("i2b2", "default", "<span "),
        ("i2b2", "paper", "<a "),
        ("i2b2", "paper", "<!--"), ("i2b2", "paper", "<span "), ("medqa", "paper", "A, "), ("ddi", "paper", "DDI-"),
    ],
)  # fmt: skip
def test_time_grows_no_faster_than_the_text(task: str, protocol: str, unit: str) -> None:
    parser = load_task(task).parser if protocol == "default" else _paper(task)
    # Sixteen times the text would take 256 times as long if time were quadratic.
    short, long = (_seconds(parser, unit * (size // len(unit))) for size in (3_000, 48_000))
    assert long < 80 * max(short, 0.002)


def _paper(task: str) -> Parser:
    pytest.importorskip("bs4")
    pytest.importorskip("spacy")
    return apply("paper", load_task(task)).parser


def _seconds(parser: Parser, text: str) -> float:
    inputs: dict[str, Any] = {"text": "A mass ."}
    times = []
    for _ in range(2):
        start = time.process_time()
        parser(text, choices=OPTION_SETS[0], inputs=inputs)
        times.append(time.process_time() - start)
    return min(times)


# --- mibe parse --explain -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "line", "why"),
    [
        ("medqa", {"output": "So it is B."}, "concluded: So it is [B]."),
        ("medqa", {"output": "So it is B.", "finish_reason": "length"}, "nothing is chosen"),
        ("medqa", {"output": "<think>B?"}, "the reasoning never ended, so there is no answer"),
        ("medqa", {"output": "I cannot provide medical advice."}, "declined or withheld"),
        ("nejm_cpc", {"output": "1. Gout\n2. Lupus"}, "read from: 1. Gout 2. Lupus"),
    ],
)
def test_each_output_is_explained(task: str, line: dict[str, Any], why: str) -> None:
    (said,) = parse_outputs(load_task(task), [json.dumps(line | {"choices": list(OPTION_SETS[0])})], why=True)
    assert said["why"] == why
