"""A finished run in the hand: its record, its table, its samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe import protocols
from mibe.errors import RunError, UsageError
from mibe.metrics.values import takes_of
from mibe.own.recorded import task_of
from mibe.results import included, notebook, schema
from mibe.results.draws import every_figure
from mibe.results.folder import SAMPLES, not_whole, read_record
from mibe.results.log import Row, latest_rows
from mibe.results.picking import is_graded, is_right
from mibe.results.variants import outcomes_asked
from mibe.task import Outcome, Task
from mibe.terminal.plain import printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder and its record; a notebook shows its figures with their intervals.

    Examples
    --------
    >>> run = mibe.evaluate(model="demo", tasks=["pubmedqa"], limit=50)  # doctest: +SKIP
    >>> run.table()  # doctest: +SKIP
    """

    path: Path
    record: dict[str, Any]

    def __repr__(self) -> str:
        return notebook.line_of(self.path, self.record)

    def _repr_html_(self) -> str:
        return notebook.html_of(self.path, self.record)

    @property
    def failed(self) -> int:
        """Samples for which no response came back."""
        return sum(outcomes_asked(task)["error"] for task in self.record["tasks"].values())

    def scores(self, task: str) -> dict[str, float]:
        """Figure name → value of one task."""
        return {name: figure["value"] for name, figure in self.part(task)["figures"].items()}

    def table(self) -> pd.DataFrame:
        """Every figure of every task: task, metric, value, low, high, stderr, n and the outcome rates.

        The figures of a task's draws, where a document has several, come after its others.
        """
        import pandas as pd

        rows = [
            {"task": name, "metric": metric, **figure, **_rates(task)}
            for name, task in self.record["tasks"].items()
            for metric, figure in every_figure(task).items()
        ]
        return pd.DataFrame(rows)

    def samples_path(self, task: str) -> Path:
        """The sample log of a task."""
        return self.path / SAMPLES / f"{task}.jsonl"

    def rows(self, task: str) -> Iterator[Row]:
        """The rows of a task's log, the last one of each sample, in its order; each is one that the task can score.

        Raises `RunError` for one that is not, or cannot be read, and `UsageError` for a task that is not known here.
        """
        return sound_samples(protocols.recorded(self.record, task_of(self.record, task)), self.samples_path(task))

    def samples(self, task: str) -> pd.DataFrame:
        """One row a sample: id, output, outcome, prediction, target, scores, tokens, seconds, …

        Where a document has several draws, each is a row, with its number under "draw"; so is each of its versions,
        which "variant" tells of.
        """
        import pandas as pd

        self.part(task)
        return pd.DataFrame(list(latest_rows(self.samples_path(task))))

    def wrong(self, task: str) -> pd.DataFrame:
        """The samples of a task that are wrong, unreadable answers among them, with the columns of `samples`.

        Raises `UsageError` for a task whose answers have a grade, such as summaries: none of them is right or wrong.
        """
        import pandas as pd

        self.part(task)
        rows = list(latest_rows(self.samples_path(task)))
        if any(map(is_graded, rows)):
            raise graded(task)
        return pd.DataFrame(rows)[[is_right(row) == 0 for row in rows]].reset_index(drop=True)

    def part(self, task: str) -> dict[str, Any]:
        """What the record says of a task. Raises `UsageError` for one that the run does not have."""
        if task not in self.record["tasks"]:
            raise UsageError(f"{self.path} has no task {task!r}; it has {', '.join(self.record['tasks'])}")
        part: dict[str, Any] = self.record["tasks"][task]
        return part


def graded(task: str) -> UsageError:
    """The error for the wrong answers of a task that has none."""
    return UsageError(f"answers of {task} have a grade and are not right or wrong; look at the scores of its samples")


def _rates(task: dict[str, Any]) -> dict[str, float]:
    return {f"{name}_rate": figure["value"] for name, figure in task["rates"].items() if name != "parsed"}


def load_run(path: str | Path) -> Run:
    """The run in a folder, and the tasks of the files that it was made with (`mibe.results.included`).

    Raises `RunError` when there is none, or its record is not whole.
    """
    record = read_record(Path(path))
    try:
        schema.check_whole(record)
    except schema.Unfit as why:
        raise not_whole(Path(path), why) from None
    included.recall(record, Path(path))
    return Run(Path(path), record)


def load_runs(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """The runs in some folders, and a line for each folder that is left out: one bad folder does not hide the others.

    Raises `RunError` where no folder has a run.
    """
    runs: list[Run] = []
    left_out: list[RunError] = []
    for path in paths:
        try:
            runs.append(load_run(path))
        except RunError as error:
            left_out.append(error)
    if left_out and not runs:
        raise left_out[0]
    return runs, [f"left out: {printable(str(error))}" for error in left_out]


def whole_samples(task: Task, log: Path) -> Iterator[Row]:
    """The last row of each sample in a log. Raises `RunError` for one that something is missing from."""
    for row in latest_rows(log):
        try:
            schema.check_sample(row)
        except schema.Unfit as why:
            raise _unscorable(task, log, row, str(why)) from None
        yield row


def sound_samples(task: Task, log: Path) -> Iterator[Row]:
    """The same, and raises `RunError` for one that the task cannot score."""
    takes = [found for metric in task.metrics if (found := takes_of(metric)) is not None]
    for row in whole_samples(task, log):
        prediction, target = row["prediction"], row["target"]
        if prediction is not None and not all(each.prediction(prediction) for each in takes):
            raise _unscorable(task, log, row, "its prediction is no answer to the task")
        if row["outcome"] != Outcome.ERROR and not all(each.target(target) for each in takes):
            raise _unscorable(task, log, row, "its target is no answer to the task")
        if task.labels and isinstance(target, str) and target not in task.labels:
            raise _unscorable(task, log, row, "its target is none of the labels")
        yield row


def _unscorable(task: Task, log: Path, row: Row, why: str) -> RunError:
    return RunError(f"{log}: the sample {row['id']!r} is none of {task.name} ({why}); leave that folder out")
