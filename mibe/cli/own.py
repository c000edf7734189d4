"""Options for one's own data: which columns of a file are what (`docs/own-data.md`)."""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.cli.options import text_or_file
from mibe.errors import UsageError

if TYPE_CHECKING:
    from mibe.task import Task

# As `mibe.own.kinds` and `mibe.task` have them, which the command line does without; a test compares.
KINDS = ("label", "labels", "multiple-choice", "spans", "answer", "summary", "ranked")
ACCESS = ("credentialed", "open", "non-commercial")

LISTS = {"input": "columns", "target": "columns", "choices": "columns", "labels": None, "metrics": None}
"""Option that holds several names → the part of a task file that it belongs to."""
SINGLE = {"id": "columns", "cluster": "columns", "first_option": None, "kind": None, "access": None, "encoding": None}
"""The same of those that hold one."""


def add_own_arguments(p: argparse.ArgumentParser) -> None:
    """What a table does not say itself; each counts before the same field of a task file."""
    own = p.add_argument_group("your own data (docs/own-data.md)")
    own.add_argument("--input", metavar="COL,…", help="the columns that the model reads")
    own.add_argument("--target", metavar="COL", help="the column of the right answer (spans: or START,END,TYPE)")
    own.add_argument("--choices", metavar="COL,…", help="the columns of the options, or one that holds a list")
    own.add_argument("--labels", metavar="A,B", help="the labels (default: those in the target column)")
    own.add_argument("--kind", choices=KINDS, help="what an answer is (default: guessed from the columns, and said)")
    own.add_argument("--instruction", metavar="TEXT|@FILE", help="what the model is asked to do")
    own.add_argument("--access", choices=ACCESS, help="credentialed (default): the text stays on this machine")
    own.add_argument("--name", metavar="NAME", help="of the task (default: the file's)")
    own.add_argument("--metrics", metavar="A,B", help="figures, the headline first")
    own.add_argument("--train-data", metavar="FILE", help="a second file, which worked examples come from")
    own.add_argument("--id", metavar="COL", help="the column that names each row (default: id, or the row's number)")
    own.add_argument("--cluster", metavar="COL", help="the column of what rows share, such as the patient")
    own.add_argument("--first-option", type=int, choices=(0, 1), help="from where numbered targets count options")
    own.add_argument("--encoding", metavar="NAME", help="of the file (default UTF-8, or its byte order mark)")


def add_data_argument(p: argparse.ArgumentParser) -> None:
    """A file of one's own in the place of a task, for commands that take the name of one."""
    p.add_argument("--data", metavar="FILE", help="your own table, or a task file, in the place of TASK")
    add_own_arguments(p)


def task_of(a: argparse.Namespace, named: str | None) -> str:
    """The same for commands that need a task: its name, or a file. Raises `UsageError` for neither and for both."""
    if (named is None) == (a.data is None):
        raise UsageError("name a task, or give a file of your own with --data FILE")
    found = tasks_of(a, named)
    assert found is not None
    return found


def said_of(a: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of a file, as fields of `mibe.own.description.TaskFile`."""
    said: dict[str, Any] = {}
    values = {name: _names(getattr(a, name)) for name in LISTS} | {name: getattr(a, name) for name in SINGLE}
    for name, part in (LISTS | SINGLE).items():
        if values[name] is not None:
            (said if part is None else said.setdefault(part, {}))[name] = values[name]
    if a.name is not None:
        said["name"] = a.name
    if a.instruction is not None:
        said["prompt"] = {"instruction": text_or_file(a.instruction, "--instruction")}
    if a.train_data is not None:
        said["files"] = {"train": str(Path(a.train_data).expanduser().resolve())}
    return said


def tasks_of(a: argparse.Namespace, named: str | None) -> str | None:
    """The tasks that were `named`, or the one that the file of `--data` is, which this process knows from here on."""
    said = said_of(a)
    if a.data is None:
        if said:
            first = next(iter(said.get("columns", said)))
            raise UsageError(f"--{first.replace('_', '-')} is for a file of your own; give it with --data FILE")
        return named
    from mibe.registry import register_task

    file = Path(a.data).expanduser().absolute()
    state = file.stat() if file.exists() else None
    task = _opened(a.data, json.dumps(said, sort_keys=True), (file, state and (state.st_mtime_ns, state.st_size)))
    register_task(task)
    return task.name


@cache
def _opened(file: str, said: str, state: tuple[Path, tuple[int, int] | None]) -> Task:
    """The task of a file as it is now, which is read and told of once, however many models are asked."""
    from mibe.models import ranks
    from mibe.own.opening import open_file
    from mibe.terminal.news import say

    task, lines = open_file(file, **json.loads(said))
    for line in lines if ranks.current().is_first else ():
        say(line)
    return task


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
