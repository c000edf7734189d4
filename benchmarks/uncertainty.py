"""How often intervals hold the truth, and `mibe compare` finds equal models different (`docs/statistics.md`).

    python benchmarks/uncertainty.py                          # 400 trials a line, about half an hour on one core
    python benchmarks/uncertainty.py --data ner --trials 100
    python benchmarks/uncertainty.py --release PATH           # DDI 2013's test set, as `mibe data prepare ddi` wrote it

Made-up data whose truth is known, at true accuracies of 0.5, 0.9 and 0.99, of 40, 100 and 500 units that are drawn
independently of each other:

- `independent`: samples of three labels in the shares of PubMedQA;
- `ddi`: documents of 15 pairs on average (geometric), five labels in the shares of DDI 2013, the pairs of a document
  right with a probability of its own (Beta, correlation 0.3);
- `ner`: notes of about twelve entities of three types, some notes with many, found with a probability of the note's own
  (Beta, correlation 0.2), and as many spurious ones as are missed, in the mean.

Wrong labels are spread evenly over the others. Of two equal models, half of the units are as hard for one as for the
other. Beside what mibe does stand the percentile bootstrap and BCa (Efron 1987), a smoothed bootstrap with two
pseudo-units that get nothing right, and for the tests the paired bootstrap, and McNemar's exact test by sample.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta, binomtest, norm
from tabulate import tabulate

from mibe.metrics.base import Observed, is_mean
from mibe.metrics.classification import MacroF1, MicroF1OfLabels
from mibe.metrics.comparison import random_halves
from mibe.metrics.counts import count
from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1
from mibe.metrics.intervals import Interval, bootstrap, cluster_totals, of_means, resampled_totals
from mibe.registry import load_task
from mibe.task import Metric

SIZES, CHANCES = (40, 100, 500), (0.5, 0.9, 0.99)
PUBMEDQA, DDI = np.array([0.55, 0.34, 0.11]), np.array([0.83, 0.06, 0.055, 0.04, 0.015])
ENTITIES = np.array([6.0, 4.0, 2.0])
TYPES = ("a", "b", "c")

Tables = list[tuple[Metric, np.ndarray]]


@dataclass(frozen=True)
class Kind:
    """Made-up data: `draw` gives two equal models' tables and the clusters, `truth` each figure at a true accuracy."""

    draw: Callable[[np.random.Generator, int, float], tuple[Tables, Tables, np.ndarray]]
    truth: Callable[[float], Mapping[str, float]]


def labelled(shares: np.ndarray, pairs: float, correlation: float) -> Kind:
    """Samples of one label each, so many a document in the mean."""
    names = tuple(f"label {number}" for number in range(len(shares)))
    metrics = (Observed("accuracy"), MacroF1(names), MicroF1OfLabels(names[1:]))

    def draw(rng: np.random.Generator, units: int, chance: float) -> tuple[Tables, Tables, np.ndarray]:
        sizes = rng.geometric(1 / pairs, size=units)
        clusters = np.repeat(np.arange(units), sizes)
        gold = rng.choice(len(shares), size=len(clusters), p=shares)
        hard = hardness(rng, units)
        tables = []
        for of_model in hard:
            # Without correlation, a unit has one sample, and its hardness is the sample's own.
            own = rng.random(len(clusters)) if correlation else of_model[clusters]
            right = own < (of_chance(of_model, chance, correlation)[clusters] if correlation else chance)
            wrong = (gold + rng.integers(1, len(shares), size=len(gold))) % len(shares)
            tables.append(label_tables(metrics, gold, np.where(right, gold, wrong)))
        return *tables, clusters

    def truth(chance: float) -> dict[str, float]:
        hits = chance * shares
        predicted = hits + (1 - chance) * (1 - shares) / (len(shares) - 1)
        figures = [chance, (2 * hits / (predicted + shares)).mean()]
        figures.append(2 * hits[1:].sum() / (predicted + shares)[1:].sum())
        return dict(zip(("accuracy", "macro_f1", "micro_f1"), figures, strict=True))

    return Kind(draw, truth)


def label_tables(metrics: tuple[Metric, ...], gold: np.ndarray, predicted: np.ndarray) -> Tables:
    labels = np.arange(len(metrics[1].labels))
    counted = count(predicted[:, np.newaxis] == labels, gold[:, np.newaxis] == labels)
    positive = np.concatenate([block[:, 1:] for block in np.split(counted, 3, axis=1)], axis=1)
    right = metrics[0].statistics((predicted == gold).astype(float), ())
    return list(zip(metrics, (right, counted, positive), strict=True))


def notes(rng: np.random.Generator, units: int, chance: float) -> tuple[Tables, Tables, np.ndarray]:
    gold = rng.poisson(rng.gamma(1.5, 1 / 1.5, size=(units, 1)) * ENTITIES)
    tables = []
    for hard in hardness(rng, units):
        found = of_chance(hard, chance, 0.2)[:, np.newaxis]
        hits = rng.binomial(gold, found)
        counted = np.concatenate([hits, hits + rng.poisson(gold * (1 - found)), gold], axis=1).astype(float)
        tables.append([(EntityMicroF1(TYPES, "entity_f1"), counted), (EntityMacroF1(TYPES), counted)])
    return *tables, np.arange(units)


def hardness(rng: np.random.Generator, units: int) -> list[np.ndarray]:
    """Of each unit for two models, uniform, and the same for half of the units."""
    first, second = rng.random((2, units))
    return [first, np.where(rng.random(units) < 0.5, first, second)]


def of_chance(hard: np.ndarray, chance: float, correlation: float) -> np.ndarray:
    """The probability that an answer of a unit is right."""
    total = 1 / correlation - 1
    return beta.ppf(hard, chance * total, (1 - chance) * total)


KINDS = {
    "independent": labelled(PUBMEDQA, 1, 0),
    "ddi": labelled(DDI, 15, 0.3),
    "ner": Kind(notes, lambda chance: {"entity_f1": chance, "macro_f1": chance}),
}


def intervals(metric: Metric, table: np.ndarray, clusters: np.ndarray, resamples: int, seed: int) -> dict[str, tuple]:
    """Way → bounds of the metric's figure."""
    settings = {"clusters": clusters, "resamples": resamples, "seed": seed}
    own: Interval = (
        of_means(table[:, :-1], clusters=clusters) if is_mean(metric) else bootstrap(table, metric.figures, **settings)
    )
    rows = cluster_totals(table, clusters).astype(float)
    value = metric.figures(rows.sum(axis=0))[0]
    replicates = metric.figures(resampled_totals(table, **settings))[:, 0]
    nothing = rows.copy()
    nothing[:, : max(1, rows.shape[1] // 3)] = 0
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.ones(len(rows)), np.full(len(rows), 2 / len(rows))])
    drawn = rng.multinomial(len(rows), weights / weights.sum(), size=resamples)
    smoothed = metric.figures(drawn @ np.concatenate([rows, nothing]))[:, 0]
    return {
        "mibe": (own.low[0], own.high[0]),
        "percentile": percentiles(replicates, value),
        "BCa": bca(replicates, value, metric, rows),
        "smoothed": percentiles(smoothed, value),
    }


def percentiles(replicates: np.ndarray, value: float) -> tuple[float, float]:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return min(low, value), max(high, value)


def bca(replicates: np.ndarray, value: float, metric: Metric, rows: np.ndarray) -> tuple[float, float]:
    left_out = metric.figures(rows.sum(axis=0) - rows)[:, 0]
    gaps = left_out.mean() - left_out
    if not (gaps**2).sum() or replicates.min() == replicates.max():
        return value, value
    skew = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    below = np.clip((replicates < value).mean() + (replicates == value).mean() / 2, 1e-3, 1 - 1e-3)
    moved = norm.ppf(below) + norm.ppf([0.025, 0.975])
    return tuple(np.quantile(replicates, norm.cdf(norm.ppf(below) + moved / (1 - skew * moved))))


def tests(metric: Metric, a: np.ndarray, b: np.ndarray, clusters: np.ndarray, resamples: int, seed: int) -> dict:
    """Way → p of the difference of the metric's figure."""
    halves = random_halves(a, b, metric.figures, clusters=clusters, resamples=resamples, seed=seed)
    width = a.shape[1]
    both = resampled_totals(np.concatenate([a, b], axis=1), clusters=clusters, resamples=resamples, seed=seed)
    gains = (metric.figures(both[:, :width]) - metric.figures(both[:, width:]))[:, 0]
    beyond = min((gains <= 1e-12).sum(), (gains >= -1e-12).sum())
    found = {"mibe": halves.p[0], "paired bootstrap": min(1, 2 * (1 + beyond) / (1 + resamples))}
    if is_mean(metric):
        only_a, only_b = (int((x[:, 0] > y[:, 0]).sum()) for x, y in ((a, b), (b, a)))
        found["McNemar by sample"] = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return found


def measure(kind: Kind, units: int, chance: float, trials: int, resamples: int) -> Iterator[tuple[str, dict, dict]]:
    """Each figure with the share of intervals that hold the truth, and of tests that find equal models different."""
    rng = np.random.default_rng(12)
    truth = kind.truth(chance)
    covered: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    differing: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for trial in range(trials):
        tables_a, tables_b, clusters = kind.draw(rng, units, chance)
        for (metric, a), (_, b) in zip(tables_a, tables_b, strict=True):
            (name,) = metric.names
            for way, (low, high) in intervals(metric, a, clusters, resamples, trial).items():
                covered[name][way].append(low - 1e-12 <= truth[name] <= high + 1e-12)
            for way, p in tests(metric, a, b, clusters, resamples, trial).items():
                differing[name][way].append(p < 0.05)
    for name in covered:
        yield name, *({way: float(np.mean(x)) for way, x in found[name].items()} for found in (covered, differing))


def release(path: Path, trials: int) -> None:
    """What clusters make of DDI's own test set: widths of intervals, and tests of two equal models, by document."""
    task = load_task("ddi")
    examples = [json.loads(line) for line in (path / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    names = [example["id"].rsplit(".", 2)[0] for example in examples]
    clusters = np.unique(names, return_inverse=True)[1]
    gold = np.array([task.labels.index(example["target"]) for example in examples])
    metrics = (Observed("accuracy"), MacroF1(task.labels), MicroF1OfLabels(task.labels[1:]))
    print(f"{len(gold):,} pairs in {clusters.max() + 1} documents\n")
    rng, lines = np.random.default_rng(12), []
    for correlation in (0.0, 0.1, 0.3):
        wider, found = defaultdict(list), defaultdict(list)
        for trial in range(trials):
            hard, tables = hardness(rng, clusters.max() + 1), []
            for of_model in hard:
                chance = of_chance(of_model, 0.7, correlation)[clusters] if correlation else 0.7
                wrong = (gold + rng.integers(1, 5, size=len(gold))) % 5
                tables.append(label_tables(metrics, gold, np.where(rng.random(len(gold)) < chance, gold, wrong)))
            for (metric, a), (_, b) in zip(*tables, strict=True):
                of = {way: resampled_totals(a, clusters=c, resamples=300, seed=trial)
                      for way, c in (("document", clusters), ("pair", None))}  # fmt: skip
                spread = {way: metric.figures(totals).std() for way, totals in of.items()}
                wider[metric.names[0]].append(spread["document"] / spread["pair"])
                for way, c in (("document", clusters), ("pair", None)):
                    halves = random_halves(a, b, metric.figures, clusters=c, resamples=300, seed=trial)
                    found[metric.names[0], way].append(halves.p[0] < 0.05)
        lines += [[correlation, name, np.mean(wider[name]), *(np.mean(found[name, w]) for w in ("document", "pair"))]
                  for name in wider]  # fmt: skip
    head = ("correlation", "figure", "interval wider by", "equal models differ, by document", "by pair")
    print(tabulate(lines, head, tablefmt="github", floatfmt=("", "", ".2f", ".3f", ".3f")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--release", type=Path)
    args = parser.parse_args()
    if args.release:
        return release(args.release, args.trials)
    coverage, errors = [], []
    for name in args.data:
        for units in args.sizes:
            for chance in CHANCES:
                for figure, covered, differing in measure(KINDS[name], units, chance, args.trials, args.resamples):
                    coverage.append({"data": name, "n": units, "accuracy": chance, "figure": figure, **covered})
                    errors.append({"data": name, "n": units, "accuracy": chance, "figure": figure, **differing})
    print("Share of 95 % intervals that hold the truth\n")
    print(tabulate(coverage, "keys", tablefmt="github", floatfmt=".3f"))
    print("\nShare of tests that find two equal models different at 5 %\n")
    print(tabulate(errors, "keys", tablefmt="github", floatfmt=".3f"))
    return None


if __name__ == "__main__":
    main()
