"""The leaderboard: one board a setting, with own and published rows, ranks, means and differences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mibe.errors import UsageError
from mibe.leaderboard.cells import CONSTANT, MEMORISED, PARTIAL, Cell, Column, Difference, Mean, Row
from mibe.leaderboard.consistency import consistent, own_name
from mibe.leaderboard.runs import Result, read_results
from mibe.leaderboard.standing import Place, in_order, means_of, places_of
from mibe.leaderboard.tiers import LEVEL, PairTests
from mibe.metrics.base import is_main
from mibe.published.figures import (
    HUMAN,
    HUMAN_FIGURES,
    MIBE,
    SETTINGS,
    Note,
    Published,
    all_figures,
    load_notes,
    load_published,
)
from mibe.results.answers import commonest, is_constant
from mibe.results.table import few_gold_note
from mibe.terminal.plain import printable

NAMED = 6
"""Models that a remark names; what it says of the others stands beside their figures too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One setting: columns, rows (by coverage, then mean), places by column and row key, and means by row key.

    `footnotes` are on the published figures, `remarks` on reading the whole, `run_notes` on runs that were left out.
    """

    setting: str
    version: str
    protocol: str | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    places: Mapping[tuple[Column, str], Place]
    means: Mapping[str, Mean]
    footnotes: tuple[Note, ...]
    remarks: tuple[str, ...]
    run_notes: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets in the order of the columns."""
        return tuple(dict.fromkeys(column.dataset for column in self.columns))

    def rank(self, column: Column, row: Row) -> int | None:
        """A row's rank in a column, where it has one."""
        place = self.places.get((column, row.key))
        return None if place is None else place.rank

    def tier(self, column: Column, row: Row) -> int | None:
        """An own row's tier in a column, where it has one."""
        place = self.places.get((column, row.key))
        return None if place is None else place.tier


def leaderboard(
    runs: Iterable[str | Path] = (),
    *,
    settings: Sequence[str] = (),
    published: str = "v2",
    metrics: Sequence[str] = ("paper",),
    references: Mapping[str, str] | None = None,
    protocol: str | None = None,
) -> list[Board]:
    """Boards of own runs beside the published figures, one for each setting.

    Parameters
    ----------
    runs:
        Run folders, folders that hold run folders at any depth, or glob patterns.
    settings:
        Of `SETTINGS`; by default those that the runs have, and without runs those that were published.
    published:
        The version of the paper, "v1", "v2" or "journal", or "none".
    metrics:
        Names of figures, or "paper" for those the paper prints and each other task's headline, or "all".
    references:
        Own model → published model that its differences are taken from; the key "" stands for all others. By default
        the model of the same name, else the best published figure of each column.
    protocol:
        Leave out runs under another protocol.

    Raises
    ------
    RunError, UsageError
        As `read_results`, and for unknown names.
    """
    results, run_notes = read_results(runs, protocol=protocol)
    figures = load_published(published)
    wanted = settings or _settings(results, figures)
    if unknown := [name for name in wanted if name not in SETTINGS]:
        raise UsageError(f"unknown setting {unknown[0]!r}; known: {', '.join(SETTINGS)}")
    _check_references(references or {}, results, figures)
    boards = [
        _board(
            setting,
            published,
            [result for result in results if result.setting == setting],
            [figure for figure in figures if figure.setting == setting],
            metrics,
            references or {},
            run_notes,
        )
        for setting in wanted
    ]
    if not any(board.columns for board in boards):
        raise UsageError(
            f"there is nothing to show of {', '.join(metrics)} in the setting {', '.join(wanted) or 'of no run'}; "
            "give other --metric, --setting or --published"
        )
    return boards


def paper_metrics(dataset: str, figures: Sequence[Published] = ()) -> tuple[str, ...]:
    """The metrics that `figures`, else the whole paper, print for a data set, in that order; none of other tasks."""
    if dataset.endswith(HUMAN):
        return HUMAN_FIGURES
    for there in (figures, all_figures()):
        if found := dict.fromkeys(figure.metric for figure in there if figure.dataset == dataset):
            return tuple(found)
    return ()


def same_model(own: str, published: str) -> bool:
    """Whether an own model's name is that of a published one, as far as spelling shows: "Llama-2-13b-chat-hf"."""
    return _spelling(own.rsplit("/", 1)[-1]) == _spelling(published)


def _spelling(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix("-hf"))


def _settings(results: Sequence[Result], figures: Sequence[Published]) -> list[str]:
    present = {entry.setting for entry in (results or figures)}
    return [setting for setting in SETTINGS if setting in present]


def _check_references(references: Mapping[str, str], results: Sequence[Result], figures: Sequence[Published]) -> None:
    own = {name for result in results for name in (result.name, *result.names)}
    published = {figure.model for figure in figures}
    for name, reference in references.items():
        if name and name not in own:
            raise UsageError(f"--reference: no run of a model {name!r}; there is {', '.join(sorted(own)) or 'none'}")
        if reference not in published:
            raise UsageError(f"--reference: no published model {reference!r}; there is {', '.join(sorted(published))}")


def _board(
    setting: str,
    version: str,
    results: Sequence[Result],
    figures: Sequence[Published],
    metrics: Sequence[str],
    references: Mapping[str, str],
    run_notes: Sequence[str],
) -> Board:
    columns = _columns(results, figures, metrics)
    of_model: dict[str, dict[Column, Published]] = {}
    at = {(column.dataset, column.metric): column for column in columns}
    for figure in figures:
        if (column := at.get((figure.dataset, figure.metric))) is not None:
            of_model.setdefault(figure.model, {})[column] = figure
    own = [
        _own_row([result for result in results if result.model == model], columns, of_model, references)
        for model in dict.fromkeys(result.model for result in results)
    ]
    rows = (*own, *(_published_row(model, cells) for model, cells in of_model.items()))
    tests = PairTests(own, columns)
    places, means = places_of(columns, rows, tests), means_of(columns, rows, tests)
    shown = [column.dataset for column in columns if any(column in row.cells for row in rows if not row.own)]
    protocol = results[0].protocol if results else None
    return Board(
        setting=setting,
        version=version,
        protocol=protocol,
        columns=columns,
        rows=in_order(rows, means),
        places=places,
        means=means,
        footnotes=load_notes(shown, setting=setting, version=version),
        remarks=tuple(_remarks(results, protocol, rows)),
        run_notes=(*run_notes, *tests.notes, *_silent(own)),
    )


def _columns(results: Sequence[Result], figures: Sequence[Published], metrics: Sequence[str]) -> tuple[Column, ...]:
    """Data sets of the benchmark in the paper's order, then other tasks; within each the paper's metrics first."""
    present = dict.fromkeys([*(figure.dataset for figure in figures), *(result.task for result in results)])
    others = [name for name in present if name not in MIBE]
    columns = []
    for dataset in [*(name for name in MIBE if name in present), *others]:
        of_task = [result for result in results if result.task == dataset]
        paper = paper_metrics(dataset, figures)
        headline = paper[0] if paper else str(of_task[0].part["headline"])
        known = {own_name(metric, dataset, result.protocol) for result in of_task for metric in paper}
        more = [name for r in of_task for name in r.part["figures"] if is_main(name) and name not in known]
        every = list(dict.fromkeys([headline, *paper, *more]))
        chosen = [name for name in every if _wanted(name, metrics, paper, headline)]
        columns += [Column(dataset, name, dataset in MIBE and name == headline) for name in chosen]
    return tuple(columns)


def _wanted(name: str, metrics: Sequence[str], paper: Sequence[str], headline: str) -> bool:
    return "all" in metrics or name in metrics or ("paper" in metrics and name in (paper or (headline,)))


def _own_row(
    results: Sequence[Result],
    columns: Sequence[Column],
    published: Mapping[str, Mapping[Column, Published]],
    references: Mapping[str, str],
) -> Row:
    by_task = {result.task: result for result in results}
    names = (results[0].name, *results[0].names)
    named = next((references[name] for name in names if name in references), None) or next(
        (model for model in published for name in names if same_model(name, model)), references.get("")
    )
    cells = {}
    for column in columns:
        result = by_task.get(column.dataset)
        if result is None:
            continue
        reference = _reference(column, named, published)
        cell = own_cell(result, _figure_name(column, result), reference, same=named is not None)
        if cell is not None:
            cells[column] = cell
    return Row(name=names[0], own=True, cells=cells, results=by_task)


def own_cell(result: Result, figure_name: str, reference: Published | None, *, same: bool) -> Cell | None:
    """A figure of an own result beside a published one (None: there is none); None where the result lacks the figure.

    Whether the two are consistent is asked only where the published model is the `same`.
    """
    figure = result.part["figures"].get(figure_name)
    if figure is None:
        return None
    return Cell(
        **{key: figure[key] for key in ("value", "low", "high", "stderr")},
        n=result.scored,
        of=result.documents,
        draws=result.draws,
        constant=is_constant(result.part),
        evidence=result.evidence,
        note="; ".join(filter(None, (_cell_note(result), few_gold_note(result.part, figure_name)))),
        source=printable(result.path.name),
        answer=consistent(result, reference) if reference and same else None,
        difference=None if reference is None else _difference(figure, reference),
    )


def _figure_name(column: Column, result: Result) -> str:
    if column.metric in paper_metrics(column.dataset):
        return own_name(column.metric, column.dataset, result.protocol)
    return column.metric


def _reference(
    column: Column, named: str | None, published: Mapping[str, Mapping[Column, Published]]
) -> Published | None:
    """The figure of the named model, or without a name the best of the column."""
    if named is not None:
        return published.get(named, {}).get(column)
    there = [cells[column] for cells in published.values() if column in cells]
    return max(there, key=lambda figure: figure.value, default=None)


def _difference(own: Mapping[str, float], reference: Published) -> Difference:
    value, low, high = (own[key] - reference.value for key in ("value", "low", "high"))
    return Difference(reference=reference.model, published=reference.value, value=value, low=low, high=high)


def _cell_note(result: Result) -> str:
    notes = []
    if result.partial:
        notes.append(f"{result.scored:,} of {result.documents:,} documents")
    if is_constant(result.part):
        notes.append(f"the same answer {commonest(result.part)} times")
    if result.draws > 1:
        notes.append(f"the mean of {result.draws} draws a document")
    if ((result.part["data"].get("manifest") or {}).get("variant")) == "excerpt":
        notes.append("an excerpt of the data set")
    return "; ".join(notes)


def _silent(own: Sequence[Row]) -> list[str]:
    """A note for each row whose record is older than the count of answers."""
    tasks = {
        row.name: [
            task
            for task, result in row.results.items()
            if is_constant(result.part) is None and not task.endswith(HUMAN)
        ]
        for row in own
    }
    return [
        f"{name}: the record does not say whether its answers are always the same in {', '.join(silent)}; "
        "mibe rescore RUN brings it in"
        for name, silent in tasks.items()
        if silent
    ]


def _published_row(model: str, figures: Mapping[Column, Published]) -> Row:
    return Row(
        name=model,
        own=False,
        cells={
            column: Cell(value=figure.value, note=figure.note, source=f"{figure.source}, table {figure.table}")
            for column, figure in figures.items()
        },
    )


def _remarks(results: Sequence[Result], protocol: str | None, rows: Sequence[Row]) -> list[str]:
    remarks = []
    own, published = [row for row in rows if row.own], [row for row in rows if not row.own]
    if own and published and protocol == "default":
        remarks.append(
            "The runs were asked and scored by the protocol default, the published rows by the released code: ranks "
            "and differences between the two give a bearing, no proof; runs of mibe eval --protocol paper do compare."
        )
    if len(own) > 1:
        remarks.append(
            "Own runs share a rank, and make a tier, where they are not shown to be worse than its best: in pairs on "
            f"the same documents, by cluster, corrected for the number of pairs, p > {LEVEL}."
        )
    if published:
        remarks.append(
            "Published figures have no interval: ranks among them are by the figure as printed and untested"
            + ("; beside an own run they count as different where they lie outside its interval." if own else ".")
        )
    if any(result.partial for result in results):
        remarks.append(f"Figures marked {PARTIAL}, and means with such a one, are of a part of the documents: no rank.")
    always: dict[str, list[str]] = {}
    for result in results:
        if is_constant(result.part):
            always.setdefault(result.name, []).append(f"{result.task} {commonest(result.part)}")
    if always:
        named = [f"{name} ({', '.join(tasks)})" for name, tasks in always.items()]
        more = [f"and {len(named) - NAMED} more"] if len(named) > NAMED else []
        where = "; ".join([*named[:NAMED], *more])
        remarks.append(f"Figures marked {CONSTANT} are of a model that gives always the same answer: {where}.")
    learned = [f"{result.name}, {result.task}: {result.evidence}" for result in results if result.evidence]
    if learned:
        more = [f"and {len(learned) - NAMED} more"] if len(learned) > NAMED else []
        remarks.append(
            f"Figures marked {MEMORISED} are of a test set that the model was found to have learned by heart "
            f"(mibe memorised): {'; '.join([*learned[:NAMED], *more])}."
        )
    if any(result.draws > 1 for result in results):
        remarks.append(
            "Rows marked avg@k are means over k draws of each document, with intervals by document; "
            "other own rows are of one draw."
        )
    return remarks
