"""Runs with several draws a document, compared, merged, scored again and given to raters."""

import json
import random

import numpy as np
import pytest
from drawn_runs import drawn_run
from rated_runs import make_runs
from scipy.stats import permutation_test
from scripted import Scripted

import mibe
from mibe.analysis.agreement import judge_ratings
from mibe.analysis.merge import merge
from mibe.analysis.rescore import rescore
from mibe.analysis.text import render
from mibe.data import store
from mibe.errors import RunError
from mibe.rating.cases import listed_in
from mibe.results.log import latest_rows


def drawing(share, seed):
    """A model that answers each question rightly with this probability."""
    rng = random.Random(seed)
    answers = {example.inputs["question"]: example.target for example in store.load_examples("pubmedqa", "test")}
    knows = {question: rng.random() < share for question in answers}

    def answer(prompt):
        question = prompt.split("INPUT: ")[-1].split("\nCONTEXT:")[0]
        return answers[question] if knows[question] else "maybe"

    return Scripted(answer)


def drawn(folder, share, seeds, **settings):
    arguments = {"tasks": "pubmedqa", "limit": 30} | settings
    return drawn_run(folder, [drawing(share, seed) for seed in seeds], **arguments)


def right(run):
    """Id → share of the draws that are right, counted from the log."""
    rows = run.samples("pubmedqa")
    return (rows.prediction == rows.target).groupby(rows.id).mean()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(folder / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(folder / "data"))
        yield drawn(folder / "a", 0.7, (1, 2, 3)), drawn(folder / "b", 0.5, (4, 5, 6))


def test_a_comparison_goes_by_document(pair):
    shares = [right(run) for run in pair]
    gains = (shares[0] - shares[1]).to_numpy()
    found = mibe.compare(*pair, resamples=5000)
    accuracy = {row.metric: row for row in found.rows}["accuracy"]
    assert (accuracy.n, accuracy.only_a) == (30, None)
    assert accuracy.difference == pytest.approx(gains.mean())
    expected = permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1).pvalue
    assert accuracy.p == pytest.approx(expected, abs=0.02)
    by_hand = np.random.default_rng(7).choice(gains, size=(5000, 30)).mean(axis=1)
    assert (accuracy.low, accuracy.high) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.02)
    text = render(found, "text")
    assert "the mean of 3 draws a document in A, of 3 in B" in text


def test_a_run_of_one_draw_is_compared_with_one_of_several(pair, tmp_path):
    once = mibe.evaluate(
        model=drawing(0.4, 9), tasks="pubmedqa", limit=30, output_dir=tmp_path, use_cache=False, resamples=50
    )
    accuracy = {row.metric: row for row in mibe.compare(pair[0], once).rows}["accuracy"]
    shares = right(pair[0]), right(once)
    assert accuracy.difference == pytest.approx((shares[0] - shares[1]).mean())
    assert accuracy.only_a is None
    same = mibe.compare(pair[0], pair[0]).rows[0]
    assert (same.difference, same.p) == (0, 1) and same.low == -same.high < 0


def test_differing_samples_are_listed_draw_by_draw(pair):
    rows = [run.samples("pubmedqa").set_index(["id", "draw"]).prediction.to_dict() for run in pair]
    listed = mibe.compare(*pair).differing("pubmedqa")
    assert {(s["id"], s["draw"]) for s in listed} == {key for key in rows[0] if rows[0][key] != rows[1][key]}


def test_a_run_has_a_row_for_each_draw_and_its_table_the_figures_of_all(pair):
    run = pair[0]
    assert len(run.samples("pubmedqa")) == 90 and set(run.samples("pubmedqa").draw) == {0, 1, 2}
    table = run.table().set_index("metric")
    assert table.loc["accuracy", "value"] == pytest.approx(right(run).mean())
    assert table.loc["accuracy_pass@1", "value"] == pytest.approx(right(run).mean())
    assert table.loc["accuracy_pass@3", "value"] == pytest.approx((right(run) > 0).mean())


def test_shards_with_draws_are_merged_to_the_undivided_run(pair, tmp_path):
    parts = [drawn(tmp_path / f"{n}", 0.7, (1, 2, 3), shard=f"{n}/2").path for n in (1, 2)]
    merged = merge(parts, output_dir=tmp_path / "merged")
    whole, part = (run.record["tasks"]["pubmedqa"] for run in (pair[0], merged))
    assert part["repeats"] == whole["repeats"] and part["figures"] == whole["figures"]
    assert len(list(latest_rows(merged.samples_path("pubmedqa")))) == 90
    log = mibe.load_run(parts[0]).samples_path("pubmedqa")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError, match="holds 44 samples of 45"):
        merge(parts, output_dir=tmp_path / "merged")


def test_scoring_again_keeps_every_draw(pair):
    before = mibe.load_run(pair[1].path).record["tasks"]["pubmedqa"]
    again = rescore(pair[1].path)
    after = again.record["tasks"]["pubmedqa"]
    assert after["repeats"] == before["repeats"] and after["figures"] == before["figures"]
    assert len(again.samples("pubmedqa")) == 90


def test_raters_see_the_first_draw_and_are_compared_with_its_verdicts(tmp_path):
    run = make_runs(tmp_path)[0]
    log = run.samples_path("nejm_cpc")
    rows = list(latest_rows(log))
    other = [{"diagnosis": "Mumps", "match": None, "raw": None, "source": "exact", "rank": 1}]
    twice = [
        row | {"draw": draw} | ({"prediction": ["Mumps"], "verdicts": other} if draw else {})
        for draw in (0, 1)
        for row in rows
    ]
    listed, verdicts = listed_in(run, "nejm_cpc"), judge_ratings(log)
    log.write_text("".join(json.dumps(row) + "\n" for row in twice))
    assert listed_in(run, "nejm_cpc") == listed and judge_ratings(log) == verdicts
