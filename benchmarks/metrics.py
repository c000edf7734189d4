"""Seconds for ROUGE and NER beside their packages, and for 1,000 bootstrap resamples of each metric on 26,804 samples.

    python benchmarks/metrics.py                        # ROUGE on made-up texts
    python benchmarks/metrics.py --texts test.jsonl     # on JSON lines, e.g. of SumPubMed
    python benchmarks/metrics.py --ner BC5CDR-IOB       # NER on the test set of that folder, repeated to 26,804

Every figure is the median of `--repeats` runs in one process. The ROUGE of the two packages is compared on every pair.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from mibe.metrics.base import Metric
from mibe.metrics.classification import Accuracy, MacroF1, MacroF1Gold, PerLabel, PredictedShare, WeightedF1
from mibe.metrics.diagnosis import TopKAccuracy
from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema
from mibe.metrics.intervals import bootstrap
from mibe.metrics.multilabel import ExampleF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.metrics.qa import ExactMatch, TokenF1
from mibe.metrics.summarization import Rouge, rouge

SAMPLES = 26_804
"""The largest test set of the benchmark (emrQA)."""
RESAMPLES = 1000
NER = Path(__file__).resolve().parents[2] / "shared" / "data" / "bc5cdr"
TYPES = ("problem", "treatment", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="JSON lines with two texts each")
    parser.add_argument("--prediction", default="shorter_abstract", help="field that stands for the model's summary")
    parser.add_argument("--target", default="abstract", help="field with the reference")
    parser.add_argument("--pairs", type=int, default=50, help="number of pairs of texts")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--ner", type=Path, help="folder of BC5CDR-IOB; the default is ../shared/data/bc5cdr if it is there"
    )
    args = parser.parse_args()
    pairs = read_pairs(args.texts, args.prediction, args.target) if args.texts else made_up_pairs(random.Random(0))
    time_rouge(pairs[: args.pairs], args.repeats)
    folder = args.ner or (NER if NER.exists() else None)
    if folder is not None:
        time_ner(read_tags(folder / "test.tsv"), args.repeats)
    time_bootstrap(args.repeats)


def read_pairs(path: Path, prediction: str, target: str) -> list[tuple[str, str]]:
    """The texts with one sentence a line, as ROUGE-Lsum wants them."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row[prediction].replace(". ", ".\n"), row[target].replace(". ", ".\n")) for row in rows]


def made_up_pairs(rng: random.Random) -> list[tuple[str, str]]:
    """Texts of ten sentences, with words about as unequal in frequency as those of English (Zipf)."""
    words = [f"w{rank}" for rank in range(1, 5001)]
    weights = [1 / rank for rank in range(1, 5001)]

    def text() -> str:
        return "\n".join(" ".join(rng.choices(words, weights, k=25)) for _ in range(10))

    return [(text(), text()) for _ in range(100)]


def time_rouge(pairs: list[tuple[str, str]], repeats: int) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    names = Rouge().names
    scorer = RougeScorer(list(names))
    words = statistics.mean(len(text.split()) for pair in pairs for text in pair)
    print(f"ROUGE, {len(pairs)} pairs of texts, {words:.0f} words a text; milliseconds a pair")
    ours, own_scores = median_time(lambda: [rouge(*pair) for pair in pairs], repeats)
    theirs, scores = median_time(lambda: [scorer.score(target, prediction) for prediction, target in pairs], repeats)
    gap = max(
        abs(value - score[name].fmeasure)
        for values, score in zip(own_scores, scores, strict=True)
        for name, value in zip(names, values, strict=True)
    )
    print(f"  mibe        {ours / len(pairs) * 1e3:8.3f}")
    print(f"  rouge-score {theirs / len(pairs) * 1e3:8.3f}   {theirs / ours:.1f} times as long")
    print(f"  largest difference of an F-measure {gap:.1e}")


def read_tags(path: Path) -> list[list[str]]:
    """The IOB tags of each sentence, the test set repeated until there are SAMPLES of them."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    sentences = [[line.split("\t")[1] for line in block.splitlines() if line] for block in blocks]
    return list(islice(cycle(filter(None, sentences)), SAMPLES))


def noisy(tags: list[str], rng: random.Random) -> list[str]:
    """The tags as a model might give them: of ten entities one is missed, one has another type, one is cut short."""
    found = list(tags)
    for kind, start, end in spans(tags):
        fate = rng.random()
        if fate < 0.1:
            found[start:end] = ["O"] * (end - start)
        elif fate < 0.2:
            other = "Disease" if kind == "Chemical" else "Chemical"
            found[start:end] = [f"{tag[:2]}{other}" for tag in tags[start:end]]
        elif fate < 0.3 and end - start > 1:
            found[end - 1] = "O"
    return found


def spans(tags: list[str]) -> list[list]:
    """The entities of IOB tags as [type, start, end], in words."""
    starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
    ends = [next((j for j in range(i + 1, len(tags)) if not tags[j].startswith("I-")), len(tags)) for i in starts]
    return [[tags[start][2:], start, end] for start, end in zip(starts, ends, strict=True)]


def time_ner(gold: list[list[str]], repeats: int) -> None:
    """Precision, recall and F1 of all types and each, from each package's own form of the same predictions."""
    from nervaluate import Evaluator
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    rng = random.Random(0)
    predicted = [noisy(tags, rng) for tags in gold]
    kinds = ("Chemical", "Disease")
    columns = [spans(tags) for tags in predicted], [spans(tags) for tags in gold]

    def mibe_strict() -> float:
        metrics = EntityMacroF1(kinds), EntityMicroF1(kinds), EntityScores(kinds)
        _, micro, _ = (metric.figures(metric.statistics(*columns).sum(axis=0)) for metric in metrics)
        return micro[0]

    def seqeval_strict() -> float:
        report = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True)
        return report["micro avg"]["f1-score"]

    def mibe_schemas() -> float:
        metrics = [OverlapF1(kinds, schema) for schema in Schema]
        strict, *_ = (metric.figures(metric.statistics(*columns).sum(axis=0)) for metric in metrics)
        return strict[2]

    def nervaluate_schemas() -> float:
        return Evaluator(gold, predicted, tags=list(kinds), loader="list").evaluate()["overall"]["strict"].f1

    entities = sum(map(len, columns[1]))
    print(
        f"\nNER, {len(gold):,} sentences with {entities:,} entities; medians of {repeats}, the two packages in turn\n"
    )
    print("| what | mibe, s | package | its s | ratio | difference of F1 |\n|---|---:|---|---:|---:|---:|")
    for what, ours, package, theirs in (
        ("strict: macro, micro, per type", mibe_strict, "seqeval", seqeval_strict),
        ("strict, exact, partial, type", mibe_schemas, "nervaluate", nervaluate_schemas),
    ):
        (own, own_f1), (other, other_f1) = interleaved(ours, theirs, repeats)
        gap = abs(own_f1 - other_f1)
        print(f"| {what} | {own:.2f} | {package} | {other:.2f} | {other / own:.1f} | {gap:.0e} |", flush=True)


def interleaved(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> list[tuple[float, object]]:
    """Median seconds and result of two functions that take turns, so that a busy machine slows both alike."""
    runs = [[median_time(function, 1) for function in (ours, theirs)] for _ in range(repeats)]
    return [(statistics.median(seconds for seconds, _ in column), column[0][1]) for column in zip(*runs, strict=True)]


def time_bootstrap(repeats: int) -> None:
    print(f"\n{RESAMPLES} resamples of {SAMPLES} samples; seconds")
    print(f"  {'metric':40} {'statistics':>10} {'bootstrap':>10}")
    total = 0.0
    for title, metric, predictions, targets in cases(np.random.default_rng(0)):
        table_time, table = median_time(lambda m=metric, p=predictions, t=targets: m.statistics(p, t), repeats)
        time_taken, _ = median_time(lambda m=metric, s=table: bootstrap(s, m.figures, resamples=RESAMPLES), repeats)
        total += time_taken
        print(f"  {title:40} {table_time:10.3f} {time_taken:10.3f}")
    print(f"  {'all bootstraps together':40} {'':10} {total:10.3f}")


def cases(rng: np.random.Generator) -> Iterator[tuple[str, Metric, list, list]]:
    """(title, metric, predictions, targets) of 26,804 random samples for each metric."""
    for count in (5, 40):
        labels = tuple(f"label {i}" for i in range(count))
        predictions, targets = (rng.choice(labels, SAMPLES).tolist() for _ in range(2))
        for metric in (
            Accuracy(),
            *(kind(labels) for kind in (MacroF1, MacroF1Gold, WeightedF1, PerLabel, PredictedShare)),
        ):
            yield f"{type(metric).__name__}, {count} labels", metric, predictions, targets

    labels = tuple(f"label {i}" for i in range(10))
    predictions, targets = (
        [[label for label, on in zip(labels, row, strict=True) if on] for row in rng.random((SAMPLES, 10)) < 0.15]
        for _ in range(2)
    )
    for metric in (
        SubsetAccuracy(),
        *(kind(labels) for kind in (LabelwiseMacroF1, MicroF1, LabelwiseScores)),
        ExampleF1(),
    ):
        yield f"{type(metric).__name__}, sets of 10 labels", metric, predictions, targets

    predictions, targets = (
        [
            [[TYPES[i % 3], int(at), int(at) + 5] for i, at in enumerate(row)]
            for row in rng.integers(0, 60, (SAMPLES, 4))
        ]
        for _ in range(2)
    )
    for metric in (EntityMacroF1(TYPES), EntityMicroF1(TYPES), EntityScores(TYPES), OverlapF1(TYPES)):
        yield f"{type(metric).__name__}, 4 entities", metric, predictions, targets

    words = [f"word{i}" for i in range(30)]
    predictions, targets = (
        [
            " ".join(row[: 1 + length])
            for row, length in zip(
                rng.choice(words, (SAMPLES, 12)).tolist(), rng.integers(12, size=SAMPLES), strict=True
            )
        ]
        for _ in range(2)
    )
    for metric in (ExactMatch(), TokenF1(), Rouge()):
        yield f"{type(metric).__name__}, up to 12 words", metric, predictions, targets

    verdicts = (rng.random((SAMPLES, 10)) < 0.1).tolist()
    yield "TopKAccuracy", TopKAccuracy(), verdicts, verdicts
    yield "Distinct, 4 figures, no two samples equal", Distinct(), rng.random((SAMPLES, 4)).tolist(), [None] * SAMPLES


class Distinct(Rouge):
    """The slowest case: four means of values of which no two are equal, as ROUGE has them on long texts."""

    def values(self, predictions, targets):
        return np.array(predictions)


def median_time(function: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Median wall-clock seconds, and what the last run returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


if __name__ == "__main__":
    main()
