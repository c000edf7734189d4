"""The figures of a task whose documents were asked in several versions, beside the mean over these
(`docs/robustness.md`, `docs/fairness.md`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import BootstrapMedian, Observed, RightOrWrong, is_main
from mibe.metrics.fairness import Answers, Counting, Told, fairness
from mibe.metrics.intervals import shared
from mibe.metrics.repeats import is_changing, same_answer
from mibe.metrics.score import Figure, score, score_statistics
from mibe.metrics.variants import covariance_of, flips, letter_p, spread_over_versions
from mibe.results.draws import CHANGED, spread_name
from mibe.results.variants import FLIPPED, all_name, answered_name, mean_name, place_name, worst_name
from mibe.run.columns import Columns
from mibe.task import Metric, Task, Value, letter
from mibe.variation import BASELINE, REFERENCES, ROBUSTNESS

Table = tuple[Metric, FloatArray]


@dataclass(frozen=True)
class Samples:
    """The samples of a task by way, document and value: where they stand in the columns."""

    columns: Columns
    places: Mapping[str, Mapping[str, Mapping[str, int]]]
    clusters: Mapping[str, int]
    """Document → the number of its cluster."""

    @classmethod
    def of(cls, columns: Columns) -> Samples:
        """Those of the columns that say which version of which document they are."""
        places: dict[str, dict[str, dict[str, int]]] = {}
        clusters: dict[str, int] = {}
        numbers = columns.documents if columns.clusters is None else columns.clusters
        for place, said in enumerate(columns.variants):
            if said is not None:
                clusters[said["of"]] = int(numbers[place])
                for way, value in said["stands"].items():
                    places.setdefault(way, {}).setdefault(said["of"], {})[value] = place
        return cls(columns, places, clusters)

    def whole(self, way: str) -> tuple[list[str], list[str], IntArray]:
        """The versions of a way, the documents that have all of them, and where these stand: (documents, versions)."""
        of_way = self.places[way]
        versions = _versions(of_way, self.columns)
        documents = sorted(document for document, found in of_way.items() if found.keys() == set(versions))
        places = [[of_way[document][version] for version in versions] for document in documents]
        return versions, documents, np.array(places, dtype=np.int64).reshape(len(documents), len(versions))

    def numbers(self, documents: Sequence[str]) -> IntArray | None:
        """The clusters of these documents, as metrics take them."""
        return shared(np.array([self.clusters[document] for document in documents], dtype=np.int64))


def variants(
    task: Task,
    metrics: Sequence[Metric],
    tables: Sequence[FloatArray],
    columns: Columns,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The parts "robustness" and "fairness" of a task's record.

    `tables` are the statistics of `metrics`, row by row those of the samples in `columns`.
    """
    samples = Samples.of(columns)
    main = [
        (metric, table)
        for metric, table in zip(metrics, tables, strict=True)
        if all(map(is_main, metric.names)) and not isinstance(metric, BootstrapMedian)
    ]
    of_ways = {way: places for way, places in samples.places.items() if way in ROBUSTNESS}
    robust = {way: _robustness(task, main, samples, way, resamples, seed) for way in of_ways}
    attributes = {way: _told(task, main, samples, way) for way in samples.places if way not in ROBUSTNESS}
    names = {document: str(number) for document, number in samples.clusters.items()}
    counting = Counting(names, resamples, seed)
    fair = fairness(attributes, counting, baseline=BASELINE, references=REFERENCES, headline=_right(main)[0])
    return {name: part for name, part in (("robustness", robust), ("fairness", fair)) if part}


def _right(main: Sequence[Table]) -> tuple[str, FloatArray | None]:
    """The first figure of samples that are right or wrong, and its column; none where a task has no such."""
    for metric, table in main:
        if isinstance(metric, RightOrWrong):
            return metric.names[0], table[:, 0]
    return "accuracy", None


def _told(task: Task, main: Sequence[Table], samples: Samples, way: str) -> Answers:
    """What was answered for each value of an attribute, and whether it was right."""
    right, same = _right(main)[1], same_answer(task)
    return {
        document: {
            value: Told(_answer(samples.columns, place, same), None if right is None else bool(right[place]))
            for value, place in values.items()
        }
        for document, values in samples.places[way].items()
    }


def _answer(columns: Columns, place: int, same: Callable[[Value], Hashable]) -> Hashable:
    """What was answered, such that two answers are equal where they say the same."""
    answer = columns.predictions[place]
    return None if answer is None else same(answer)


def _option(columns: Columns, place: int, *, counted: bool = True) -> str | None:
    """The option that was chosen, by its letter in the document; the right one's for one of its text if `counted`."""
    said = columns.variants[place]
    chosen = columns.predictions[place] if counted else said["answered"]
    at = ord(chosen) - ord("A") if isinstance(chosen, str) and len(chosen) == 1 else -1
    return said["order"][at] if 0 <= at < len(said["order"]) else None


def _robustness(
    task: Task, main: Sequence[Table], samples: Samples, way: str, resamples: int, seed: int
) -> dict[str, Any]:
    """The figures of one way, over the documents that have all its versions."""
    of_way, columns = samples.places[way], samples.columns
    versions, documents, places = samples.whole(way)
    if len(versions) < 2 or not documents:
        # Every document lacks a version whose answer failed.
        none: dict[str, Any] = {"divisor": 0, "worst": "", "p": None, "by_version": {}, "figures": {}}
        return {"versions": len(versions), "documents": 0, "left_out": len(of_way), **none}
    clusters = samples.numbers(documents)

    def scored(metric: Metric, table: FloatArray, at: IntArray) -> dict[str, Figure]:
        several = at.reshape(len(documents), -1)
        repeated = np.repeat(np.arange(len(documents)) if clusters is None else clusters, several.shape[1])
        return score_statistics(
            [metric], [table[several.ravel()]], clusters=shared(repeated), resamples=resamples, seed=seed
        )

    figures: dict[str, Figure] = {}
    by_version: dict[str, Figure] = {}
    spread_p = None
    units = len(documents) if clusters is None else len(np.unique(clusters))
    for metric, table in main:
        if task.headline in metric.names:
            figures[mean_name(task.headline)] = scored(metric, table, places)[task.headline]
            by_version = {
                version: scored(metric, table, places[:, at])[task.headline] for at, version in enumerate(versions)
            }
    for metric, table in main:
        per_version = [table[places[:, at]] for at in range(len(versions))]
        values = np.array([metric.figures(one.sum(axis=0, dtype=np.float64)) for one in per_version])
        covariances = covariance_of(per_version, metric.figures, clusters=clusters, resamples=resamples, seed=seed)
        for at, name in enumerate(metric.names):
            value, low, high, stderr, p = spread_over_versions(values[:, at], covariances[at], units)
            figures[spread_name(name)] = Figure(value, low, high, stderr, len(documents))
            spread_p = p if name == task.headline else spread_p
        if isinstance(metric, RightOrWrong):
            for at, name in enumerate(metric.names):
                always = table[places, at].min(axis=1).tolist()
                figures |= _mean(all_name(name), always, clusters, resamples, seed)
    worst = min(by_version, key=lambda version: by_version[version].value, default="")
    if worst:
        figures[worst_name(task.headline)] = by_version[worst]
    figures |= _of_answers(task, columns, places, way, clusters, resamples, seed)
    found = {
        "versions": len(versions),
        "documents": len(documents),
        "left_out": len(of_way) - len(documents),
        "divisor": len(versions) - 1,
        "worst": worst,
        "p": spread_p,
        "by_version": {version: asdict(figure) for version, figure in by_version.items()},
        "figures": {name: asdict(figure) for name, figure in figures.items()},
    }
    if way == "options":
        found["letters"] = _letters(main, columns, places, clusters, resamples, seed)
    return found


def _versions(of_way: Mapping[str, Mapping[str, int]], columns: Columns) -> list[str]:
    """The versions that most documents have, the document itself first."""
    kinds = Counter(tuple(sorted(found, key=_natural)) for found in of_way.values())
    most = max(kinds, key=lambda kind: (kinds[kind], len(kind)))
    own = {
        value
        for document, found in of_way.items()
        for value, place in found.items()
        if columns.variants[place]["itself"]
    }
    return sorted(most, key=lambda value: (value not in own, _natural(value)))


def _natural(value: str) -> tuple[int, str]:
    """Numbers in their order, before names."""
    return (int(value), "") if value.isdecimal() else (1 << 30, value)


def _mean(
    name: str, values: Sequence[float], clusters: IntArray | None, resamples: int, seed: int
) -> dict[str, Figure]:
    return score([Observed(name)], values, values, clusters=clusters, resamples=resamples, seed=seed)


def _of_answers(
    task: Task, columns: Columns, places: IntArray, way: str, clusters: IntArray | None, resamples: int, seed: int
) -> dict[str, Figure]:
    """How often answers change between versions, options by what they are and not by their letter."""
    answers = answers_of(task, columns, places, way)
    changing = [is_changing(row, lambda value: value) for row in answers]
    return _mean(FLIPPED, [flips(row) for row in answers], clusters, resamples, seed) | _mean(
        CHANGED, changing, clusters, resamples, seed
    )


def answers_of(task: Task, columns: Columns, places: IntArray, way: str) -> list[list[Hashable]]:
    """The answers of each document's versions, equal where they say the same."""
    same = same_answer(task)

    def answer(place: int) -> Hashable:
        if way == "options":
            return _option(columns, place)
        value = columns.predictions[place]
        return None if value is None else same(value)

    return [[answer(place) for place in row] for row in places.tolist()]


def _letters(
    main: Sequence[Table], columns: Columns, places: IntArray, clusters: IntArray | None, resamples: int, seed: int
) -> dict[str, Any]:
    """Whether an option is chosen for its letter: accuracy where the right one stands there, and how often it is."""
    size = max(len(columns.variants[place]["order"]) for place in places.ravel().tolist())
    names = [letter(at) for at in range(size)]
    numbers = np.arange(len(places)) if clusters is None else clusters
    of_sample = np.repeat(numbers, places.shape[1])
    answered = np.array([columns.variants[place]["answered"] or "" for place in places.ravel().tolist()])
    targets = np.array([columns.targets[place] for place in places.ravel().tolist()])
    right_name, right = _right(main)
    figures: dict[str, Figure] = {}
    for name in names:
        figures |= _mean(answered_name(name), (answered == name).tolist(), shared(of_sample), resamples, seed)
    for name in names:
        at = np.flatnonzero(targets == name)
        if right is not None and len(at):
            values = right[places.ravel()[at]].tolist()
            figures |= _mean(place_name(right_name, name), values, shared(of_sample[at]), resamples, seed)
    orders = [[columns.variants[place]["order"] for place in row] for row in places.tolist()]
    # Of two options of one text nobody can say which was meant.
    plain = [number for number, row in enumerate(orders) if len(set(row[0])) == len(row[0]) == size]
    p = 1.0
    if plain:
        options = np.array(
            [[ord(_option(columns, place, counted=False) or "@") - ord("A") for place in places[n]] for n in plain]
        )
        stand = np.array([[[order.index(name) for name in names] for order in orders[n]] for n in plain])
        p = letter_p(options, stand, resamples=resamples, seed=seed)
    return {"p": p, "figures": {name: asdict(figure) for name, figure in figures.items()}}
