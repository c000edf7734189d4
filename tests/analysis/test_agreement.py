"""Agreement of two raters against scikit-learn's kappa, with intervals that draw whole cases."""

import json
import random

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mibe.analysis.text import render_agreement
from mibe.errors import DataError
from mibe.rating.reading import agreement


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ratings(seed, cases=70, ranks=5, noise=0.15):
    rng = random.Random(seed)
    truth = random.Random(0)
    for case in range(cases):
        for rank in range(1, ranks + 1):
            match = truth.random() < 0.3
            yield {"id": f"case-{case}", "rank": rank, "match": match != (rng.random() < noise)}


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "judge.jsonl", ratings(1)), write(tmp_path / "human.jsonl", ratings(2))


def test_kappa_is_scikit_learns_and_agreement_a_count(files):
    found = agreement(*files)
    a, b = ([json.loads(line)["match"] for line in file.read_text().splitlines()] for file in files)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(a, b))
    assert found.agreement.value == pytest.approx(np.mean(np.array(a) == np.array(b)))
    assert (found.n, found.cases) == (350, 70)
    a, b = np.array(a), np.array(b)
    assert (found.both, found.only_a) == ((a & b).sum(), (a & ~b).sum())
    assert found.both + found.only_a + found.only_b + found.neither == 350


def test_intervals_are_those_of_drawing_whole_cases(files):
    found = agreement(*files, resamples=2000)
    a, b = (np.array([json.loads(line)["match"] for line in f.read_text().splitlines()]).reshape(70, 5) for f in files)
    rng = np.random.default_rng(3)
    drawn = [rng.integers(70, size=70) for _ in range(1000)]
    kappas = [cohen_kappa_score(a[rows].ravel(), b[rows].ravel()) for rows in drawn]
    low, high = np.quantile(kappas, [0.025, 0.975])
    assert (found.kappa.low, found.kappa.high) == pytest.approx((low, high), abs=0.02)
    assert found.agreement.low < found.agreement.value < found.agreement.high


def test_ratings_are_joined_by_id_and_rank_and_null_is_no_match(tmp_path):
    a = write(tmp_path / "a", [{"id": 1, "match": True}, {"id": "2", "match": None}, {"id": "3", "match": True}])
    b = write(
        tmp_path / "b", [{"id": "2", "match": False}, {"id": "1", "match": True}, {"id": "1", "rank": 2, "match": True}]
    )
    found = agreement(a, b)
    assert (found.n, found.both, found.neither, found.unread, found.left_out) == (2, 1, 1, 1, 2)
    assert found.agreement.value == 1 and found.kappa.value == 1


def test_kappa_is_not_defined_where_both_always_say_the_same(tmp_path):
    same = write(tmp_path / "a", [{"id": i, "match": True} for i in range(5)])
    found = agreement(same, same)
    assert found.agreement.value == 1 and found.kappa.value is None and found.kappa.low is None
    assert (
        "– – –" in render_agreement(found, "text")
        and json.loads(render_agreement(found, "json"))["kappa"]["value"] is None
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1}], "line 1: each line is"),
        ([{"match": True}], "line 1: each line is"),
        ([{"id": 1, "match": "yes"}], "line 1: each line is"),
        ([{"id": 1, "match": 1}], "line 1: each line is"),
        ([{"id": 1, "match": True, "rank": "1"}], 'line 1: "rank" is a whole number'),
        ([{"id": 1, "match": True}, {"id": 1, "match": True}], "line 2: '1', rank None, stands there twice"),
        ([{"id": 9, "match": True}], "no rating in common"),
    ],
)
def test_files_in_another_form_are_refused_with_the_line(tmp_path, rows, message):
    good = write(tmp_path / "good", [{"id": 1, "match": True}])
    with pytest.raises(DataError, match=message):
        agreement(write(tmp_path / "bad", rows), good)
    with pytest.raises(DataError, match="cannot read"):
        agreement(good, tmp_path / "nowhere")


def test_every_format_holds_both_figures(files):
    found = agreement(*files)
    for form in ("text", "markdown"):
        assert f"{found.kappa.value:.3f}" in render_agreement(found, form)
    assert repr(found.kappa.value) in render_agreement(found, "csv")
    assert json.loads(render_agreement(found, "json"))["agreement"]["value"] == found.agreement.value
