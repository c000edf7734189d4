"""Two runs compared: the figures of an independent count, SciPy's exact test, and refusals where they mislead."""

import csv
import io
import json
import random

import numpy as np
import pytest
from scipy.stats import binomtest
from scripted import Scripted

import mibe
from mibe.analysis.text import render, render_samples
from mibe.data import store
from mibe.errors import UsageError
from mibe.metrics.comparison import holm, mean_of_halves, of_halves
from mibe.models.base import Response


def noisy(share, seed, fails=()):
    """A model that knows a share of the answers and guesses "no" elsewhere."""
    rng = random.Random(seed)
    answers = {e.inputs["question"]: e.target for e in store.load_examples("pubmedqa", "test")}
    known = {question for question in answers if rng.random() < share}

    def answer(prompt):
        question = prompt.split("INPUT: ")[-1].split("\nCONTEXT:")[0]
        if question in fails:
            return Response(text="", finish_reason="error", error="gone")
        return answers[question] if question in known else "no"

    return Scripted(answer, identity=f"noisy-{share}-{seed}")


def run(model, tmp_path, **settings):
    arguments = {"tasks": "pubmedqa", "limit": 200, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(folder / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(folder / "data"))
        yield run(noisy(0.7, 1), folder), run(noisy(0.4, 2), folder)


def test_differences_are_those_of_an_independent_count(pair):
    a, b = pair
    rows = {row.metric: row for row in mibe.compare(a, b).rows}
    right_a, right_b = (set(find_right(run)) for run in pair)
    accuracy = rows["accuracy"]
    assert (accuracy.n, accuracy.a, accuracy.b) == (200, len(right_a) / 200, len(right_b) / 200)
    assert accuracy.difference == pytest.approx((len(right_a) - len(right_b)) / 200)
    assert (accuracy.only_a, accuracy.only_b) == (len(right_a - right_b), len(right_b - right_a))
    discordant = accuracy.only_a + accuracy.only_b
    exact = binomtest(accuracy.only_a, discordant, 0.5).pvalue
    assert accuracy.p == pytest.approx(exact, abs=0.005)
    assert accuracy.p == accuracy.p_holm and accuracy.headline
    assert rows["macro_f1"].difference == pytest.approx(
        a.scores("pubmedqa")["macro_f1"] - b.scores("pubmedqa")["macro_f1"]
    )
    assert rows["macro_f1"].only_a is None and rows["macro_f1"].p_holm is None


def find_right(done):
    return [row.id for row in done.samples("pubmedqa").itertuples() if row.prediction == row.target]


def test_the_interval_is_that_of_a_bootstrap_over_the_same_samples(pair):
    a, b = (done.samples("pubmedqa").set_index("id") for done in pair)
    right = [(a.prediction == a.target), (b.prediction == b.target).reindex(a.index)]
    gains = right[0].to_numpy(float) - right[1].to_numpy(float)
    rng = np.random.default_rng(5)
    means = rng.choice(gains, size=(4000, len(gains))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    accuracy = mibe.compare(*pair, resamples=4000).rows[0]
    assert (accuracy.low, accuracy.high) == pytest.approx((low, high), abs=0.012)


def test_swapping_the_runs_turns_the_sign_and_a_run_equals_itself(pair):
    a, b = pair
    forward, backward, same = (mibe.compare(*two).rows[0] for two in ((a, b), (b, a), (a, a.path)))
    assert backward.difference == pytest.approx(-forward.difference) and backward.p == forward.p
    assert (backward.only_a, backward.only_b) == (forward.only_b, forward.only_a)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))
    # That none of 200 answers differs does not show that none ever would.
    bound = binomtest(0, 200).proportion_ci(method="wilson").high
    assert (same.difference, same.low, same.high, same.p) == (0, pytest.approx(-bound), pytest.approx(bound), 1)


def test_only_samples_scored_in_both_count(pair, tmp_path):
    questions = [e.inputs["question"] for e in store.load_examples("pubmedqa", "test")]
    partial = run(noisy(0.7, 1, fails=set(questions[::3])), tmp_path)
    found = mibe.compare(partial, pair[1])
    scored = partial.record["tasks"]["pubmedqa"]["scored"]
    assert 0 < scored < 200 and found.rows[0].n == scored
    assert f"pubmedqa: {scored} samples were scored in both runs ({scored} in A, 200 in B)" in found.notes
    smaller = run(noisy(0.7, 1), tmp_path, limit=50)
    assert mibe.compare(smaller, pair[1]).rows[0].n == 50


def test_holm_corrects_over_the_headlines_of_the_tasks(tmp_path):
    tasks = "pubmedqa,medqa,medmcqa"
    a = run(Scripted(lambda p: "yes" if "CONTEXT" in p else "A", identity="a"), tmp_path, tasks=tasks)
    b = run(Scripted(lambda p: "no" if "CONTEXT" in p else "B", identity="b"), tmp_path, tasks=tasks)
    rows = [row for row in mibe.compare(a, b).rows if row.headline]
    assert [row.task for row in rows] == tasks.split(",")
    assert [row.p_holm for row in rows] == holm([row.p for row in rows])
    assert any(row.p_holm > row.p for row in rows)


def test_the_lots_of_tasks_are_independent_and_make_the_comparison_of_their_mean(tmp_path):
    tasks = "pubmedqa,medmcqa"
    a, b = (run(Scripted(noisy_letters(seed), identity=f"{seed}"), tmp_path, tasks=tasks, limit=60) for seed in (1, 2))
    found = mibe.compare(a, b)
    parts = [found.halves[task, "accuracy"] for task in tasks.split(",")]
    for part, task in zip(parts, tasks.split(","), strict=True):
        row = next(row for row in found.rows if (row.task, row.metric) == (task, "accuracy"))
        assert of_halves(part).p[0] == row.p == of_halves(mean_of_halves([part])).p[0]
    first, second = (part.sides[0, :, 0] for part in parts)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    both = of_halves(mean_of_halves(parts))
    assert both.value[0] == pytest.approx(np.mean([part.value[0] for part in parts]))
    assert both.low[0] <= both.value[0] <= both.high[0]


def noisy_letters(seed):
    rng = random.Random(seed)
    return lambda prompt: rng.choice(("yes", "no") if "CONTEXT" in prompt else ("A", "B"))


def test_differing_samples_are_those_with_another_prediction(pair):
    a, b = pair
    listed = mibe.compare(a, b).differing("pubmedqa")
    of_a, of_b = (done.samples("pubmedqa").set_index("id").prediction.to_dict() for done in pair)
    assert {sample["id"] for sample in listed} == {ident for ident in of_a if of_a[ident] != of_b[ident]}
    assert all(sample["prediction_a"] == of_a[sample["id"]] for sample in listed)
    with pytest.raises(UsageError, match="no task 'medqa' in common"):
        mibe.compare(a, b).differing("medqa")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_fewshot": 2}, "pubmedqa: the numbers of worked examples differ"),
        ({"split": "valid"}, "pubmedqa: the data differ (test "),
        ({"protocol": "paper"}, "the protocols differ, default and paper"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(pair, tmp_path, settings, reason):
    other = run(Scripted(lambda _: "yes"), tmp_path, limit=None, **settings)
    with pytest.raises(UsageError, match="--force") as caught:
        mibe.compare(pair[0], other)
    assert reason in str(caught.value)
    if "split" in settings:
        with pytest.raises(UsageError, match="no sample was scored in both runs"):
            mibe.compare(pair[0], other, force=True)
    else:
        forced = mibe.compare(pair[0], other, force=True)
        assert forced.rows[0].n == 200 and any(reason in note for note in forced.notes)


def test_other_examples_data_versions_and_tasks_are_refused_too(pair, tmp_path):
    shots = [
        run(Scripted(lambda _: "yes", identity=f"{s}"), tmp_path, num_fewshot=2, seed=s, limit=None) for s in (1, 2)
    ]
    with pytest.raises(UsageError, match="pubmedqa: the worked examples differ"):
        mibe.compare(*shots)
    own = [
        run(Scripted(lambda _: "yes"), tmp_path, num_fewshot=2, seed=s, limit=None, fewshot_per_document=True)
        for s in (1, 2)
    ]
    with pytest.raises(UsageError, match="pubmedqa: the worked examples differ"):
        mibe.compare(*own)
    older = mibe.load_run(run(Scripted(lambda _: "yes"), tmp_path).path)
    older.record["tasks"]["pubmedqa"]["version"] = 0
    with pytest.raises(UsageError, match="other versions of the task .mibe rescore"):
        mibe.compare(pair[0], older)
    with pytest.raises(UsageError, match="no task in common: .* has pubmedqa, .* has medqa"):
        mibe.compare(pair[0], run(Scripted(lambda _: "A"), tmp_path, tasks="medqa"))


def test_every_format_holds_the_figures(pair):
    found = mibe.compare(*pair)
    row = found.rows[0]
    data = json.loads(render(found, "json"))
    assert data["rows"][0]["difference"] == row.difference and data["a"] == str(pair[0].path)
    table = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert float(table[0]["p"]) == row.p and table[1]["only_a"] == ""
    for form in ("text", "markdown"):
        assert f"{row.difference:+.3f}" in render(found, form) and f"{row.only_a} : {row.only_b}" in render(found, form)
    assert found.table().loc[0, "difference"] == row.difference
    listed = found.differing("pubmedqa")
    assert json.loads(render_samples(listed, "json")) == listed
    assert len(list(csv.DictReader(io.StringIO(render_samples(listed, "csv"))))) == len(listed)
    assert listed[0]["id"] in render_samples(listed, "text") and render_samples([], "text") == "no sample differs"
