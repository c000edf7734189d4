"""Entity scores, with seqeval (strict) and nervaluate as judges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema, entities
from mibe.metrics.score import score

TYPES = ("problem", "treatment", "test")
LENGTH = 14

spans = st.tuples(st.sampled_from(TYPES), st.integers(0, LENGTH - 1), st.integers(1, 6)).map(
    lambda item: [item[0], item[1], min(item[1] + item[2], LENGTH)]
)
overlapping = st.lists(spans, max_size=6)


@st.composite
def disjoint(draw):
    """Entities side by side, as token tags can hold them."""
    found, position = [], 0
    for name, gap, length in draw(
        st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 2), st.integers(1, 3)), max_size=6)
    ):
        start, end = position + gap, position + gap + length
        if end > LENGTH:
            break
        found.append([name, start, end])
        position = end
    return found


def figures(metric, predictions, targets):
    totals = metric.statistics(predictions, targets).sum(axis=0)
    return dict(zip(metric.names, metric.figures(totals).tolist(), strict=True))


def tags(found):
    row = ["O"] * LENGTH
    for name, start, end in found:
        row[start:end] = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
    return row


@given(st.lists(st.tuples(disjoint(), disjoint()), min_size=1, max_size=8))
def test_strict_figures_equal_seqeval(pairs):
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    predictions, targets = [p for p, _ in pairs], [t for _, t in pairs]
    tables = [[tags(found) for found in side] for side in (targets, predictions)]
    names = sorted({name for side in (predictions, targets) for found in side for name, _, _ in found})
    if not names:  # seqeval has no report without entities
        assert figures(EntityMicroF1(TYPES), predictions, targets) == {"micro_f1": 0}
        return
    report = seqeval.classification_report(*tables, mode="strict", scheme=scheme, output_dict=True, zero_division=0)
    assert figures(EntityMicroF1(TYPES), predictions, targets)["micro_f1"] == pytest.approx(
        report["micro avg"]["f1-score"], abs=1e-12
    )
    ours = figures(EntityScores(TYPES), predictions, targets)
    for name in names:
        theirs = [report[name][kind] for kind in ("precision", "recall", "f1-score")]
        assert [ours[f"{kind}[{name}]"] for kind in ("precision", "recall", "f1")] == pytest.approx(theirs, abs=1e-12)
    # seqeval averages over the types that occur, we over the types of the task.
    assert figures(EntityMacroF1(TYPES), predictions, targets)["macro_f1"] == pytest.approx(
        report["macro avg"]["f1-score"] * len(names) / len(TYPES), abs=1e-12
    )


@given(st.lists(st.tuples(overlapping, overlapping), min_size=1, max_size=6))
def test_every_schema_equals_nervaluate(pairs):
    evaluator = pytest.importorskip("nervaluate").Evaluator

    def documents(side):
        return [
            [{"label": e.type, "start": e.start, "end": e.end - 1} for e in entities(found, TYPES)] for found in side
        ]

    predictions, targets = [p for p, _ in pairs], [t for _, t in pairs]
    theirs = evaluator(documents(targets), documents(predictions), tags=list(TYPES), loader="dict").evaluate()[
        "overall"
    ]
    for schema in Schema:
        ours = figures(OverlapF1(TYPES, schema), predictions, targets)
        result = theirs[str(schema)]
        expected = {
            f"{schema}_precision": result.precision,
            f"{schema}_recall": result.recall,
            f"{schema}_f1": result.f1,
        }
        assert ours == pytest.approx(expected, abs=1e-12)


def test_each_schema_on_one_example():
    gold = [["problem", 0, 10], ["test", 20, 25]]
    predicted = [["problem", 2, 10], ["problem", 20, 25]]
    recalls = {s: figures(OverlapF1(TYPES, s), [predicted], [gold])[f"{s}_recall"] for s in Schema}
    assert recalls == {Schema.STRICT: 0, Schema.EXACT: 0.5, Schema.PARTIAL: 0.75, Schema.ENT_TYPE: 0.5}


def test_a_word_of_a_very_long_entity_is_no_overlap():
    assert figures(OverlapF1(TYPES), [[["test", 0, 1]]], [[["test", 0, 100]]])["partial_recall"] == 0.5
    assert figures(OverlapF1(TYPES), [[["test", 0, 1]]], [[["test", 0, 101]]])["partial_recall"] == 0


def test_a_made_up_entity_is_a_false_positive_and_overlaps_nothing():
    predicted = [["test", -1, -1], ["test", -2, -2], ["test", 0, 4]]
    for metric in (EntityScores(TYPES), OverlapF1(TYPES)):
        values = list(figures(metric, [predicted], [[["test", 0, 4]]]).values())
        assert values[-3:] == [pytest.approx(1 / 3), 1, 0.5]


def test_no_answer_misses_every_gold_entity_and_a_repeated_one_counts_once():
    gold = [["test", 0, 4]]
    assert figures(EntityMicroF1(TYPES), [None, gold * 3], [gold, gold])["micro_f1"] == pytest.approx(2 / 3)
    assert figures(EntityMicroF1(TYPES), [[["drug", 0, 4]]], [gold])["micro_f1"] == 0


def test_entities_have_intervals():
    gold, predicted = [["test", 0, 4], ["problem", 5, 9]], [["test", 0, 4]]
    metrics = (EntityMacroF1(TYPES), EntityMicroF1(TYPES), EntityScores(TYPES), *(OverlapF1(TYPES, s) for s in Schema))
    scored = score(metrics, [predicted, None, gold], [gold, gold, gold], resamples=50)
    assert list(scored) == [name for metric in metrics for name in metric.names]
    assert all(f.low <= f.value <= f.high for f in scored.values())
    assert score(metrics, [], []) == {}
