"""Comparisons of runs and of raters as text: for the terminal, Markdown, CSV, and JSON with everything."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mibe.analysis.agreement import Agreement
from mibe.analysis.check import Checked, Misread
from mibe.analysis.compare import Comparison, Difference
from mibe.analysis.verify import NOT_LOOKED_AT, Check, Verification
from mibe.terminal.plain import as_text, cell, printable

FORMATS = ("text", "json", "csv", "markdown")
STYLES = {"text": "simple", "markdown": "github"}
HEADER = ("task", "metric", "A", "B", "A − B", "95 % interval", "n", "A : B alone", "p", "p (Holm)")
CELL = 60
"""Characters of a prediction in a table; JSON and CSV have all of it."""


def render(comparison: Comparison, form: str) -> str:
    """The comparison in one of `FORMATS`."""
    records = [asdict(row) for row in comparison.rows]
    if form == "json":
        runs = {"a": str(comparison.a.path), "b": str(comparison.b.path)}
        return json.dumps(runs | {"rows": records, "notes": comparison.notes}, ensure_ascii=False, indent=1)
    if form == "csv":
        return write_csv(records)
    from tabulate import tabulate

    rows = [_cells(row) for row in comparison.rows]
    align = ("left", "left", *["right"] * 8)
    table = tabulate(rows, headers=HEADER, tablefmt=STYLES[form], disable_numparse=True, colalign=align)
    heads = [f"{letter}: {printable(str(run.path))}" for letter, run in (("A", comparison.a), ("B", comparison.b))]
    return "\n".join([*heads, "", table, *(["", *comparison.notes] if comparison.notes else [])])


def render_samples(samples: Sequence[Mapping[str, Any]], form: str) -> str:
    """Samples on which two runs differ, as `Comparison.differing` gives them, in one of `FORMATS`."""
    if form == "json":
        return json.dumps(samples, ensure_ascii=False, indent=1)
    if form == "csv":
        return write_csv([{key: as_text(value) for key, value in sample.items()} for sample in samples])
    if not samples:
        return "no sample differs"
    from tabulate import tabulate

    rows = [{key: _short(value) for key, value in sample.items()} for sample in samples]
    return tabulate(rows, headers="keys", tablefmt=STYLES[form], disable_numparse=True)


def render_agreement(found: Agreement, form: str) -> str:
    """The agreement of two raters in one of `FORMATS`."""
    if form == "json":
        return json.dumps(asdict(found), indent=1)
    measures = {"agreement": found.agreement, "kappa": found.kappa}
    if form == "csv":
        return write_csv([{"measure": name, **asdict(measure), "n": found.n} for name, measure in measures.items()])
    from tabulate import tabulate

    names = {"agreement": "raw agreement", "kappa": "Cohen's kappa"}
    rows = [
        [names[name], _decimal(m.value), f"{_decimal(m.low)} – {_decimal(m.high)}", found.n]
        for name, m in measures.items()
    ]
    header = ("measure", "value", "95 % interval", "n")
    table = tabulate(rows, headers=header, tablefmt=STYLES[form], disable_numparse=True)
    counts = (
        f"{found.n} ratings of {found.cases} cases: both match {found.both}, A alone {found.only_a}, "
        f"B alone {found.only_b}, neither {found.neither}"
    )
    notes = [f"{found.unread} unread verdicts count as no match"] if found.unread else []
    notes += [f"{found.left_out} ratings that only one file has are left out"] if found.left_out else []
    if found.wrong_reference:
        notes.append(f"{_cases(found.wrong_reference)} left out: a rater calls the reference wrong")
    return "\n".join([table, "", counts, *notes])


def _cases(count: int) -> str:
    return f"{count} case is" if count == 1 else f"{count} cases are"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cells(row: Difference) -> list[str]:
    return [
        row.task if row.headline else "",
        row.metric,
        f"{row.a:.3f}",
        f"{row.b:.3f}",
        f"{row.difference:+.3f}",
        f"{row.low:+.3f} – {row.high:+.3f}",
        str(row.n) if row.clusters == row.n else f"{row.n} in {row.clusters}",
        "" if row.only_a is None else f"{row.only_a} : {row.only_b}",
        f"{row.p:.3g}",
        "" if row.p_holm is None else f"{row.p_holm:.3g}",
    ]


def _short(value: Any) -> str:
    return textwrap.shorten(printable(as_text(value)), CELL, placeholder=" …")


class _Lines(io.StringIO):
    """Rows with the ends of lines that the rest of our output has.

    To the writer they end in both characters, since it puts only such cells in quotes that hold one of these.
    """

    def write(self, row: str, /) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def write_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as CSV with a header, without the last line's end; "" for no rows.

    No text in it is a formula to a spreadsheet.
    """
    out = _Lines()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def render_verification(found: Verification, form: str) -> str:
    """The figures of a run beside those of other packages, as text or JSON."""
    if form == "json":
        return json.dumps(_verification(found), ensure_ascii=False, indent=1)
    from tabulate import tabulate

    rows = [
        (
            check.task,
            printable(check.figure),
            f"{check.ours:.12g}",
            f"{check.theirs:.12g}",
            f"{check.difference or 0:.1e}",
        )
        for check in found.verified
    ]
    header = ("task", "figure", "ours", "theirs", "difference")
    align = ("left", "left", "right", "right", "right")
    table = tabulate(rows, headers=header, disable_numparse=True, colalign=align if rows else None)
    reasons = [f"not verified: {_names(checks)}; {reason}" for reason, checks in found.not_verified.items()]
    wrong = [
        f"does not hold: {check.task} {printable(check.figure)} is {check.ours!r} in the record, "
        f"{check.theirs!r} by the package"
        for check in found.failed
    ]
    beyond = f"not looked at: {NOT_LOOKED_AT}"
    end = f"{len(found.verified)} figures verified, the largest difference is {found.largest:.1e}"
    return "\n".join([table, "", *reasons, beyond, *wrong, end])


def render_verifications(found: Sequence[Verification], form: str) -> str:
    """The same of several runs: blocks under the names of their folders, or a list."""
    if form == "json":
        return json.dumps([_verification(each) for each in found], ensure_ascii=False, indent=1)
    return "\n\n".join(f"{printable(each.path.name)}\n\n{render_verification(each, form)}" for each in found)


def _verification(found: Verification) -> dict[str, Any]:
    checks = [asdict(check) | {"difference": check.difference, "holds": check.holds} for check in found.checks]
    sums = {"run": str(found.path), "largest_difference": found.largest, "holds": not found.failed}
    return sums | {"checks": checks}


def _names(checks: Sequence[Check]) -> str:
    """Task and figures: "sumpubmed a, b; mmlu c"."""
    by_task: dict[str, list[str]] = {}
    for check in checks:
        by_task.setdefault(check.task, []).append(printable(check.figure))
    return "; ".join(f"{task} {', '.join(figures)}" for task, figures in by_task.items())


def render_checks(found: Sequence[Checked], form: str) -> str:
    """What a task makes of its own gold answers, as text or JSON."""
    if form == "json":
        return json.dumps(
            [asdict(checked) | {"holds": checked.holds} for checked in found], ensure_ascii=False, indent=1
        )
    return "\n".join(line for checked in found for line in _check_lines(checked))


def _check_lines(checked: Checked) -> list[str]:
    what = f"{checked.task} {checked.split}: {checked.count:,} gold answers, {checked.headline} {checked.value:.6g}"
    if checked.holds:
        return [f"{what}: each is read as itself"]
    if not checked.misread:
        return [f"{what}: each is read as itself, and yet a perfect model would not score 1; has each label an answer?"]
    return [f"{what}: {len(checked.misread):,} are not read as themselves", *map(_misread_line, checked.misread)]


def _misread_line(bad: Misread) -> str:
    shown = "" if bad.answer is None else f" {_short(bad.answer)!r}"
    what = bad.outcome if bad.read is None else _short(bad.read)
    return f"  {bad.id}:{shown} is read as {what}"
