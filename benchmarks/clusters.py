"""How often intervals hold the truth, and tests err, where each document is drawn several times (`docs/repeats.md`).

    python benchmarks/clusters.py                    # 1,000 trials a line, about ten minutes on one core
    python benchmarks/clusters.py --trials 200

Made-up data whose truth is known. A document is answered rightly with a probability of its own, from a Beta
distribution: its mean is the true accuracy, and 1 / (a + b + 1) the correlation of two draws of one document. Wrong
answers are spread evenly over the other labels. For the tests, two models have the same distribution, and on half of
the documents the same probability. Beside what mibe does stands what taking every draw for a document of its own gives.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from tabulate import tabulate

from mibe.metrics.base import Observed
from mibe.metrics.classification import MacroF1
from mibe.metrics.comparison import random_halves
from mibe.metrics.counts import count
from mibe.metrics.intervals import bootstrap, of_means, standard_errors
from mibe.metrics.repeats import figures_by_draw, pass_at_k, spread

GOLD = np.array([0.55, 0.34, 0.11])
"""Shares of the labels, about those of PubMedQA."""
LABELS = ("yes", "no", "maybe")
RIGHT, WRONG = 0.9, 0.6
"""The Beta distribution's parameters: true accuracy 0.6, correlation 0.4."""
MEAN, MACRO_F1 = Observed("accuracy"), MacroF1(LABELS)
Z = 1.959964


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--documents", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--draws", type=int, nargs="+", default=[5, 16])
    args = parser.parse_args()
    coverage, errors = [], []
    for documents in args.documents:
        for draws in args.draws:
            shape = (documents, draws, args.trials, args.resamples)
            coverage += [[documents, draws, *line] for line in shares(covered, *shape)]
            errors += [[documents, draws, *line] for line in shares(rejected, *shape)]
    print("Coverage of 95 % intervals\n")
    print(tabulate(coverage, ("documents", "draws", "figure", "share"), tablefmt="github", floatfmt=".3f"))
    print("\nTwo equal models found different at 5 %\n")
    print(tabulate(errors, ("documents", "draws", "test", "share"), tablefmt="github", floatfmt=".3f"))


Trial = Callable[[np.random.Generator, int, int, int, int], Iterator[tuple[str, bool]]]


def shares(trial: Trial, documents: int, draws: int, trials: int, resamples: int) -> list[tuple[str, float]]:
    """How often each of a trial's answers is yes."""
    rng = np.random.default_rng(12)
    totals: dict[str, int] = {}
    for number in range(trials):
        for name, yes in trial(rng, documents, draws, resamples, number):
            totals[name] = totals.get(name, 0) + yes
    return [(name, total / trials) for name, total in totals.items()]


def answers(rng: np.random.Generator, gold: np.ndarray, chance: np.ndarray, draws: int) -> tuple[np.ndarray, ...]:
    """Tables of accuracy and macro-F1 of every draw, documents one after the other."""
    right = rng.random((len(gold), draws)) < chance[:, np.newaxis]
    others = (gold[:, np.newaxis] + rng.integers(1, 3, size=right.shape)) % 3
    predicted = np.where(right, gold[:, np.newaxis], others).ravel()
    labels = np.arange(3)
    counted = count(predicted[:, np.newaxis] == labels, np.repeat(gold, draws)[:, np.newaxis] == labels)
    return MEAN.table(right.reshape(-1, 1).astype(float)), counted


def covered(
    rng: np.random.Generator, documents: int, draws: int, resamples: int, seed: int
) -> Iterator[tuple[str, bool]]:
    """Whether the interval of each figure holds the truth."""
    gold, chance = rng.choice(3, size=documents, p=GOLD), rng.beta(RIGHT, WRONG, size=documents)
    accuracy, counted = answers(rng, gold, chance, draws)
    clusters, numbers = np.repeat(np.arange(documents), draws), np.tile(np.arange(draws), documents)
    ways = {"": clusters, " (draws taken for documents)": None}
    for metric, table, truth in ((MEAN, accuracy, true_accuracy()), (MACRO_F1, counted, true_macro_f1())):
        for way, of in ways.items():
            low, high, _ = (
                of_means(table[:, :-1], clusters=of)
                if metric is MEAN
                else bootstrap(table, metric.figures, clusters=of, resamples=resamples, seed=seed)
            )
            yield f"{metric.name}{way}", bool(low[0] <= truth <= high[0])
    for way, of in ways.items():
        half = Z * standard_errors(accuracy[:, :-1], of)[0]
        yield f"accuracy ± 1.96 standard errors{way}", bool(abs(accuracy[:, 0].mean() - true_accuracy()) <= half)
    right = accuracy[:, 0].reshape(documents, draws).sum(axis=1)
    k = draws // 2
    passes = MEAN.statistics([pass_at_k(draws, int(c), k) for c in right], ())
    low, high, _ = of_means(passes[:, :-1])
    yield "accuracy_pass@(draws / 2)", bool(low[0] <= true_pass(k) <= high[0])
    between = math.sqrt((chance * (1 - chance)).sum()) / documents
    found = spread(figures_by_draw(MEAN.figures, accuracy, numbers), documents)
    yield "accuracy_sd", bool(found.low[0] <= between <= found.high[0])
    # Each draw's right answers side by side, so that a resample of documents has a spread too.
    side_by_side = accuracy[:, 0].reshape(documents, draws)
    low, high, _ = bootstrap(
        side_by_side, lambda totals: (totals / documents).std(axis=-1, ddof=1, keepdims=True), resamples=resamples
    )
    yield "accuracy_sd (documents resampled)", bool(low[0] <= between <= high[0])


def rejected(
    rng: np.random.Generator, documents: int, draws: int, resamples: int, seed: int
) -> Iterator[tuple[str, bool]]:
    """Whether each test finds two equal models different."""
    gold, chance_a = rng.choice(3, size=documents, p=GOLD), rng.beta(RIGHT, WRONG, size=documents)
    chance_b = np.where(rng.random(documents) < 0.5, chance_a, rng.beta(RIGHT, WRONG, size=documents))
    (accuracy_a, counted_a), (accuracy_b, counted_b) = (answers(rng, gold, c, draws) for c in (chance_a, chance_b))
    clusters = np.repeat(np.arange(documents), draws)
    for metric, a, b in ((MEAN, accuracy_a, accuracy_b), (MACRO_F1, counted_a, counted_b)):
        for way, of in {"": clusters, " (draws taken for documents)": None}.items():
            found = random_halves(a, b, metric.figures, clusters=of, resamples=resamples, seed=seed)
            yield f"{metric.name}{way}", bool(found.p[0] < 0.05)


def true_accuracy() -> float:
    return RIGHT / (RIGHT + WRONG)


def true_macro_f1() -> float:
    """Of endlessly many documents: wrong answers go in equal parts to the two other labels."""
    hit = true_accuracy() * GOLD
    predicted = hit + (1 - true_accuracy()) * (1 - GOLD) / 2
    return float((2 * hit / (predicted + GOLD)).mean())


def true_pass(k: int) -> float:
    """One minus the mean of (1 − q)^k, a moment of the Beta distribution."""
    return 1 - math.prod((WRONG + i) / (RIGHT + WRONG + i) for i in range(k))


if __name__ == "__main__":
    main()
