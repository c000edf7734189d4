"""A finished run in the hand: its record, its table, its samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.errors import UsageError
from mibe.results.draws import every_figure
from mibe.results.folder import SAMPLES, read_record
from mibe.results.log import latest_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run folder and its record.

    Examples
    --------
    >>> run = mibe.evaluate(model="demo", tasks=["pubmedqa"], limit=50)  # doctest: +SKIP
    >>> run.table()  # doctest: +SKIP
    """

    path: Path
    record: dict[str, Any]

    @property
    def failed(self) -> int:
        """Samples for which no response came back."""
        return sum(task["outcomes"]["error"] for task in self.record["tasks"].values())

    def scores(self, task: str) -> dict[str, float]:
        """Figure name → value of one task."""
        return {name: figure["value"] for name, figure in self._task(task)["figures"].items()}

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

    def samples(self, task: str) -> pd.DataFrame:
        """One row a sample: id, output, outcome, prediction, target, scores, tokens, seconds, …

        Where a document has several draws, each is a row, with its number under "draw".
        """
        import pandas as pd

        self._task(task)
        return pd.DataFrame(list(latest_rows(self.samples_path(task))))

    def _task(self, task: str) -> dict[str, Any]:
        if task not in self.record["tasks"]:
            raise UsageError(f"{self.path} has no task {task!r}; it has {', '.join(self.record['tasks'])}")
        part: dict[str, Any] = self.record["tasks"][task]
        return part


def _rates(task: dict[str, Any]) -> dict[str, float]:
    return {f"{name}_rate": figure["value"] for name, figure in task["rates"].items() if name != "parsed"}


def load_run(path: str | Path) -> Run:
    """The run in a folder. Raises `RunError` when there is none."""
    return Run(Path(path), read_record(Path(path)))
