"""A table of the paper with own figures in it: what is printed, what was measured, and what changed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mibe.analysis.compare import Difference, compare
from mibe.errors import UsageError
from mibe.leaderboard.board import own_cell
from mibe.leaderboard.cells import Cell
from mibe.leaderboard.consistency import own_name
from mibe.leaderboard.runs import Result
from mibe.published.figures import HUMAN, Published, load_notes
from mibe.reproduction.models import Entry
from mibe.reproduction.running import PROTOCOL
from mibe.reproduction.table import Reproduction, Row

Figure = tuple[str, str]
"""Data set and metric."""

Own = Mapping[str, Mapping[str, Result]]
"""Name of a model → data set → result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One model: what the paper prints of it, and what was measured."""

    name: str
    label: str
    published: Mapping[Figure, Published]
    own: Mapping[Figure, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A model's figure minus that of the model it came from: as the paper prints it, and on the same samples of ours.

    `own` is None where not both were run; `published` where not both are printed.
    """

    model: str
    origin: str
    figure: Figure
    published: float | None
    own: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A table, whole. `figures` are those of the paper, with any stand-in's beside them."""

    table: Reproduction
    figures: tuple[Figure, ...]
    columns: tuple[Column, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def has_own(self) -> bool:
        """Whether anything was measured."""
        return any(column.own for column in self.columns)


def fill(
    table: Reproduction,
    entries: Sequence[Entry],
    own: Own,
    *,
    backbones: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Filled:
    """The table with the results of some models in it.

    The paper's models stand in their order, with or without results, and other models behind them. `backbones` are
    pairs of models whose differences are shown beside those that the table has.

    Raises `UsageError` for a backbone that is no model of the table or of those run.
    """
    figures = _figures(table, own)
    columns = [_column(row.model, row.label or row.model, table, row, figures, own) for row in table.rows]
    columns += [_column(name, name, table, None, figures, own) for name in names_of(table, entries)[len(columns) :]]
    check_backbones(table, entries, backbones)
    found, why_not = _changes(columns, [*table.changes, *backbones], figures, own)
    return Filled(
        table=table,
        figures=tuple(figures),
        columns=tuple(columns),
        changes=tuple(found),
        notes=tuple(dict.fromkeys((*notes, *why_not, *_notes(table)))),
    )


def names_of(table: Reproduction, entries: Sequence[Entry]) -> list[str]:
    """The models in the table: the paper's in its order, then others."""
    return list(dict.fromkeys([*(row.model for row in table.rows), *(entry.name for entry in entries)]))


def check_backbones(table: Reproduction, entries: Sequence[Entry], backbones: Sequence[tuple[str, str]]) -> None:
    """Raise `UsageError` for a name that is no model in the table."""
    known = names_of(table, entries)
    if unknown := [name for pair in backbones for name in pair if name not in known]:
        raise UsageError(f"--backbone: there is no model {unknown[0]} here; there is {', '.join(known)}")


def _figures(table: Reproduction, own: Own) -> list[Figure]:
    figures = []
    for dataset, metrics in table.figures.items():
        task = dataset.removesuffix(HUMAN)
        stand_in = dataset.replace(task, table.stand_ins.get(task, task))
        has_run = [name for name in (dataset, stand_in) if any(name in results for results in own.values())]
        figures += [(name, metric) for name in dict.fromkeys((dataset, *has_run)) for metric in metrics]
    return figures


def _column(name: str, label: str, table: Reproduction, row: Row | None, figures: Sequence[Figure], own: Own) -> Column:
    published = {} if row is None else table.published(row)
    results = own.get(name, {})
    cells = {}
    for figure in figures:
        dataset, metric = figure
        if dataset in results:
            cell = own_cell(results[dataset], own_name(metric, dataset, PROTOCOL), published.get(figure), same=True)
            if cell is not None:
                cells[figure] = cell
    return Column(name=name, label=label, published=published, own=cells)


def _changes(
    columns: Sequence[Column], pairs: Sequence[tuple[str, str]], figures: Sequence[Figure], own: Own
) -> tuple[list[Change], list[str]]:
    by_name = {column.name: column for column in columns}
    found, notes = [], []
    for model, origin in pairs:
        after, before = by_name[model], by_name[origin]
        measured: dict[Figure, Difference] = {}
        for dataset in dict.fromkeys(dataset for dataset, _ in figures):
            both = own.get(model, {}).get(dataset), own.get(origin, {}).get(dataset)
            if both[0] is None or both[1] is None or dataset.endswith(HUMAN):
                continue
            try:
                measured |= _measured(both[0], both[1], [metric for name, metric in figures if name == dataset])
            except UsageError as error:
                notes.append(f"{model} − {origin}, {dataset}: {error}")
        for figure in figures:
            printed_both = after.published.get(figure), before.published.get(figure)
            change = None if None in printed_both else printed_both[0].value - printed_both[1].value  # type: ignore[union-attr]
            if change is not None or figure in measured:
                found.append(
                    Change(model=model, origin=origin, figure=figure, published=change, own=measured.get(figure))
                )
    return found, notes


def _measured(after: Result, before: Result, metrics: Sequence[str]) -> Iterator[tuple[Figure, Difference]]:
    """The differences on the samples that both results have, with paired intervals."""
    by_metric = {row.metric: row for row in compare(after.path, before.path).rows if row.task == after.task}
    for metric in metrics:
        # A comparison has the mean itself where the table has the median over its resamples.
        name = own_name(metric, after.task, PROTOCOL).removesuffix("_median")
        if name in by_metric:
            yield (after.task, metric), by_metric[name]


def _notes(table: Reproduction) -> list[str]:
    """What is odd about the published figures, and what the paper says in words."""
    settings = {figure.setting for row in table.rows for figure in table.published(row).values()}
    odd = [
        note for setting in sorted(settings) for note in load_notes(table.tasks, setting=setting, version=table.version)
    ]
    cited: dict[str, list[str]] = {}
    for row in table.rows:
        for (dataset, metric), figure in table.published(row).items():
            if figure.note:
                cited.setdefault(f"{row.model}, {{}}: {figure.note}", []).append(f"{dataset} {metric}")
    return [
        *table.notes,
        *(line.format(", ".join(where)) for line, where in cited.items()),
        *(f"{note.dataset}: {note.note}" for note in odd),
        *(f"the paper says: {text}" for text in table.said),
    ]
