"""Seeded splits: exact, stratified, without leaks, and the same everywhere."""

import random
from collections import Counter

import pytest

from mibe.data.splits import normalised, proportional, stratified_split
from mibe.errors import DataError

IDS = [f"doc{i}" for i in range(1000)]
LABELS = ["common"] * 700 + ["middle"] * 200 + ["rare"] * 90 + ["single"] * 10
SIZES = {"train": 700, "valid": 100, "test": 200}


def split(ids=IDS, labels=LABELS, groups=IDS, sizes=SIZES, **more):
    positions = stratified_split(ids, labels=labels, groups=groups, sizes=sizes, **more)
    return {name: [ids[i] for i in chosen] for name, chosen in positions.items()}


def test_sizes_are_exact_and_every_item_is_in_one_split():
    result = split()
    assert {name: len(chosen) for name, chosen in result.items()} == SIZES
    assert sorted(i for chosen in result.values() for i in chosen) == sorted(IDS)


def test_every_label_is_spread_in_proportion():
    of = dict(zip(IDS, LABELS, strict=True))
    for name, chosen in split().items():
        for label, count in Counter(LABELS).items():
            found = sum(of[i] == label for i in chosen)
            assert abs(found - count * SIZES[name] / 1000) <= 1.5, (name, label)


def test_the_split_does_not_change_with_machine_or_version():
    # Written down once: a change here changes published splits.
    ids, labels = list("abcdefghijkl"), ["x", "y", "z"] * 4
    result = split(ids, labels, ids, {"train": 6, "valid": 2, "test": 4})
    assert result == {"train": ["b", "c", "d", "g", "k", "l"], "valid": ["a", "i"], "test": ["e", "f", "h", "j"]}


def test_the_order_of_the_input_does_not_matter_and_the_seed_does():
    order = list(range(1000))
    random.Random(1).shuffle(order)
    ids, labels = [IDS[i] for i in order], [LABELS[i] for i in order]
    shuffled = split(ids, labels, ids)
    assert {name: set(chosen) for name, chosen in shuffled.items()} == {n: set(c) for n, c in split().items()}
    assert split(seed=43) != split(seed=42)


def test_a_group_is_never_in_two_splits():
    groups = [f"text{i % 400}" for i in range(1000)]
    result = split(groups=groups)
    of = dict(zip(IDS, groups, strict=True))
    places = [{of[i] for i in chosen} for chosen in result.values()]
    assert {name: len(chosen) for name, chosen in result.items()} == SIZES
    assert not places[0] & places[1] and not places[0] & places[2] and not places[1] & places[2]


def test_what_cannot_be_split_is_an_error():
    with pytest.raises(DataError, match="add up to 1000, not to the 999 items"):
        split(IDS[1:], LABELS[1:], IDS[1:])
    with pytest.raises(DataError, match="5 items of one group must stay together"):
        split(IDS[:6], LABELS[:6], ["g"] * 5 + ["h"], {"train": 3, "test": 3})


def test_proportional_sizes_add_up():
    assert proportional({"train": 3500, "valid": 500, "test": 999}, 401) == {"train": 281, "valid": 40, "test": 80}
    assert proportional(SIZES, 1000) == SIZES


def test_normalised():
    assert normalised("  A\n b\tC ") == "a b c"
