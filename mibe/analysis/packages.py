"""Figures as packages that are not ours compute them, from predictions and targets alone: what `mibe verify` asks.

Each function here says in the package's own words what a metric of ours means. Only what shapes the data for the
package is ours: an answer that is missing becomes a class of its own, entities become tags. The file is as long as the
list of metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import singledispatch
from importlib import import_module
from itertools import chain
from math import ceil, inf
from statistics import fmean, harmonic_mean
from typing import Any

from mibe.analysis.tags import tag_rows
from mibe.errors import ModelError
from mibe.metrics.bartscore import BartScore
from mibe.metrics.base import BootstrapMedian
from mibe.metrics.bertscore import BertScore, encoder_of
from mibe.metrics.calibration import (
    BINS,
    AccuracyAtCoverage,
    Brier,
    CalibrationError,
    Confidence,
    TextAccuracy,
    equal_mass,
)
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
from mibe.metrics.diagnosis import TopKAccuracy, TopKExact, UnreadableVerdicts, first_match
from mibe.metrics.extraction import Entity, EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1
from mibe.metrics.multilabel import AnyLabelF1, ExampleF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.metrics.qa import ExactMatch, SaidF1, SaidMatch, TokenF1
from mibe.metrics.summarization import Rouge
from mibe.parsers.spans import Span, write_marks
from mibe.protocols.paper_marks import align, tagged_words
from mibe.protocols.paper_metrics import AlignedEntities, CharacterScores, Missing
from mibe.task import Value

Values = Sequence[Any]
Figures = dict[str, float]

NO_ANSWER = "⟨no answer⟩"
"""The class that a missing answer is for scikit-learn."""
NOTHING = "⟨nothing⟩"
"""A label that no answer has."""

UNKNOWN = "no package of the extra computes it"
SQUAD = "SQuAD's script is in no package of the extra; the tests hold the figure to its definition"
SAID = "how answers with numbers are compared is a rule of mibe's own"
REASONS: Mapping[type, str] = {
    ExactMatch: SQUAD,
    TokenF1: SQUAD,
    SaidMatch: SAID,
    SaidF1: SAID,
    CharacterScores: "a habit of the paper's code that no package has",
    BootstrapMedian: "a median over random resamples, which differs with the seed; the mean of the same scores stands "
    "beside it",
    BartScore: "its authors publish it as a script and in no package",
    TopKExact: "whether two names are one diagnosis is a rule of mibe's own",
}
"""Metrics that no package of the extra has, and why."""


def package(module: str) -> Any:
    """A module of a package of the extra `verify`. Raises `ModelError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(
            f'mibe verify needs the packages it compares with: pip install "mibe[verify]" ({error})'
        ) from None


@singledispatch
def by_packages(metric: object, predictions: Values, targets: Values) -> Figures:
    """Figure name → value of a metric, by a package that is not ours; empty where `why_not` says that there is none."""
    return {}


def why_not(metric: object) -> str:
    """Why no package computes the figures of this metric."""
    return REASONS.get(type(metric), UNKNOWN)


def share(flags: Iterable[bool]) -> float:
    """The share of those that are true, by scikit-learn."""
    answered = list(flags)
    return float(package("sklearn.metrics").accuracy_score([True] * len(answered), answered))


# ── One label: scikit-learn ──────────────────────────────────────────────────────────────────────────────────────────


def _answers(predictions: Values) -> list[Value]:
    return [NO_ANSWER if prediction is None else prediction for prediction in predictions]


def _f1(predictions: Values, targets: Values, labels: Sequence[str], average: str) -> float:
    f1_score = package("sklearn.metrics").f1_score
    return float(f1_score(targets, _answers(predictions), labels=list(labels), average=average, zero_division=0))


def _each(names: Sequence[str], gold: Any, predicted: Any, labels: Values) -> Figures:
    """Precision, recall and F1 of each label under the metric's names, which go label by label."""
    sk = package("sklearn.metrics")
    rows = sk.precision_recall_fscore_support(gold, predicted, labels=list(labels), average=None, zero_division=0)[:3]
    return dict(zip(names, map(float, chain(*zip(*rows, strict=True))), strict=True))


@by_packages.register
def _(metric: Accuracy, predictions: Values, targets: Values) -> Figures:
    return {metric.name: float(package("sklearn.metrics").accuracy_score(targets, _answers(predictions)))}


@by_packages.register
def _(metric: MacroF1, predictions: Values, targets: Values) -> Figures:
    return {metric.name: _f1(predictions, targets, metric.labels, "macro")}


@by_packages.register
def _(metric: MacroF1Gold, predictions: Values, targets: Values) -> Figures:
    gold = set(targets)
    occurring = [label for label in metric.labels if label in gold]
    # Over no label at all scikit-learn has no mean.
    return {metric.name: _f1(predictions, targets, occurring, "macro") if occurring else 0.0}


@by_packages.register
def _(metric: WeightedF1, predictions: Values, targets: Values) -> Figures:
    return {metric.name: _f1(predictions, targets, metric.labels, "weighted")}


@by_packages.register
def _(metric: MicroF1OfLabels, predictions: Values, targets: Values) -> Figures:
    return {metric.name: _f1(predictions, targets, metric.labels, "micro")}


@by_packages.register
def _(metric: DetectionF1, predictions: Values, targets: Values) -> Figures:
    sk = package("sklearn.metrics")
    gold, predicted = ([label in metric.labels for label in side] for side in (targets, predictions))
    return {metric.name: float(sk.f1_score(gold, predicted, zero_division=0))}


@by_packages.register
def _(metric: PerLabel, predictions: Values, targets: Values) -> Figures:
    return _each(metric.names, targets, _answers(predictions), metric.labels)


@by_packages.register
def _(metric: PredictedShare, predictions: Values, targets: Values) -> Figures:
    asked = [*metric.labels, None]
    answered = [prediction if prediction in metric.labels else None for prediction in predictions]
    return {name: share(x == label for x in answered) for name, label in zip(metric.names, asked, strict=True)}


@by_packages.register
def _(metric: Missing, predictions: Values, targets: Values) -> Figures:
    return {metric.name: share(prediction is None for prediction in predictions)}


# ── Sets of labels: scikit-learn ─────────────────────────────────────────────────────────────────────────────────────


def _indicators(labels: Sequence[str], sets: Iterable[Iterable[str]]) -> Any:
    """Shape (samples, labels + 2): the last column is empty, since scikit-learn takes one column for no set."""
    binarizer = package("sklearn.preprocessing").MultiLabelBinarizer(classes=[*labels, NO_ANSWER, NOTHING])
    known = {*labels, NO_ANSWER}
    return binarizer.fit_transform([[label for label in members if label in known] for members in sets])


def _of_sets(labels: Sequence[str], predictions: Values, targets: Values) -> tuple[Any, Any]:
    return _indicators(labels, targets), _indicators(labels, [prediction or () for prediction in predictions])


def _f1_of_sets(metric: LabelwiseMacroF1 | MicroF1, predictions: Values, targets: Values, average: str) -> Figures:
    sk = package("sklearn.metrics")
    columns = range(len(metric.labels))
    tables = _of_sets(metric.labels, predictions, targets)
    return {metric.name: float(sk.f1_score(*tables, labels=columns, average=average, zero_division=0))}


@by_packages.register
def _(metric: LabelwiseMacroF1, predictions: Values, targets: Values) -> Figures:
    return _f1_of_sets(metric, predictions, targets, "macro")


@by_packages.register
def _(metric: MicroF1, predictions: Values, targets: Values) -> Figures:
    return _f1_of_sets(metric, predictions, targets, "micro")


@by_packages.register
def _(metric: AnyLabelF1, predictions: Values, targets: Values) -> Figures:
    gold, predicted = ([bool(set(metric.labels) & set(v or ())) for v in values] for values in (targets, predictions))
    return {metric.name: float(package("sklearn.metrics").f1_score(gold, predicted, zero_division=0))}


@by_packages.register
def _(metric: LabelwiseScores, predictions: Values, targets: Values) -> Figures:
    return _each(metric.names, *_of_sets(metric.labels, predictions, targets), range(len(metric.labels)))


@by_packages.register
def _(metric: SubsetAccuracy, predictions: Values, targets: Values) -> Figures:
    answers = [(NO_ANSWER,) if prediction is None else prediction for prediction in predictions]
    labels = sorted({*chain(*targets, *answers)} - {NO_ANSWER})
    tables = _indicators(labels, targets), _indicators(labels, answers)
    return {metric.name: float(package("sklearn.metrics").accuracy_score(*tables))}


@by_packages.register
def _(metric: ExampleF1, predictions: Values, targets: Values) -> Figures:
    sk = package("sklearn.metrics")
    labels = sorted({*chain(*targets, *(prediction or () for prediction in predictions))})
    tables = _of_sets(labels, predictions, targets)
    means = [
        float(score(*tables, average="samples", zero_division=0)) for score in (sk.precision_score, sk.recall_score)
    ]
    return dict(zip(metric.names, [*means, harmonic_mean(means)], strict=True))


# ── Likelihoods: scikit-learn ────────────────────────────────────────────────────────────────────────────────────────
# Predictions are the rows of the log here, and targets the places of the gold answers among those scored.


@by_packages.register
def _(metric: TextAccuracy, predictions: Values, targets: Values) -> Figures:
    return {metric.name: share(row["scores"][metric.name] == 1 for row in predictions)}


@by_packages.register
def _(metric: Confidence, predictions: Values, targets: Values) -> Figures:
    return {metric.name: fmean(probabilities(predictions).max(axis=1).tolist())}


@by_packages.register
def _(metric: Brier, predictions: Values, targets: Values) -> Figures:
    table = probabilities(predictions)
    places = list(range(table.shape[1]))
    sk = package("sklearn.metrics")
    return {metric.name: float(sk.brier_score_loss(targets, table, labels=places, scale_by_half=False))}


@by_packages.register
def _(metric: CalibrationError, predictions: Values, targets: Values) -> Figures:
    strategy = "quantile" if metric.edges is equal_mass else "uniform"
    curve = reliability_curve(predictions, targets, strategy)
    return {metric.name: sum(n * abs(right - sure) for right, sure, n in curve) / len(predictions)}


@by_packages.register
def _(metric: AccuracyAtCoverage, predictions: Values, targets: Values) -> Figures:
    sure = probabilities(predictions).max(axis=1)
    kept = ceil(Fraction(metric.percent, 100) * len(sure))
    border = sorted(sure)[-kept]
    at_border = int((sure == border).sum())
    share_at = (kept - int((sure > border).sum())) / at_border
    weights = [1.0 if one > border else share_at if one == border else 0.0 for one in sure]
    answers = probabilities(predictions).argmax(axis=1)
    return {metric.name: float(package("sklearn.metrics").accuracy_score(targets, answers, sample_weight=weights))}


def probabilities(rows: Values) -> Any:
    """Shape (samples, answers): scipy's softmax of the log-likelihoods; 0 where a sample has fewer answers."""
    most = max(len(row["loglikelihoods"]) for row in rows)
    padded = [[*row["loglikelihoods"], *[-inf] * (most - len(row["loglikelihoods"]))] for row in rows]
    return package("scipy.special").softmax(padded, axis=1)


def reliability_curve(rows: Values, targets: Values, strategy: str) -> list[tuple[float, float, int]]:
    """Accuracy, mean confidence and number of samples of each bin with samples, by scikit-learn's curve.

    scikit-learn does not say how many samples a bin has: numpy counts them.
    """
    table = probabilities(rows)
    sure, right = table.max(axis=1), table.argmax(axis=1) == targets
    curve = package("sklearn.calibration").calibration_curve
    accuracy, confidence = curve(right, sure, n_bins=BINS, strategy=strategy, pos_label=True)
    numpy = package("numpy")
    grid = numpy.linspace(0, 1, BINS + 1)
    edges = numpy.percentile(sure, 100 * grid) if strategy == "quantile" else grid
    sizes = numpy.unique(numpy.digitize(sure, edges[1:-1], right=True), return_counts=True)[1]
    return list(zip(accuracy.tolist(), confidence.tolist(), sizes.tolist(), strict=True))


# ── Entities: seqeval and nervaluate ─────────────────────────────────────────────────────────────────────────────────


def _spans(value: Value | None, types: Sequence[str]) -> set[Entity]:
    return {Entity(name, start, end) for name, start, end in value or () if name in types}


def _strict(types: Sequence[str], predictions: Values, targets: Values) -> Mapping[str, Mapping[str, float]]:
    """seqeval's report in its strict mode; empty, as it has none, where there is no entity at all."""
    gold: list[list[str]] = []
    predicted: list[list[str]] = []
    for prediction, target in zip(predictions, targets, strict=True):
        tables = tag_rows(_spans(prediction, types), _spans(target, types))
        gold += tables[0]
        predicted += tables[1]
    if not gold:
        return {}
    metrics, scheme = package("seqeval.metrics"), package("seqeval.scheme").IOB2
    found: Mapping[str, Mapping[str, float]] = metrics.classification_report(
        gold, predicted, mode="strict", scheme=scheme, output_dict=True, zero_division=0
    )
    return found


def _of_report(report: Mapping[str, Mapping[str, float]], row: str, kind: str) -> float:
    """A type that occurs nowhere has no row, and counts as 0."""
    return float(report.get(row, {}).get("f1-score" if kind == "f1" else kind, 0))


@by_packages.register
def _(metric: EntityMacroF1, predictions: Values, targets: Values) -> Figures:
    report = _strict(metric.labels, predictions, targets)
    # seqeval's own mean is over the types that occur.
    return {metric.name: fmean(_of_report(report, name, "f1") for name in metric.labels)}


@by_packages.register
def _(metric: EntityMicroF1, predictions: Values, targets: Values) -> Figures:
    return {metric.name: _of_report(_strict(metric.labels, predictions, targets), "micro avg", "f1")}


@by_packages.register
def _(metric: EntityScores, predictions: Values, targets: Values) -> Figures:
    report = _strict(metric.labels, predictions, targets)
    wanted = [(row, kind) for row in metric.labels for kind in ("precision", "recall", "f1")]
    return {name: _of_report(report, *cell) for name, cell in zip(metric.names, wanted, strict=True)}


@by_packages.register
def _(metric: OverlapF1, predictions: Values, targets: Values) -> Figures:
    documents = [
        [
            # nervaluate's ends are inclusive.
            [{"label": name, "start": start, "end": end - 1} for name, start, end in _in_order(value, metric.types)]
            for value in side
        ]
        for side in (targets, predictions)
    ]
    evaluator = package("nervaluate").Evaluator(*documents, tags=list(metric.types), loader="dict")
    found = evaluator.evaluate()["overall"][str(metric.schema)]
    return dict(zip(metric.names, map(float, (found.precision, found.recall, found.f1)), strict=True))


def _in_order(value: Value | None, types: Sequence[str]) -> list[Entity]:
    return sorted(_spans(value, types), key=lambda entity: (entity.start, entity.end, entity.type))


@by_packages.register
def _(metric: AlignedEntities, predictions: Values, targets: Values) -> Figures:
    seqeval = package("seqeval.metrics")
    read = [(p, t) for p, t in zip(predictions, targets, strict=True) if p is not None]
    rows = [
        align(p["words"], tagged_words(write_marks(p["sentence"], [Span(*item) for item in t])) or []) for p, t in read
    ]
    tables = [gold for _, gold in rows], [predicted for predicted, _ in rows]
    scores = (seqeval.f1_score, seqeval.precision_score, seqeval.recall_score)
    return {name: float(s(*tables, zero_division=0)) for name, s in zip(metric.names, scores, strict=True)}


# ── Texts: rouge-score and bert-score ────────────────────────────────────────────────────────────────────────────────


@by_packages.register
def _(metric: Rouge, predictions: Values, targets: Values) -> Figures:
    scorer = package("rouge_score.rouge_scorer").RougeScorer(list(metric.names), use_stemmer=False)
    scores = [scorer.score(target, p or "") for p, target in zip(predictions, targets, strict=True)]
    return {name: fmean(score[name].fmeasure for score in scores) for name in metric.names}


@by_packages.register
def _(metric: BertScore, predictions: Values, targets: Values) -> Figures:
    pairs = [(p or "", target) for p, target in zip(predictions, targets, strict=True)]
    # bert-score gives an empty text 0 as well, and breaks off on it with transformers 5.
    full = [pair for pair in pairs if all(text.strip() for text in pair)]
    if not full:
        return dict.fromkeys(metric.names, 0.0)
    texts, references = map(list, zip(*full, strict=True))
    model, layer = encoder_of(metric.model, metric.layer)
    scores = package("bert_score").score(
        texts, references, model_type=model, num_layers=layer, batch_size=metric.batch_size
    )
    return {name: sum(column.tolist()) / len(pairs) for name, column in zip(metric.names, scores, strict=True)}


# ── Diagnoses: scikit-learn ──────────────────────────────────────────────────────────────────────────────────────────


@by_packages.register
def _(metric: TopKAccuracy, predictions: Values, targets: Values) -> Figures:
    sk = package("sklearn.metrics")
    # Each place in the list is a class, with a score that falls from place to place; two more are of no place.
    places = range(metric.depth + 2)
    right = [int(min(first_match(verdicts or ()), metric.depth + 1)) - 1 for verdicts in predictions]
    scores = [[-place for place in places]] * len(right)
    return {
        name: float(sk.top_k_accuracy_score(right, scores, k=k, labels=list(places)))
        for k, name in enumerate(metric.names, start=1)
    }


@by_packages.register
def _(metric: TopKExact, predictions: Values, targets: Values) -> Figures:
    return {}


@by_packages.register
def _(metric: UnreadableVerdicts, predictions: Values, targets: Values) -> Figures:
    verdicts = list(chain(*predictions))
    return {metric.names[0]: share(verdict is None for verdict in verdicts)} if verdicts else {}
