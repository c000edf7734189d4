"""Orders of options: what stands where, and what cannot be put in another order."""

import math

import pytest

from mibe.errors import UsageError
from mibe.registry import load_task
from mibe.task import Example
from mibe.variation import Varied, check, variation_of
from mibe.variation.varied import Refused

MEDQA = load_task("medqa")
QUESTION = Example(
    id="test/1",
    inputs={"question": "Which drug?"},
    target="C",
    choices=("aspirin", "heparin", "warfarin", "insulin", "digoxin"),
)


def versions(spec, example=QUESTION, task=MEDQA, seed=1, **settings):
    settings = {"has_shots": True, "own_answers": False} | settings
    return list(variation_of(task, spec, seed=seed, **settings).of(example))


def test_in_cyclic_orders_every_option_stands_once_at_every_letter():
    found = versions("options")
    assert [each.id for each in found] == ["test/1", *(f"test/1~options-{number}" for number in range(1, 5))]
    for option in QUESTION.choices:
        assert sorted(each.choices.index(option) for each in found) == [0, 1, 2, 3, 4]
    for each in found:
        assert each.choices["ABCDE".index(each.target)] == "warfarin"
        # The order says which option of the document stands at each letter.
        assert [QUESTION.choices["ABCDE".index(letter)] for letter in each.order] == list(each.choices)
        assert each.document == QUESTION and each.inputs == QUESTION.inputs
    assert found[0].order == "ABCDE" and found[1].order == "BCDEA"


def test_random_orders_are_as_many_as_asked_for_none_twice_and_the_same_for_everyone():
    found = versions("options:24")
    orders = [each.order for each in found]
    assert len(set(orders)) == 24 and orders[0] == "ABCDE"
    assert [each.order for each in versions("options:24")] == orders
    assert [each.order for each in versions("options:24", seed=2)] != orders
    four = Example(id="t", inputs={"question": "?"}, target="A", choices=("a1", "b1", "c1", "d1"))
    assert len({each.order for each in versions("options:24", four, load_task("mmlu"))}) == math.factorial(4)
    assert versions("options:25", four, load_task("mmlu")) == [four]


@pytest.mark.parametrize(
    "choice",
    [
        "All of the above",
        "None of the above",
        "Both A and B",
        "A and C",
        "A, B and D",
        "None of these",
        "Either of the above",
        "Neither",
        "Options A",
        "all",
    ],
)
def test_options_that_speak_of_others_keep_their_order(choice):
    spoken = Example(id="t", inputs={"question": "?"}, target="A", choices=("aspirin", "heparin", "iron", choice))
    assert versions("options", spoken) == [spoken]


@pytest.mark.parametrize("choice", ["Above the clavicle", "Vitamins A and K", "All trans retinoic acid", "Hepatitis B"])
def test_options_that_only_look_so_do_not(choice):
    spoken = Example(id="t", inputs={"question": "?"}, target="A", choices=("aspirin", "heparin", "iron", choice))
    assert len(versions("options", spoken)) == 4


def test_two_options_of_one_text_are_one_option():
    twice = Example(id="t", inputs={"question": "?"}, target="B", choices=("BB", "Bb", "BB", "bb"))
    assert [each.order for each in versions("options", twice)] == ["ABAD", "BADA", "ADAB", "DABA"]


def test_a_task_without_options_cannot_vary_their_order():
    with pytest.raises(UsageError, match="pubmedqa has no options"):
        versions("options", task=load_task("pubmedqa"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("optoins", "did you mean options"),
        ("options:1", "from 2 to 100 versions"),
        ("options:x", "from 2 to 100 versions"),
        ("options:", "from 2 to 100 versions"),
        ("options,options:3", "names options twice"),
        ("sex:2", "has its own values"),
        ("options,city", "what attributes are compared with"),
        ("", "way of --vary"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_one_line(spec, said):
    with pytest.raises(UsageError, match=said) as told:
        check(spec)
    assert "\n" not in str(told.value)


def test_the_baseline_comes_with_every_attribute_and_last():
    assert list(check("sex,noise:3,age")) == ["sex", "noise", "age", "city"]
    assert check("options,noise:3") == check("options, noise:3,") == {"options": None, "noise": 3}


def test_shots_need_examples_and_a_wording_needs_one():
    with pytest.raises(UsageError, match="--num-fewshot"):
        versions("shots", has_shots=False)
    with pytest.raises(UsageError, match=r"6 wordings here; --vary wording:7"):
        versions("wording:7")


def test_a_refusal_is_a_reason():
    assert isinstance(Refused("so"), str) and not isinstance(QUESTION, Varied)
