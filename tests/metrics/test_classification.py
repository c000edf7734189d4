"""Figures of labels and label sets, checked against scikit-learn, by hand, and against BLUE's definition."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mibe.errors import DataError
from mibe.metrics.classification import (
    Accuracy,
    DetectionF1,
    MacroF1,
    MacroF1Gold,
    MicroF1OfLabels,
    PerLabel,
    PredictedShare,
    WeightedF1,
)
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.multilabel import ExampleF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.metrics.outcomes import OutcomeRates
from mibe.task import Outcome

LABELS = ("yes", "no", "maybe", "never used")
NO_ANSWER = "no answer"  # scikit-learn's stand-in for None: a class outside LABELS

one_label = st.lists(
    st.tuples(st.sampled_from([*LABELS[:3], "outside", None]), st.sampled_from(LABELS[:3])), min_size=1, max_size=40
)
label_set = st.sets(st.sampled_from(LABELS[:3])).map(sorted)
label_sets = st.lists(st.tuples(st.none() | label_set, label_set), min_size=1, max_size=40)


def figures(metric, predictions, targets):
    totals = metric.statistics(predictions, targets).sum(axis=0)
    return dict(zip(metric.names, metric.figures(totals).tolist(), strict=True))


def transpose(pairs):
    return [p for p, _ in pairs], [t for _, t in pairs]


def sk_f1(predictions, targets, average, labels=LABELS):
    answers = [NO_ANSWER if p is None else p for p in predictions]
    return sk.f1_score(targets, answers, labels=list(labels), average=average, zero_division=0)


@given(one_label)
def test_one_label_figures_equal_scikit_learn(pairs):
    predictions, targets = transpose(pairs)
    answers = [NO_ANSWER if p is None else p for p in predictions]
    assert figures(Accuracy(), predictions, targets)["accuracy"] == pytest.approx(
        sk.accuracy_score(targets, answers), abs=1e-12
    )
    assert figures(MacroF1(LABELS), predictions, targets)["macro_f1"] == pytest.approx(
        sk_f1(predictions, targets, "macro"), abs=1e-12
    )
    assert figures(WeightedF1(LABELS), predictions, targets)["weighted_f1"] == pytest.approx(
        sk_f1(predictions, targets, "weighted"), abs=1e-12
    )
    # Upstream: a macro average over the labels of the gold standard, weighted by all classes.
    gold = sorted(set(targets))
    assert figures(MacroF1Gold(LABELS), predictions, targets)["macro_f1_gold"] == pytest.approx(
        sk_f1(predictions, targets, "macro", gold), abs=1e-12
    )


@given(one_label)
def test_figures_of_each_label_equal_scikit_learn(pairs):
    predictions, targets = transpose(pairs)
    answers = [NO_ANSWER if p is None else p for p in predictions]
    ours = figures(PerLabel(LABELS), predictions, targets)
    theirs = sk.precision_recall_fscore_support(targets, answers, labels=list(LABELS), zero_division=0)
    for kind, row in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
        assert [ours[f"{kind}[{label}]"] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-12)


@given(one_label)
def test_a_subset_of_the_labels_still_sees_errors_of_the_others(pairs):
    predictions, targets = transpose(pairs)
    subset = LABELS[:2]
    assert figures(MacroF1(subset), predictions, targets)["macro_f1"] == pytest.approx(
        sk_f1(predictions, targets, "macro", subset), abs=1e-12
    )


@given(one_label)
def test_micro_f1_of_some_labels_and_detection_equal_scikit_learn(pairs):
    predictions, targets = transpose(pairs)
    positive = LABELS[:2]
    assert figures(MicroF1OfLabels(positive), predictions, targets)["micro_f1"] == pytest.approx(
        sk_f1(predictions, targets, "micro", positive), abs=1e-12
    )
    sides = [[label in positive for label in side] for side in (targets, predictions)]
    assert figures(DetectionF1(positive), predictions, targets)["detection_f1"] == pytest.approx(
        sk.f1_score(*sides, zero_division=0), abs=1e-12
    )


def test_interactions_of_the_wrong_type_are_detected_all_the_same():
    targets = ["effect", "advise", "false", "false", "int"]
    predictions = ["advise", "advise", "int", "false", None]
    positive = ("effect", "advise", "int")
    # Of 3 interactions 1 has its type, 2 are detected; 3 answers name one.
    assert figures(MicroF1OfLabels(positive), predictions, targets)["micro_f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert figures(DetectionF1(positive), predictions, targets)["detection_f1"] == pytest.approx(2 * 2 / (3 + 3))


@given(one_label)
def test_confusion_matrix_equals_scikit_learn(pairs):
    predictions, targets = transpose(pairs)
    answers = [p if p in LABELS else NO_ANSWER for p in predictions]
    theirs = sk.confusion_matrix(targets, answers, labels=[*LABELS, NO_ANSWER])
    assert confusion_matrix(predictions, targets, LABELS) == theirs[:-1].tolist()


def test_confusion_matrix_refuses_a_target_outside_the_labels():
    with pytest.raises(DataError, match="'perhaps'"):
        confusion_matrix(["yes"], ["perhaps"], LABELS)


@given(label_sets)
def test_label_set_figures_equal_scikit_learn(pairs):
    predictions, targets = transpose(pairs)
    gold = np.array([[label in t for label in LABELS] for t in targets])
    answered = np.array([[label in (p or ()) for label in LABELS] for p in predictions])
    assert figures(LabelwiseMacroF1(LABELS), predictions, targets)["macro_f1"] == pytest.approx(
        sk.f1_score(gold, answered, average="macro", zero_division=0), abs=1e-12
    )
    assert figures(MicroF1(LABELS), predictions, targets)["micro_f1"] == pytest.approx(
        sk.f1_score(gold, answered, average="micro", zero_division=0), abs=1e-12
    )
    ours = figures(LabelwiseScores(LABELS), predictions, targets)
    theirs = sk.precision_recall_fscore_support(gold, answered, zero_division=0)
    for kind, row in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
        assert [ours[f"{kind}[{label}]"] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-12)


@given(label_sets)
def test_example_based_f1_is_the_harmonic_mean_of_mean_precision_and_mean_recall(pairs):
    predictions, targets = transpose(pairs)
    overlaps = [(len(set(p or ()) & set(t)), len(p or ()), len(t)) for p, t in pairs]
    precision = float(np.mean([hits / answered if answered else 0 for hits, answered, _ in overlaps]))
    recall = float(np.mean([hits / gold if gold else 0 for hits, _, gold in overlaps]))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    ours = figures(ExampleF1(), predictions, targets)
    assert list(ours) == ["example_precision", "example_recall", "example_f1"]
    assert list(ours.values()) == pytest.approx([precision, recall, f1], abs=1e-12)


def test_subset_accuracy_ignores_order_and_never_forgives_a_missing_answer():
    predictions = [["no", "yes"], ["yes"], None, []]
    targets = [["yes", "no"], ["yes", "no"], [], []]
    assert figures(SubsetAccuracy(), predictions, targets)["subset_accuracy"] == 0.5


def test_a_missing_answer_misses_the_gold_label_and_is_a_false_positive_of_none():
    ours = figures(PerLabel(("yes", "no")), [None, "yes"], ["yes", "yes"])
    assert (ours["precision[yes]"], ours["recall[yes]"]) == (1.0, 0.5)
    assert figures(Accuracy(), [None], [None]) == {"accuracy": 0.0}


def test_a_constant_answer_shows_in_the_shares():
    assert figures(PredictedShare(("A", "B")), ["A", "A", "A", None], ["A", "B", "B", "B"]) == {
        "share[A]": 0.75,
        "share[B]": 0.0,
        "share[none]": 0.25,
    }


def test_rates_of_outcomes():
    outcomes = [Outcome.PARSED, Outcome.PARSED, "unparsed", "error"]
    assert figures(OutcomeRates(), outcomes, outcomes) == {
        "parsed": 0.5,
        "unparsed": 0.25,
        "truncated": 0.0,
        "refused": 0.0,
        "error": 0.25,
    }


@pytest.mark.parametrize(
    "metric",
    [Accuracy(), MacroF1(LABELS), MacroF1Gold(LABELS), WeightedF1(LABELS), PerLabel(LABELS), PredictedShare(LABELS)],
)
def test_figures_work_on_stacked_totals_and_on_none(metric):
    predictions, targets = ["yes", None, "no", "maybe"], ["yes", "no", "no", "yes"]
    table = metric.statistics(predictions, targets)
    stacked = np.stack([table.sum(axis=0), table[:2].sum(axis=0), table[:0].sum(axis=0)]).reshape(3, 1, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = metric.figures(stacked)
    assert together.shape == (3, 1, len(metric.names))
    assert together[0, 0].tolist() == metric.figures(table.sum(axis=0)).tolist()
    assert not together[2].any()
    assert metric.statistics([], []).shape == (0, table.shape[1])


def test_predictions_and_targets_must_have_one_length():
    for metric in (Accuracy(), SubsetAccuracy(), ExampleF1()):
        with pytest.raises(ValueError, match="zip"):
            metric.statistics(["yes"], [])
    for metric in (MacroF1(LABELS), LabelwiseMacroF1(LABELS)):
        with pytest.raises(ValueError, match="broadcast"):
            metric.statistics(["yes", "yes", "yes"], ["yes", "no"])
