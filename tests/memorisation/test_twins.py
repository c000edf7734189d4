"""Questions that exchange details, and orders that options might as well have."""

import random
import re
from collections import Counter
from itertools import pairwise, permutations

import mibe
from mibe.memorisation.orders import ORDERS, orders_of
from mibe.memorisation.twins import twins_of
from mibe.task import Example

ONE = "A 61-year-old man has a temperature of 37.2°C (98.9°F), a pulse of 93/min and a blood pressure of 125/83 mm Hg."
OTHER = "A 64-year-old woman has a temperature of 37.4°C (99.3°F). Her pulse is 91/min, blood pressure 128/90 mm Hg."


def _replaced(text, *changes):
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_details_of_one_band_are_exchanged_and_others_stay():
    (found,) = twins_of([ONE, OTHER])
    # 125 and 128 are of one band of five, 83 and 90 are not; Celsius and Fahrenheit go together.
    assert dict(zip(found.places, found.texts, strict=True)) == {
        0: _replaced(ONE, ("61-", "64-"), ("37.2°C (98.9", "37.4°C (99.3"), ("93/", "91/"), ("125", "128")),
        1: _replaced(OTHER, ("64-", "61-"), ("37.4°C (99.3", "37.2°C (98.9"), ("91/", "93/"), ("128", "125")),
    }


def test_what_belongs_together_or_means_something_else_is_not_exchanged():
    nothing = [
        ("A 64-year-old man", "A 65-year-old man"),  # screening begins between the two
        ("A 61-year-old man and his 66-year-old wife", "A 63-year-old man"),
        ("potassium of 4.1 mEq/L", "calcium of 4.3 mEq/L"),
        ("a pulse of 93/min, then 94/min", "a pulse of 91/min"),
        ("creatinine of 1.2 mg/dL", "creatinine of 2.2 mg/dL"),
        ("temperature 37.2°C (98.9°F)", "temperature 37.4 C (99.3 F)"),
        ("61 patients", "63 patients"),
        ("the same 61-year-old", "another 61-year-old"),
    ]
    assert all(not twins_of(pair) for pair in nothing)
    assert twins_of(("sodium is 138 mEq/L", "Sodium level of 136 mEq/L"))


def test_details_change_within_a_window_alone():
    second = [ONE.index("a pulse"), OTHER.index("Her pulse")]
    (found,) = twins_of([ONE, OTHER], [(start, 200) for start in second])
    assert [text[: second[place]] for place, text in zip(found.places, found.texts, strict=True)] == [
        text[: second[place]] for place, text in zip(found.places, [ONE, OTHER], strict=True)
    ]
    assert "91/min" in found.texts[found.places.index(0)]


def test_twins_of_medqa_have_the_same_numbers_as_the_questions_between_them():
    texts = [e.inputs["question"] for e in mibe.examples(mibe.load_task("medqa"), "test")][:150]
    pairs = twins_of(texts)
    assert len(pairs) > 40
    assert max(Counter(place for pair in pairs for place in pair.places).values()) == 1
    for pair in pairs:
        given = [texts[place] for place in pair.places]
        assert all(one != two for one, two in zip(given, pair.texts, strict=True))
        numbers = [Counter(re.findall(r"[\d.]+", " ".join(some))) for some in (given, pair.texts)]
        assert numbers[0] == numbers[1]
        # Back again: what was exchanged can be exchanged back, so neither side of a pair is the special one.
        (back,) = twins_of(pair.texts)
        assert [back.texts[back.places.index(at)] for at in (0, 1)] == given


def question(*choices, target="A"):
    return Example(id="1", inputs={"question": "Which?"}, target=target, choices=choices)


def test_the_right_option_keeps_its_place_and_the_given_order_comes_first():
    given = ("delta", "alpha wave", "gamma ray", "beta")
    found = orders_of(question(*given, target="C"))
    # Of the six orders that keep it there, one has short options first, and is left out.
    assert found[0] == given and len(found) == len(set(found)) == 5 < ORDERS
    assert ("beta", "delta", "gamma ray", "alpha wave") not in found
    assert {order[2] for order in found} == {"gamma ray"}
    assert set(found) <= set(permutations(given))
    assert orders_of(question("b", "dd", "a", "ccc", "eeee", target="B"))[1:]


def test_orders_that_show_a_habit_are_set_against_those_that_show_the_same():
    assert orders_of(question("alpha", "beta ray", "delta", "gamma", target="B")) == []  # by the alphabet
    assert orders_of(question("2 mg", "15 mg", "4 mg", "8 mg")) != []
    assert orders_of(question("2 mg", "4 mg", "8 mg", "15 mg")) == []
    assert orders_of(question("x", "bb", "aaa", "dddd")) == []  # short ones first
    found = orders_of(question("delta", "alpha wave", "gamma ray", "beta", target="C"))
    assert not any(list(order) == sorted(order) for order in found)


def test_options_that_speak_of_others_or_are_the_same_have_one_order():
    assert orders_of(question("fever", "cough", "pain", "all of the above")) == []
    assert orders_of(question("fever", "cough", "pain", "fever")) == []
    assert orders_of(question("yes", "no")) == []


def test_a_model_without_memory_finds_the_given_order_the_likeliest_as_often_as_another():
    """Of questions whose options a model wants sorted, the given order wins half of the comparisons."""
    rng, wins, made = random.Random(1), 0.0, 0
    for number in range(600):
        names = rng.sample(["art", "bone", "cyst", "duct", "edge", "fat", "gut"], 4)
        orders = orders_of(Example(id=str(number), inputs={}, target="ABCD"[number % 4], choices=tuple(names)))
        if orders:
            liking = {order: -sum(a > b for a, b in pairwise(order)) for order in orders}
            others = [liking[order] for order in orders[1:]]
            wins += sum((liking[orders[0]] > o) + (liking[orders[0]] == o) / 2 for o in others) / len(others)
            made += 1
    assert made > 400 and abs(wins / made - 0.5) < 0.06
