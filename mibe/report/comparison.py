"""Two runs side by side as a static page: their figures, and the samples on which they differ, both outputs at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mibe import protocols
from mibe.analysis.compare import Difference, compare, same_samples
from mibe.data.disk import disk_error
from mibe.data_use import is_credentialed
from mibe.errors import RunError
from mibe.own.recorded import task_of
from mibe.pages import write_page
from mibe.report import samples
from mibe.report.prompts import Documents, documents_of
from mibe.report.versions import SIDE_BY_SIDE
from mibe.results.log import Row
from mibe.results.picking import is_right
from mibe.results.run import Run, load_run
from mibe.results.variants import is_itself, is_of_versions
from mibe.task import Task
from mibe.terminal.plain import printable
from mibe.terminal.progress import Progress, Silent
from mibe.terminal.version import VERSION

Data = dict[str, Any]
Pair = tuple[Row, Row]

Differing = tuple[Pair, int]
"""A pair, and the place in `KINDS` of how it differs."""

KINDS = ("A right, B wrong", "A wrong, B right", "another answer", "another score")
"""Ways in which two samples differ, the first that holds."""


def write_comparison(
    a: str | Path | Run, b: str | Path | Run, folder: Path | None = None, progress: Progress | None = None
) -> Path:
    """Write the page of two runs into `folder`, by default `report-beside-<B>` in run A's; returns the page's path.

    Samples are those that both runs have scored and that differ. Text of credentialed tasks is never in it. Raises as
    `compare`, and `RunError` when the folder cannot be written.
    """
    run_a, run_b = (run if isinstance(run, Run) else load_run(run) for run in (a, b))
    runs = run_a, run_b
    found = compare(*runs)
    folder = runs[0].path / f"report-beside-{runs[1].path.resolve().name}" if folder is None else folder
    names = _names(runs)
    news = Silent() if progress is None else progress
    views = []
    try:
        samples.clear(folder / "data")
        for number, name in enumerate(dict.fromkeys(row.task for row in found.rows)):
            pairs = _in_order(list(same_samples(*runs, name)))
            task = protocols.recorded(runs[0].record, task_of(runs[0].record, name))
            differing = [(pair, kind) for pair in pairs if (kind := kind_of(task, pair)) is not None]
            private = is_credentialed(task)
            place = folder / "data" / str(number)
            if private:
                _write_private(place, task, differing)
            else:
                sides = [[pair[side] for pair in pairs] for side in (0, 1)]
                documents = [documents_of(name, run.record, rows) for run, rows in zip(runs, sides, strict=True)]
                news.start(name, len(differing), 0)
                _write(place, task, differing, documents, news)
                news.stop()
            # What the table counts are documents; their versions stand among the samples.
            kinds = [kind for pair, kind in differing if is_itself(pair[0])]
            figures = [row for row in found.rows if row.task == name]
            of = sum(is_itself(a) for a, _ in pairs)
            views.append(_view(task, figures, of, kinds, private=private))
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder} is not a folder; give another one") from None
    except OSError as error:
        raise disk_error(error, folder, "another folder") from error
    context = {
        "title": f"{names[0]} beside {names[1]}",
        "subtitle": "Two runs on the same samples. A is the first, B the second.",
        "version": VERSION,
        "names": names,
        "folders": [printable(run.path.resolve().name) for run in runs],
        "remarks": list(found.notes),
        "tasks": views,
        "kinds": KINDS,
        "outcomes": samples.OUTCOMES,
        "data": {
            "tasks": [{key: view[key] for key in ("name", "private")} for view in views],
            "outcomes": samples.OUTCOMES,
            "runs": names,
            "kinds": KINDS,
        },
    }
    assets = ("report.css", "text.js", "samples.js", "comparison.js", *SIDE_BY_SIDE)
    return write_page(folder, "comparison.html", context, assets=assets)


def kind_of(task: Task, pair: Pair) -> int | None:
    """The place in `KINDS` of how two samples of a document differ, None where they do not."""
    a, b = pair
    verdicts = is_right(a), is_right(b)
    if None not in verdicts and verdicts[0] != verdicts[1]:
        return 0 if verdicts[0] else 1
    if (a["prediction"], a["outcome"]) != (b["prediction"], b["outcome"]):
        return 2
    return 3 if samples.score_of(task, a) != samples.score_of(task, b) else None


def _names(runs: Sequence[Run]) -> list[str]:
    """What the runs are called: their models, and where these have one name their folders too."""
    names = [str(run.record["model"]["name"]) for run in runs]
    if names[0] != names[1]:
        return names
    return [f"{name} ({printable(run.path.resolve().name)})" for name, run in zip(names, runs, strict=True)]


def _in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in the order that their first samples have in a report."""
    of_first = {id(pair[0]): pair for pair in pairs}
    return [of_first[id(row)] for row in samples.in_order([pair[0] for pair in pairs])]


def _view(task: Task, figures: Sequence[Difference], of: int, kinds: Sequence[int], *, private: bool) -> Data:
    """What the template shows of a task."""
    headline = next((row for row in figures if row.headline), figures[0])
    return {
        "name": task.name,
        "title": task.title,
        "private": private,
        "headline": headline,
        "of_versions": [row for row in figures if is_of_versions(row.metric)],
        "of": of,
        "counts": [kinds.count(kind) for kind in range(len(KINDS))],
    }


def _write(
    place: Path, task: Task, differing: Sequence[Differing], documents: Sequence[Documents], progress: Progress
) -> None:
    outputs = (
        [samples.pieces(row, of) for row, of in zip(pair, documents, strict=True)]
        for pair, _ in samples.counted(differing, progress)
    )
    samples.write_files(place, _columns(task, differing, private=False), outputs, _details(differing, documents))


def _write_private(place: Path, task: Task, differing: Sequence[Differing]) -> None:
    """Of a credentialed task: ids, outcomes and scores."""
    shown = ({**samples.scores_alone(a), "other": samples.scores_alone(b)} for (a, b), _ in differing)
    samples.write_files(place, _columns(task, differing, private=True), None, shown)


def _columns(task: Task, differing: Sequence[Differing], *, private: bool) -> Data:
    """Run A's columns as in a report, and run B's under "other"."""
    sides = [[pair[side] for pair, _ in differing] for side in (0, 1)]
    first, other = (samples.index(task, rows, private=private) for rows in sides)
    return first | {
        "between": [kind for _, kind in differing],
        "other": {key: other[key] for key in ("outcomes", "right", "score", "read")},
    }


def _details(differing: Sequence[Differing], documents: Sequence[Documents]) -> Iterator[Data]:
    for pair, _ in differing:
        a, b = (samples.details(row, of) for row, of in zip(pair, documents, strict=True))
        if a["prompt"] is not None and b["prompt"] == a["prompt"]:
            # It is shown once.
            b |= {"prompt": None, "problem": ""}
        yield {**a, "other": b}
