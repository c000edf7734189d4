"""Spoiled text: what changes, and what never does."""

import random
import re
import zipfile
from pathlib import Path

import pytest

from mibe.data.documents import examples
from mibe.registry import load_task
from mibe.task import Example
from mibe.variation import Varied, variation_of
from mibe.variation.distractor import sentences
from mibe.variation.noise import is_protected, line_breaks, lower_case, typing_errors
from mibe.variation.reviewed import reviewed
from mibe.variation.sentences import after_first, before_last, starts

MEDQA = load_task("medqa")
TEXT = (
    "A 45-year-old man comes to the physician because of progressive shortness of breath for several months. He has no "
    "chest discomfort and denies palpitations. He takes metoprolol 25 mg and lisinopril daily. Blood pressure is "
    "160/90 mm Hg, serum sodium is 128 mEq/L. Which additional finding is expected?"
)
KEPT = ["45-year-old", "no", "denies", "metoprolol", "25", "mg", "lisinopril", "160/90", "mm", "Hg,", "128", "mEq/L."]


def noisy(text=TEXT, spec="noise", choices=("a rash", "a cough", "edema", "fever", "gout")):
    document = Example(id="test/1", inputs={"question": text}, target="A", choices=choices)
    found = variation_of(MEDQA, spec, seed=1, has_shots=False, own_answers=False).of(document)
    return {next(iter(each.stands.values())): each for each in found if isinstance(each, Varied)}


def test_numbers_units_drugs_and_negations_stay():
    found = noisy(spec="noise:31")
    assert list(found)[:5] == ["none", "typos", "lowercase", "breaks", "typos-2"]
    for value, each in found.items():
        words = each.inputs["question"].split()
        assert [word for word in KEPT if word not in words] == [], value
        assert each.choices == found["none"].choices and each.target == "A"


@pytest.mark.parametrize(
    "word",
    ["5", "mg", "mmHg", "mEq/L", "not", "denies", "isn't", "ECG", "pH", "Metoprolol", "amoxicillin", "ceftriaxone",
     "infliximab", "warfarin,", "hyperkalemia", "hypokalemia", "left", "@DRUG$", "causal", "(aspirin)", "≥3%"],
)  # fmt: skip
def test_words_that_must_stay_are_known(word):
    assert is_protected(word)


@pytest.mark.parametrize("word", ["physician", "shortness", "comes", "Which", "finding", "examination", "department"])
def test_others_may_change(word):
    assert not is_protected(word)


@pytest.mark.parametrize(
    "word",
    ["cyclophosphamide", "Plavix", "hydroxyurea", "maraviroc", "naproxen", "Na+", "K+:", "(Cr)", "nontender", "N:"],
)
def test_what_no_list_thought_of_stays(word):
    text = f"The patient takes {word} and has shortness of breath after walking."
    for seed in range(40):
        for spoil in (typing_errors, lower_case, line_breaks):
            assert word in spoil(text, random.Random(seed), frozenset()).replace("\n", " ").split()


def test_no_name_of_a_drug_is_a_plain_word():
    corpus = Path(__file__).resolve().parents[3] / "shared" / "data" / "ddi2013" / "DDICorpus-2013.zip"
    if not corpus.exists():
        pytest.skip("the DDI corpus is not here")
    names = set()
    with zipfile.ZipFile(corpus) as files:
        for name in files.namelist():
            if name.endswith(".xml"):
                found = re.findall(rb'<entity [^>]*type="(?:drug|brand)"[^>]*text="([^"]*)"', files.read(name))
                names |= {word.lower() for text in found for word in re.findall(r"[A-Za-z]{4,}", text.decode())}
    assert len(names) > 1000
    # Parts of names of several words are left, and none that is a name by itself.
    assert names & set(reviewed("noise")["plain"]) == {"muscle", "same"}


def test_typing_errors_keep_the_letters_at_both_ends_and_make_no_other_word():
    for seed in range(200):
        wrong = typing_errors(TEXT, random.Random(seed), frozenset())
        pairs = [(a, b) for a, b in zip(TEXT.split(), wrong.split(), strict=True) if a != b]
        assert 1 <= len(pairs) <= 15
        for right, typed in pairs:
            assert (right[0], right[-1]) == (typed[0], typed[-1])
            # A doubled letter, a halved pair or two that changed places: no letter comes or goes.
            assert set(right) == set(typed) and abs(len(right) - len(typed)) <= 1
    assert typing_errors("no 5 mg", random.Random(1), frozenset()) == "no 5 mg"


def test_lower_case_leaves_units_and_abbreviations():
    assert lower_case("The ECG at 10 mEq/L is Normal for Hg", random.Random(1), frozenset()) == (
        "the ECG at 10 mEq/L is Normal for Hg"
    )


@pytest.mark.parametrize(
    "text",
    ["the A-a gradient", "of type A and", "hepatitis A, then", "a prominent A wave", "in image A.", "drug (A) is"],
)
def test_a_letter_that_names_something_stays(text):
    assert lower_case(text, random.Random(1), frozenset()) == text


def test_the_article_at_the_beginning_of_a_sentence_is_no_name():
    told = "A man comes. A rash is seen.\nA cough too."
    assert lower_case(told, random.Random(1), frozenset()) == told.lower()


def test_a_copy_that_is_the_document_is_none():
    # All small already, and of one short line.
    found = noisy("which finding is expected in the examination?")
    assert list(found) == ["none", "typos"]


@pytest.mark.parametrize("word", ["performed", "below", "signs", "tired", "previous", "today", "stain", "field"])
def test_words_that_one_error_makes_another_word_stay(word):
    for seed in range(40):
        assert typing_errors(f"{word} {word}", random.Random(seed), frozenset()) == f"{word} {word}"


def test_line_breaks_come_inside_sentences_and_not_behind_numbers_or_negations():
    broken = line_breaks(TEXT, random.Random(1), frozenset())
    lines = broken.split("\n")
    assert len(lines) > 4 and all(len(line) <= 100 for line in lines)
    assert re.sub(r"-\n(?=[a-z])", "", broken).replace("\n", " ") == TEXT or "-\n" not in broken
    assert not any(re.search(r"(?:\d|\bno|\bdenies|\bmg)$", line) for line in lines[:-1])


def test_words_of_the_options_stay():
    for each in noisy(
        "The examination shows tenderness.", "noise:31", ("tenderness", "examination", "x", "y")
    ).values():
        assert "tenderness" in each.inputs["question"] and "examination" in each.inputs["question"].lower()


def test_what_has_nothing_to_change_is_left():
    assert noisy("5 mg no?") == {}


def test_a_distractor_stands_before_the_question_and_speaks_of_nothing_in_it():
    found = noisy(spec="distractor")
    assert list(found) == ["none", "1", "2", "3"]
    added = set()
    for value in ("1", "2", "3"):
        text = found[value].inputs["question"]
        sentence = next(each for each in sentences() if each in text)
        assert text == TEXT.replace("Which additional", f"{sentence} Which additional")
        added.add(sentence)
    assert len(added) == 3


def test_sentences_are_found_and_not_at_abbreviations():
    text = "Dr. Smith sees a patient. The dose is 2.5 mg. What now?"
    assert [text[at:][:5] for at in starts(text)] == ["Dr. S", "The d", "What "]
    assert before_last("One? Two.", "X.") == "One? X. Two."
    assert after_first("One only", "X.") == "One only X."
    assert after_first("One. Two. Three.", "X.") == "One. X. Two. Three."


def test_all_real_questions_keep_their_numbers():
    variation = variation_of(MEDQA, "noise", seed=3, has_shots=False, own_answers=False)
    for number, document in enumerate(examples(MEDQA, "test")):
        if number == 60:
            break
        numbers = re.findall(r"\d[\d.,/]*", document.inputs["question"])
        for each in variation.of(document):
            assert re.findall(r"\d[\d.,/]*", each.inputs["question"]) == numbers


@pytest.mark.parametrize("task", ["i2b2", "emrqa", "pubmedsum"])
def test_a_task_whose_answers_are_text_keeps_its_text(task):
    with pytest.raises(Exception, match="answers that are labels or letters"):
        variation_of(load_task(task), "noise", seed=1, has_shots=False, own_answers=False)
