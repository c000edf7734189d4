"""Sets of samples, and which row of a sample is its last, beside plain sets and dictionaries."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibe.data.seen import Seen
from mibe.results.digests import Digests, digest, identity, last_of_each
from mibe.results.log import latest_rows
from mibe.run.columns import by_group, read_columns

KEYS = st.lists(st.tuples(st.text(max_size=4), st.integers(0, 3)), max_size=60)


@given(KEYS, KEYS)
def test_a_set_of_digests_is_a_set(members, others):
    found = Digests(digest(*key) for key in members)
    assert len(found) == len(set(members))
    for key in members + others:
        assert (digest(*key) in found) == (key in set(members))


@given(KEYS.filter(bool))
def test_the_last_of_each_is_the_last(keys):
    last = {key: number for number, key in enumerate(keys)}
    expected = [last[key] == number for number, key in enumerate(keys)]
    assert last_of_each(digest(*key) for key in keys).tolist() == expected


def test_a_row_without_a_draw_is_of_the_first():
    assert identity({"id": "a"}) == identity({"id": "a", "draw": 0}) != identity({"id": "a", "draw": 1})
    # Neither a number in an id nor half of a character can make two samples one.
    assert len({digest("1/a", 0), digest("a", 1), digest("0/1/a", 0), digest("\ud800", 0), digest("a", 0)}) == 5


def test_the_last_row_of_each_draw_counts(tmp_path):
    log = tmp_path / "t.jsonl"
    rows = [("a", 0, 1), ("a", 1, 2), ("b", 0, 3), ("a", 0, 4), ("b", 1, 5), ("b", 0, 6)]
    log.write_text("".join(json.dumps({"id": i, "draw": d, "n": n}) + "\n" for i, d, n in rows))
    assert [row["n"] for row in latest_rows(log)] == [2, 4, 5, 6]
    assert list(latest_rows(tmp_path / "none.jsonl")) == []


@given(st.lists(st.text(max_size=3)))
def test_what_was_seen_is_known(texts):
    seen, expected = Seen(), set()
    for text in texts:
        assert seen.add(text) == (text in expected)
        expected.add(text)


def test_many_are_seen_in_few_bytes():
    seen = Seen()
    assert not any(seen.add(f"subject/{number}") for number in range(50_000))
    assert all(seen.add(f"subject/{number}") for number in range(50_000))
    assert len(seen._slots) * 8 / 50_000 < 32


def test_columns_are_sorted_by_document_and_draw_whatever_the_order_of_the_rows():
    rows = [
        {"id": ident, "draw": draw, "outcome": outcome, "finish_reason": "stop", "cut": draw == 1, "target": ident[0]}
        | {"prediction": ["x", draw] if draw else None, "metadata": {"subject": ident[-1]}, "scores": {"n": draw}}
        for ident in ("b1", "a10", "é2", "a2")
        for draw, outcome in enumerate(("parsed", "error", "unparsed"))
    ]
    random.Random(3).shuffle(rows)
    found = read_columns(iter(rows), ["subject", "none"], with_scores=True)
    # As Python sorts texts.
    assert list(found.targets) == [ident[0] for ident in sorted(("b1", "a10", "é2", "a2")) for _ in range(2)]
    assert found.documents.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and found.draws.tolist() == [0, 2] * 4
    assert list(found.predictions) == [None, ["x", 2]] * 4 and found.predictions[1:3] == [["x", 2], None]
    assert list(found.outcomes) == ["parsed", "unparsed"] * 4 and found.failed.tolist() == [0, 1, 2, 3]
    assert list(found.groups[0]) == ["0", "0", "2", "2", "1", "1", "2", "2"] and set(found.groups[1]) == {""}
    assert list(found.scores) == [{"n": 0}, {"n": 2}] * 4
    assert found.finish_reasons == {"stop": 12} and found.cut == 4
    groups = by_group(found.groups[0])
    assert {name: places.tolist() for name, places in groups.items()} == {"0": [0, 1], "1": [4, 5], "2": [2, 3, 6, 7]}


@pytest.mark.parametrize("fields", [[], ["subject"]])
def test_no_rows_are_empty_columns(fields):
    found = read_columns([], fields, with_scores=True)
    assert len(found.documents) == len(found.predictions) == len(found.scores) == len(found.failed) == 0
