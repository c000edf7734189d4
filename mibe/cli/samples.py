"""The command `mibe samples`: samples of a run in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mibe.cli.options import Commands
from mibe.errors import DataUseError, UsageError

if TYPE_CHECKING:
    from mibe.report.prompts import Documents
    from mibe.results.log import Row
    from mibe.results.picking import Pick
    from mibe.results.run import Run

LONGEST = 4000
"""Characters of a text that are printed; JSON has all of it."""

OUTCOMES = ("parsed", "unparsed", "truncated", "refused", "error")
FIELDS = ("id", "draw", "variant", "outcome", "prediction", "target", "scores", "output", "error")
WITHOUT_TEXT = ("id", "draw", "variant", "outcome", "scores")
"""Fields of a sample that JSON has, and those that are left of a credentialed one."""


def add_commands(commands: Commands) -> None:
    """Add it to the command line."""
    p = commands.add_parser("samples", help="show samples of a run: the wrong ones, unreadable ones, those with a text")
    p.set_defaults(command=_samples)
    p.add_argument("run", metavar="RUN", help="a run folder")
    p.add_argument("--task", metavar="NAME", help="of this task (default: of every one)")
    p.add_argument("--wrong", action="store_true", help="those that are wrong, unreadable answers among them")
    p.add_argument("--outcome", choices=OUTCOMES, help="those with this outcome")
    p.add_argument("--search", metavar="TEXT", help="those with this text in output, answer, target, error or id")
    p.add_argument("--prompts", action="store_true", help="show the prompt of each, too")
    p.add_argument("--limit", type=int, default=20, metavar="N", help="show the first N of a task (default 20)")
    p.add_argument("--format", choices=("text", "json"), default="text", help="json: one line a sample")


def _samples(a: argparse.Namespace) -> int:
    """Print them; what there is beside them is news."""
    from mibe.report.prompts import documents_of
    from mibe.report.samples import in_order
    from mibe.results.picking import Pick, is_graded
    from mibe.results.run import graded, load_run

    if a.limit < 1:
        raise UsageError(f"--limit {a.limit} is out of range; at least 1")
    run, pick = load_run(a.run), Pick(wrong=a.wrong, outcome=a.outcome, search=a.search)
    for name in [a.task] if a.task else run.record["tasks"]:
        private = _is_private(run, name, pick)
        rows = list(run.rows(name))
        if a.task and pick.wrong and any(map(is_graded, rows)):
            raise graded(name)
        found = in_order([row for row in rows if pick(row)])
        shown = [_without_text(row) if private else row for row in found[: a.limit]]
        documents = documents_of(name, run.record, rows) if a.prompts and not private else None
        for row in shown:
            print("\n".join(_lines(name, row, documents)) if a.format == "text" else _json(name, row, documents))
        more = f"; the first {a.limit} are shown (--limit)" if len(found) > len(shown) else ""
        print(f"{name}: {len(found):,} of {len(rows):,} samples{more}", file=sys.stderr)
    return 0


def _is_private(run: Run, name: str, pick: Pick) -> bool:
    """Whether a task of the run is credentialed. Raises `DataUseError` where its text was to be looked through."""
    from mibe.data_use import is_credentialed
    from mibe.own.recorded import task_of

    run.part(name)
    private = is_credentialed(task_of(run.record, name))
    if private and pick.search is not None:
        raise DataUseError(
            f"{name} is credentialed: its text is not shown here, nor looked through; it is in {run.samples_path(name)}"
        )
    return private


def _without_text(row: Row) -> Row:
    return {key: row[key] for key in WITHOUT_TEXT if key in row}


def _lines(task: str, row: Row, documents: Documents | None) -> Iterator[str]:
    """A sample as text for a terminal: nothing in it is obeyed there."""
    from mibe.report.samples import name_of
    from mibe.results.picking import is_right
    from mibe.terminal.plain import printable

    verdict = {1: "right", 0: "wrong", None: ""}[is_right(row)]
    scores = ", ".join(f"{name} {value:g}" for name, value in (row.get("scores") or {}).items())
    yield "  ".join(filter(None, [printable(task), name_of(row), row["outcome"], verdict, scores]))
    if "output" not in row:
        yield "  its text is credentialed and not shown here"
    else:
        if documents is not None:
            prompt, problem = documents.prompt(row)
            yield from _block("prompt", prompt or problem)
        yield from _block("output", row["error"] or row["output"] or "")
        yield f"  read:   {_short(row['prediction'])}"
        yield f"  target: {_short(row['target'])}"
    yield ""


def _block(title: str, text: str) -> Iterator[str]:
    from mibe.terminal.plain import printable_lines

    yield f"  {title}:"
    yield from (f"  │ {line}" for line in printable_lines(text[:LONGEST]))
    if len(text) > LONGEST:
        yield f"  … {len(text) - LONGEST:,} characters more (whole: --format json)"


def _short(value: Any) -> str:
    from mibe.terminal.plain import printable

    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _json(task: str, row: Row, documents: Documents | None) -> str:
    data = {"task": task, **{key: row[key] for key in FIELDS if key in row}}
    if documents is not None:
        data["prompt"], _ = documents.prompt(row)
    return json.dumps(data, ensure_ascii=False)
