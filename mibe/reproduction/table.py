"""What a table or figure of the paper is made of: its models, its suite, the figures it shows, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mibe.published.figures import HUMAN, VERSIONS, Published, all_figures
from mibe.suites import Suite, load_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model of a table, where its setting is not that of the others.

    `label` is what the paper calls it there, and `table` the table that prints its figures.
    """

    model: str
    suite: str
    label: str = ""
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """One table or figure of the paper.

    Attributes
    ----------
    name:
        Names the run folders, such as "table_5_v2".
    title:
        The paper's own.
    version:
        Of the paper, "v1" or "v2".
    suite:
        The setting: tasks with their numbers of worked examples.
    models:
        The paper's models (`mibe.reproduction.models.MODELS`) in its order, by name or as a `Row`.
    table:
        The number of the table whose figures are the published ones; None where the paper prints none (its figures).
    shows:
        Data set → metrics. By default those that the table prints.
    fine_tuned:
        Whether each model was fine-tuned on each data set, so that its public weights are not what was scored.
    changes:
        Pairs of a model and the one it came from, whose differences are shown too.
    stand_ins:
        Task → task that takes its place where its data is not here, to try the script out.
    down:
        What stands in the lines of the paper's table; the other stands in its columns.
    said:
        What the paper's text says of the figures it draws and does not print.
    notes:
        What to know when reading it.
    """

    name: str
    title: str
    version: str
    suite: str
    models: tuple[str | Row, ...]
    table: str | None = None
    shows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fine_tuned: bool = False
    changes: tuple[tuple[str, str], ...] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    down: Literal["figures", "models"] = "figures"
    said: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every model as a `Row`."""
        return tuple(
            Row(model=model, suite=self.suite, table=self.table) if isinstance(model, str) else model
            for model in self.models
        )

    @property
    def figures(self) -> dict[str, tuple[str, ...]]:
        """Data set → metrics, in the paper's order."""
        if self.shows:
            return dict(self.shows)
        found: dict[str, dict[str, None]] = {}
        for figure in printed(self.version, self.table):
            found.setdefault(figure.dataset, {})[figure.metric] = None
        return {dataset: tuple(metrics) for dataset, metrics in found.items()}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are run for it."""
        return tuple(dict.fromkeys(dataset.removesuffix(HUMAN) for dataset in self.figures))

    def published(self, row: Row) -> dict[tuple[str, str], Published]:
        """What the paper prints of a model: data set and metric → figure."""
        return {(f.dataset, f.metric): f for f in printed(self.version, row.table) if f.model == row.model}

    def is_fine_tuned(self, row: Row) -> bool:
        """Whether the model was scored after fine-tuning on each data set."""
        return self.fine_tuned or row.suite == "supervised"


def printed(version: str, table: str | None) -> list[Published]:
    """The figures of one table of a version of the paper, in its order; none of no table."""
    return [figure for figure in all_figures() if (figure.source, figure.table) == (VERSIONS[version], table)]


def suite_with(name: str, task: str) -> Suite | None:
    """The suite, where it has the task; None for a stand-in, which belongs to no setting of the paper."""
    suite = load_suite(name)
    return suite if task in suite.tasks else None
