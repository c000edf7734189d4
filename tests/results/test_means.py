"""Means over tasks with their intervals, and what is said beside figures of labels with few gold samples."""

import json

import numpy as np
import pytest
from scripted import Scripted

import mibe
from mibe.analysis.rescore import rescore
from mibe.metrics.classification import MacroF1, MacroF1Gold
from mibe.metrics.intervals import of_means
from mibe.metrics.means import Bounded, mean_of
from mibe.registry import load_task
from mibe.results.answers import is_constant
from mibe.results.means import means_of
from mibe.results.table import few_gold_note, remarks_on, render
from mibe.run.scoring import score_rows


def part(value, low, high, sha="a"):
    return {
        "headline": "accuracy",
        "figures": {"accuracy": {"value": value, "low": low, "high": high}},
        "data": {"sha256": sha},
    }


def test_the_interval_of_a_mean_of_normal_figures_is_the_textbook_s():
    figures = [Bounded(0.5, 0.5 - 1.96 * 0.03, 0.5 + 1.96 * 0.03), Bounded(0.7, 0.7 - 1.96 * 0.04, 0.7 + 1.96 * 0.04)]
    found = mean_of(figures, ("a", "b"))
    assert found == pytest.approx((0.6, 0.6 - 1.96 * 0.025, 0.6 + 1.96 * 0.025))
    # Of the same documents they may err together.
    assert mean_of(figures, ("a", "a")).high == pytest.approx(0.6 + 1.96 * 0.035)
    perfect = mean_of([Bounded(1, 0.91, 1), Bounded(1, 0.95, 1)], ("a", "b"))
    assert perfect == pytest.approx((1, 1 - np.hypot(0.09, 0.05) / 2, 1))


def test_the_interval_of_a_mean_over_tasks_holds_the_truth():
    rng = np.random.default_rng(2)
    covered = 0
    truths = (0.6, 0.9, 0.98)
    for _ in range(400):
        figures = []
        for truth in truths:
            right = (rng.random(80) < truth).astype(float)
            figure = of_means(right.reshape(-1, 1))
            figures.append(Bounded(right.mean(), figure.low[0], figure.high[0]))
        low, high = mean_of(figures, range(3))[1:]
        covered += low <= np.mean(truths) <= high
    # 95 % and four standard errors of 400 trials.
    assert 362 <= covered <= 397


def test_means_are_over_all_tasks_and_over_each_whole_group():
    tasks = {
        "mmlu": part(0.4, 0.3, 0.5, "m"),
        "medqa": part(0.6, 0.5, 0.7, "q"),
        "mmlu_medical": part(0.5, 0.3, 0.7, "m"),
    }
    found = means_of(tasks)
    assert list(found) == ["mean of 3 tasks", "mean of forgetting"]
    assert found["mean of forgetting"]["tasks"] == ["mmlu", "medqa"]
    # 0.1 and 0.2 of one source, and 0.1 of another.
    assert found["mean of 3 tasks"]["high"] == pytest.approx(0.5 + np.hypot(0.3, 0.1) / 3)
    assert means_of({"medqa": tasks["medqa"]}) == {}
    assert means_of(tasks | {"ddi": {"headline": "macro_f1", "figures": {}}}) == {
        "mean of forgetting": found["mean of forgetting"]
    }


def test_a_run_of_several_tasks_has_their_mean_in_record_and_table(tmp_path):
    run = mibe.evaluate(
        model=Scripted(lambda prompt: "yes" if "CONTEXT" in prompt else "A"), tasks="pubmedqa,medqa", limit=20,
        resamples=20, output_dir=tmp_path, use_cache=False,
    )  # fmt: skip
    mean = run.record["means"]["mean of 2 tasks"]
    figures = [run.record["tasks"][task]["figures"]["accuracy"] for task in ("pubmedqa", "medqa")]
    assert mean["value"] == pytest.approx(sum(figure["value"] for figure in figures) / 2)
    assert mean["low"] == pytest.approx(
        mean["value"] - np.hypot(*(figure["value"] - figure["low"] for figure in figures)) / 2
    )
    for form in ("text", "markdown", "latex"):
        shown = render(run.record["tasks"], form)
        assert "mean of 2 tasks" in shown and f"{mean['low']:.3f} – {mean['high']:.3f}" in shown
    assert rescore(run.path).record["means"] == run.record["means"]


def test_a_macro_average_says_which_labels_have_few_gold_samples():
    task = load_task("pubmedqa")
    answers = ["yes"] * 12 + ["no"] * 9
    rows = [
        {"id": str(n), "outcome": "parsed", "target": a, "prediction": a, "scores": {}} for n, a in enumerate(answers)
    ]
    found = score_rows(task, rows, resamples=20, seed=1)
    assert found["figures"]["macro_f1"]["value"] == pytest.approx(2 / 3)
    assert found["few_gold"] == {"macro_f1": {"gold": {"no": 9, "maybe": 0}, "perfect": pytest.approx(2 / 3)}}
    [note] = [note for note in remarks_on("pubmedqa", found | {"headline": "accuracy"}) if "gold" in note]
    assert note.startswith("pubmedqa: macro_f1: few gold samples") and note.endswith(
        "'no' 9, 'maybe' none; a perfect model has 0.667"
    )
    assert few_gold_note(found, "macro_f1") in note and few_gold_note(found, "accuracy") == ""
    assert json.loads(json.dumps(found["few_gold"])) == found["few_gold"]
    enough = score_rows(task, [row | {"id": f"{n}", "target": t, "prediction": t} for n, (row, t) in enumerate(
        (rows[0], label) for label in task.labels for _ in range(10))], resamples=20, seed=1)  # fmt: skip
    assert enough["few_gold"] == {}


def test_gold_samples_and_answers_are_counted_by_document():
    rows = [
        {"id": f"{n}", "draw": draw, "outcome": "parsed", "target": label, "prediction": "yes", "scores": {}}
        for n, label in enumerate(["yes"] * 6 + ["no"] * 2)
        for draw in range(5)
    ]
    found = score_rows(load_task("pubmedqa"), rows, resamples=20, seed=1)
    assert found["few_gold"]["macro_f1"]["gold"] == {"yes": 6, "no": 2, "maybe": 0}
    assert found["answers"] == {"read": 8, "distinct": 1, "commonest": 8} and not is_constant(found)


@pytest.mark.parametrize(("count", "said"), [(3, 0), (9, 0), (10, 1)])
def test_a_few_answers_are_no_constant_model(count, said):
    rows = [
        {"id": f"{n}", "outcome": "parsed", "target": "yes", "prediction": "yes", "scores": {}} for n in range(count)
    ]
    found = score_rows(load_task("pubmedqa"), rows, resamples=20, seed=1) | {"headline": "accuracy"}
    assert sum("whatever the question" in note for note in remarks_on("pubmedqa", found)) == said


def test_a_figure_without_any_gold_sample_says_so():
    task = load_task("ddi")
    row = {"id": "1", "outcome": "parsed", "target": "DDI-false", "prediction": "DDI-false", "scores": {}}
    found = score_rows(task, [row], resamples=20, seed=1)
    for name in ("micro_f1_positive", "detection_f1"):
        assert found["figures"][name]["value"] == 0 and found["few_gold"][name]["perfect"] == 0
        assert few_gold_note(found, name) == "no gold sample of anything that it is of; a perfect model has 0.000"
    entities = score_rows(
        load_task("bc5cdr"),
        [{"id": "1", "outcome": "parsed", "target": [], "prediction": [], "scores": {}}],
        resamples=20,
        seed=1,
    )
    without = [name for name, figure in entities["figures"].items() if "f1" in name and "[" not in name]
    assert without and all(entities["few_gold"][name]["perfect"] == 0 for name in without)


def test_the_figures_of_a_label_that_nobody_has_are_unknown():
    rows = [{"id": f"{n}", "outcome": "parsed", "target": "yes", "prediction": "yes", "scores": {}} for n in range(40)]
    figures = score_rows(load_task("pubmedqa"), rows, resamples=20, seed=1)["figures"]
    for name in ("f1[maybe]", "precision[no]", "recall[no]"):
        assert [figures[name][key] for key in ("value", "low", "high")] == [0, 0, 1]
    assert figures["f1[yes]"]["low"] > 0.9
    wrong = score_rows(load_task("pubmedqa"), [row | {"prediction": "no"} for row in rows], resamples=20, seed=1)
    assert wrong["figures"]["f1[no]"]["high"] < 0.2


def test_a_macro_average_over_the_gold_labels_can_be_perfect():
    totals = np.array([5.0, 0, 5, 0, 5, 0])
    assert MacroF1(("a", "b")).perfect(totals) == 0.5 and MacroF1Gold(("a", "b")).perfect(totals) == 1
