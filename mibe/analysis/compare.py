"""Two runs on the same samples: which model is better, by how much, and how sure is that?

Predictions and targets come from the sample logs, metrics from the tasks. Every document that was scored in both runs
counts, joined by its id, so that a difference is never one of the questions asked. Of a document that was drawn several
times, the mean over the draws counts; of one that was asked in several versions, itself. What is resampled are
clusters: documents, or what several of them share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mibe import protocols
from mibe.analysis.compare_versions import OTHER_VERSIONS, other_versions, version_differences
from mibe.data_use import is_credentialed
from mibe.errors import UsageError
from mibe.judge.verdicts import TOP_K, is_judged
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import BootstrapMedian, Mean, RightOrWrong, is_main, is_mean
from mibe.metrics.calibration import of_likelihood
from mibe.metrics.comparison import Halves, holm, of_halves, split_differences
from mibe.metrics.intervals import cluster_numbers, cluster_totals, shared
from mibe.own.recorded import read_otherwise, task_of
from mibe.results.digests import cluster_of, draw_of, identity
from mibe.results.log import Row
from mibe.results.run import Run, load_run
from mibe.results.variants import is_itself
from mibe.run.scoring import LATE, late_of, stored_statistics
from mibe.run.settings import changes_of, rule_of, style_of
from mibe.task import Metric, Outcome, Task, own_id

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[Row, Row]

Joined = tuple[list[Row], list[Row]]
"""The rows of the documents that both runs have scored, of run A and of run B, documents in the same order."""

SAME = {
    "version": "they were read by other versions of the task (mibe rescore RUN reads the older one again)",
    "prompt_template_sha256": "the prompts have another wording",
    "definition_sha256": "the files that define it differ (mibe rescore RUN --include FILE.py reads one again)",
    "num_fewshot": "the numbers of worked examples differ",
}
"""Key of a task's record → what it means when two runs differ in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of one task in both runs, and figure A minus figure B with its 95 % interval.

    `n` counts documents, in so many `clusters`. `p` and the interval are of one method, random halves of the clusters,
    so that p is below 0.05 if and only if the interval leaves 0 out. Where each sample is right or wrong, `only_a` are
    right in A alone and `only_b` in B alone. `p_holm` is `p` corrected for having asked about several tasks; the
    headline of each task is such a question, other figures describe and have none.
    """

    task: str
    metric: str
    headline: bool
    n: int
    clusters: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    only_a: int | None = None
    only_b: int | None = None
    p_holm: float | None = None


Compared: TypeAlias = tuple[Difference, Halves]
"""A row, and the halves that it was read off."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs have in common and where they differ; `notes` say what a reader must know beside the figures.

    `halves` has, by task and figure, the random halves that a row was read off: those of several tasks make the
    comparison of a mean (`mibe.metrics.comparison.mean_of_halves`).
    """

    a: Run
    b: Run
    rows: tuple[Difference, ...]
    notes: tuple[str, ...]
    halves: Mapping[tuple[str, str], Halves]

    def table(self) -> pd.DataFrame:
        """One row a figure: the fields of `Difference`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def differing(self, task: str) -> list[dict[str, Any]]:
        """The samples of a task whose predictions differ: id, outcome, scores and prediction of each run.

        Where documents were drawn several times, a draw stands beside the other run's of the same number.

        Predictions and target, which may be text or quote it, are left out where the task is credentialed.
        """
        if task not in {row.task for row in self.rows}:
            raise UsageError(f"the runs have no task {task!r} in common")
        text = not is_credentialed(task_of(self.a.record, task))
        return [
            _sample(a, b, text=text)
            for a, b in same_samples(self.a, self.b, task)
            if (a["prediction"], a["outcome"]) != (b["prediction"], b["outcome"])
        ]


def compare(
    a: Run | str | Path, b: Run | str | Path, *, force: bool = False, resamples: int = 1000, seed: int = 1234
) -> Comparison:
    """Compare two runs, given as such or by their folders, on the tasks and samples that both have scored.

    Raises
    ------
    UsageError
        When they have no task or no sample in common; and, unless `force`, when data, prompts, protocol or judge
        differ, with all the reasons. With `force` these are in the notes, and run A's metrics score both.
    RunError
        When one is not a run folder.
    """
    run_a, run_b = (run if isinstance(run, Run) else load_run(run) for run in (a, b))
    common = [name for name in run_a.record["tasks"] if name in run_b.record["tasks"]]
    if not common:
        raise UsageError(
            f"the runs have no task in common: {run_a.path} has {_names(run_a)}, {run_b.path} has {_names(run_b)}"
        )
    reasons = _reasons(run_a, run_b, common)
    if reasons and not force:
        raise UsageError(f"the runs cannot be compared: {'; '.join(reasons)}. --force compares them all the same")
    found: list[Compared] = []
    notes = [*(f"not comparable: {reason}" for reason in reasons), *_generated(run_a, run_b)]
    for name in common:
        task = protocols.recorded(run_a.record, task_of(run_a.record, name))
        asked = [list(_scored(run, name)) for run in (run_a, run_b)]
        scored = [list(filter(is_itself, rows)) for rows in asked]
        joined = _joined(*scored)
        if not joined[0]:
            raise UsageError(
                f"{name}: no sample was scored in both runs; give both the same --limit and --seed, and look for "
                "samples that failed"
            )
        late, why_not = _late(task, run_a, run_b, joined)
        found += _differences(task, joined, late, resamples, seed)
        if other_versions(run_a, run_b, name):
            notes.append(f"{name}: {OTHER_VERSIONS}")
        else:
            found += _of_versions(task, (asked[0], asked[1]), resamples, seed)
        notes += [*_left_out(name, scored, joined), *_drawn(name, joined), *_clustered(task, joined), *why_not]
    notes += [f"{name}: in one run only, not compared" for name in _in_one(run_a, run_b)]
    halves = {(row.task, row.metric): lots for row, lots in found}
    return Comparison(run_a, run_b, tuple(_corrected([row for row, _ in found])), tuple(notes), halves)


def _names(run: Run) -> str:
    return ", ".join(run.record["tasks"]) or "none"


def _in_one(a: Run, b: Run) -> list[str]:
    return sorted(a.record["tasks"].keys() ^ b.record["tasks"].keys())


def _reasons(a: Run, b: Run, common: Sequence[str]) -> list[str]:
    """Why a difference between the runs may not be one between the models."""
    reasons = []
    if a.record["protocol"] != b.record["protocol"]:
        reasons.append(f"the protocols differ, {a.record['protocol']} and {b.record['protocol']}")
    style_a, style_b = (style_of(run.record["settings"]) for run in (a, b))
    if style_a != style_b:
        reasons.append(f"answers are asked for in different ways, {style_a} and {style_b}")
    if a.record["settings"].get("system_prompt") != b.record["settings"].get("system_prompt"):
        reasons.append("the system prompts differ")
    for name in common:
        part_a, part_b = a.record["tasks"][name], b.record["tasks"][name]
        data_a, data_b = part_a["data"], part_b["data"]
        if (data_a["split"], data_a["sha256"]) != (data_b["split"], data_b["sha256"]):
            reasons.append(f"{name}: the data differ ({_data(data_a)} and {_data(data_b)})")
        rule_a, rule_b = (rule_of(run.record["settings"], run.record["tasks"][name]) for run in (a, b))
        if rule_a != rule_b:
            reasons.append(f"{name}: the answer is {rule_a} in A, {rule_b} in B")
        reasons += [f"{name}: {why}" for key, why in SAME.items() if part_a.get(key) != part_b.get(key)]
        if keys := read_otherwise(a.record, b.record, name):
            reasons.append(f"{name}: the task files differ in {', '.join(keys)}")
        if part_a.get("num_fewshot") == part_b.get("num_fewshot") and _other_shots(a, b, name):
            reasons.append(f"{name}: the worked examples differ")
        if is_judged(task_of(a.record, name)) and a.record.get("judge") != b.record.get("judge"):
            reasons.append(f"{name}: the judges differ, {_judge(a)} and {_judge(b)}")
    return reasons


def _generated(a: Run, b: Run) -> list[str]:
    """A note where the text of two runs was generated in different ways; the system prompt is a reason of its own."""
    found = [", ".join(changes_of(run.record["settings"] | {"system_prompt": None})) or "as usual" for run in (a, b)]
    return [] if found[0] == found[1] else [f"text was generated in different ways: {found[0]} in A, {found[1]} in B"]


def _data(data: dict[str, Any]) -> str:
    return f"{data['split']} {data['sha256'][:12]}"


def _judge(run: Run) -> str:
    judge = run.record.get("judge")
    return str(judge["name"]) if judge else "none"


def _other_shots(a: Run, b: Run, name: str) -> bool:
    """Whether documents that both runs have asked about stand behind other examples."""
    shared_a, shared_b = (run.record["tasks"][name].get("shots", {}) for run in (a, b))
    if any(shared_a[key] != shared_b[key] for key in shared_a.keys() & shared_b.keys()):
        return True
    return any(row_a.get("shots") != row_b.get("shots") for row_a, row_b in same_samples(a, b, name))


def same_samples(a: Run, b: Run, task: str) -> Iterator[Pair]:
    """The rows of each sample that has an outcome other than error in both runs, in the order of run A."""
    scored_b = {identity(row): row for row in _scored(b, task)}
    return ((row, scored_b[identity(row)]) for row in _scored(a, task) if identity(row) in scored_b)


def _joined(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> Joined:
    """All draws of the documents with an outcome other than error in both runs, in the order of run A."""
    in_b = {row["id"] for row in rows_b}
    place = {ident: number for number, ident in enumerate(dict.fromkeys(r["id"] for r in rows_a if r["id"] in in_b))}
    kept_a, kept_b = (
        sorted((row for row in rows if row["id"] in place), key=lambda row: (place[row["id"]], draw_of(row)))
        for rows in (rows_a, rows_b)
    )
    return kept_a, kept_b


def _scored(run: Run, task: str) -> Iterator[Row]:
    return (row for row in run.rows(task) if row["outcome"] != Outcome.ERROR)


def _left_out(task: str, scored: Sequence[Sequence[Row]], joined: Joined) -> list[str]:
    counts = [len({row["id"] for row in rows}) for rows in scored]
    common = len({row["id"] for row in joined[0]})
    if counts == [common, common]:
        return []
    return [f"{task}: {common} samples were scored in both runs ({counts[0]} in A, {counts[1]} in B)"]


def _drawn(task: str, joined: Joined) -> list[str]:
    """A note where documents were drawn several times."""
    a, b = (1 + max(map(draw_of, rows)) for rows in joined)
    if a == b == 1:
        return []
    return [f"{task}: the mean of {a} draws a document in A, of {b} in B; interval and p go by document"]


def _clustered(task: Task, joined: Joined) -> list[str]:
    """A note where documents stand in clusters, or did before logs said so."""
    names = _clusters(joined)
    if len(set(names)) < len(names):
        return [f"{task.name}: {len(names)} documents in {len(set(names))} clusters; interval and p go by cluster"]
    if task.cluster is not own_id and not any("cluster" in row for rows in joined for row in rows):
        return [f"{task.name}: older logs do not say which documents belong together: mibe rescore RUN brings it in"]
    return []


def _clusters(joined: Joined) -> list[str]:
    """The cluster of each document, in order; where only one run is recent enough to know it, that one says it."""
    names: dict[str, str] = {}
    for row in (*joined[0], *joined[1]):
        if "cluster" in row or row["id"] not in names:
            names[row["id"]] = cluster_of(row)
    return list(names.values())


def _late(task: Task, a: Run, b: Run, joined: Joined) -> tuple[tuple[Mean, ...], list[str]]:
    """The late metrics whose values stand in both sample logs; and a note where one run has them in vain."""
    asked_a, asked_b = (late_of(task, run.record["settings"]) for run in (a, b))
    kept: list[Mean] = []
    notes: dict[str, str] = {}
    for metric in dict.fromkeys((*asked_a, *asked_b)):
        title = LATE[metric.names[0].partition("_")[0]]
        if metric not in asked_a or metric not in asked_b:
            notes[title] = "since only one run has it, or with another encoder"
        elif not all(row.get("scores", {}).keys() >= set(metric.names) for rows in joined for row in rows):
            notes[title] = "since a run does not hold it by sample: mibe rescore RUN"
        else:
            kept.append(metric)
    return tuple(kept), [f"{task.name}: {title} has no part in it, {why}" for title, why in notes.items()]


def _differences(task: Task, joined: Joined, late: Sequence[Mean], resamples: int, seed: int) -> list[Compared]:
    """Every main figure of the task, the headline first; those of `late`, and of likelihoods, from what rows hold."""
    task, values = _values(task, joined)
    documents = [cluster_numbers([row["id"] for row in rows]) for rows in joined]
    clusters = shared(cluster_numbers(_clusters(joined)))
    targets = [[row["target"] for row in rows] for rows in joined]
    found: list[Compared] = []
    for metric in task.metrics:
        # The median over resamples differs from its metric by noise alone, and has no part in a comparison.
        if isinstance(metric, BootstrapMedian) or not any(map(is_main, metric.names)):
            continue
        tables = [metric.statistics(*of_run) for of_run in zip(values, targets, strict=True)]
        found += _of_metric(task, metric, tables, documents, clusters, resamples, seed)
    scores = [[row.get("scores", {}) for row in rows] for rows in joined]
    likely = of_likelihood([*scores[0], *scores[1]]) if all("loglikelihoods" in rows[0] for rows in joined) else ()
    for metric in (*late, *likely):
        tables = [stored_statistics(metric, of_run) for of_run in scores]
        found += _of_metric(task, metric, tables, documents, clusters, resamples, seed)
    return sorted(found, key=lambda one: not one[0].headline)


def _values(task: Task, joined: Joined) -> tuple[Task, list[list[Any]]]:
    """The task, with the metrics that score it, and what they are given of each run: predictions, or verdicts."""
    if is_judged(task) and all("verdicts" in row for rows in joined for row in rows):
        headline = task.headline if task.headline in TOP_K.names else TOP_K.names[0]
        return replace(task, metrics=(TOP_K,), headline=headline), [_verdicts(rows) for rows in joined]
    return task, [[row["prediction"] for row in rows] for rows in joined]


def _verdicts(rows: Sequence[Row]) -> list[list[bool | None]]:
    return [[verdict["match"] for verdict in row["verdicts"]] for row in rows]


def _mean_of_draws(table: FloatArray, documents: IntArray) -> FloatArray:
    """Shape (samples, statistics) → (documents, statistics)."""
    return cluster_totals(table, documents) / np.bincount(documents)[:, np.newaxis]


def _of_metric(
    task: Task,
    metric: Metric,
    tables: Sequence[FloatArray],
    documents: Sequence[IntArray],
    clusters: IntArray | None,
    resamples: int,
    seed: int,
) -> list[Compared]:
    table_a, table_b = (_mean_of_draws(*of_run) for of_run in zip(tables, documents, strict=True))
    once = len(tables[0]) == len(tables[1]) == len(table_a)
    figures_a, figures_b = metric.figures(table_a.sum(axis=0)), metric.figures(table_b.sum(axis=0))
    halves = split_differences(
        table_a,
        table_b,
        metric.figures,
        clusters=clusters,
        resamples=resamples,
        # The lots of two tasks are independent, as their documents are.
        seed=(seed, *task.name.encode()),
        span=metric.bounds[1] if is_mean(metric) else 1.0,
    )
    paired = of_halves(halves)
    found: list[Compared] = []
    for i, name in enumerate(metric.names):
        if not is_main(name):
            continue
        row = Difference(
            task=task.name,
            metric=name,
            headline=name == task.headline,
            n=len(table_a),
            clusters=len(table_a) if clusters is None else len(np.unique(clusters)),
            a=float(figures_a[i]),
            b=float(figures_b[i]),
            difference=float(paired.value[i]),
            low=float(paired.low[i]),
            high=float(paired.high[i]),
            p=float(paired.p[i]),
        )
        if once and isinstance(metric, RightOrWrong) and all(_right_or_wrong(table[:, i]) for table in tables):
            gains = table_a[:, i] - table_b[:, i]
            row = replace(row, only_a=int((gains > 0).sum()), only_b=int((gains < 0).sum()))
        found.append((row, halves.of_figure(i)))
    return found


def _of_versions(task: Task, asked: Joined, resamples: int, seed: int) -> list[Compared]:
    """What the versions of documents tell, where both runs asked for the same: figures that describe."""
    found: list[Compared] = []
    for way, a, b, clusters, halves in version_differences(task, asked, resamples, seed):
        figures_a, figures_b = a.figures(a.table.sum(axis=0)), b.figures(b.table.sum(axis=0))
        paired = of_halves(halves)
        for i, name in enumerate(a.names):
            row = Difference(
                task=task.name,
                metric=f"{way}:{name}",
                headline=False,
                n=len(a.documents),
                clusters=len(a.documents) if clusters is None else len(np.unique(clusters)),
                a=float(figures_a[i]),
                b=float(figures_b[i]),
                difference=float(paired.value[i]),
                low=float(paired.low[i]),
                high=float(paired.high[i]),
                p=float(paired.p[i]),
            )
            found.append((row, halves.of_figure(i)))
    return found


def _right_or_wrong(values: FloatArray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _corrected(rows: Sequence[Difference]) -> Iterator[Difference]:
    """The rows, those of headlines with the p that Holm's correction over the tasks makes of theirs."""
    corrected = iter(holm([row.p for row in rows if row.headline]))
    return (replace(row, p_holm=next(corrected)) if row.headline else row for row in rows)


def _sample(a: Row, b: Row, *, text: bool) -> dict[str, Any]:
    sample = {"id": a["id"], **({"draw": draw_of(a)} if "draw" in a or "draw" in b else {})}
    for run, row in (("a", a), ("b", b)):
        sample |= {f"outcome_{run}": row["outcome"], f"scores_{run}": row.get("scores", {})}
        if text:
            sample[f"prediction_{run}"] = row["prediction"]
    return sample | ({"target": a["target"]} if text else {})
