"""A task as an environment of another trainer (`docs/rewards.md`): a file that its users load as it stands.

No file holds text of a data set but the table: prompts and gold answers are read where the prepared data is, when the
environment is loaded.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from string import Template

from mibe.data.disk import disk_error, write_atomically
from mibe.data.documents import check_split
from mibe.data_use import is_credentialed
from mibe.errors import DataUseError, UsageError
from mibe.interchange.environment_files import HEAD, OPENRLHF, TRL, VERIFIERS
from mibe.prompting.training import also_in_test, training_samples
from mibe.registry import load_task
from mibe.rewards.measures import measure_of
from mibe.task import Task
from mibe.terminal.plain import cell

FILES = {"verifiers": VERIFIERS, "trl": TRL, "openrlhf": OPENRLHF}
"""Project → its template; `string.Template` fills it."""

ENVIRONMENTS = (*FILES, "csv")

TEST = "test"
"""The split that nothing is trained on."""


def environment(
    task: str | Task,
    to: str,
    *,
    split: str = "train",
    output: Path | None = None,
    included: Sequence[str | Path] = (),
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
) -> str | None:
    """A task as one of `ENVIRONMENTS`, written to `output`, else returned as text.

    The files for trainers are Python; the table has id, prompt and gold answer of each document. Documents of a split
    that also stand in a test set are left out of all of them. `included` are the files that define the task. A program
    that is not ours gets the text, so that credentialed tasks want `allow_egress` and `agreement`, as in `evaluate`.

    Raises
    ------
    DataError, RunError
        When the data is not prepared, or `output` cannot be written.
    DataUseError
        For a credentialed task that nothing says may be handed on.
    UsageError
        For an unknown form or task, a split that is not there, or a task of which no reward can be made.
    """
    if to not in ENVIRONMENTS:
        raise UsageError(f"unknown environment {to!r}; known: {', '.join(ENVIRONMENTS)}")
    known = load_task(task) if isinstance(task, str) else task
    measure_of(known)
    right = _right(known, to, allow_egress, agreement)
    check_split(known, split)
    if output is not None and output.exists():
        raise UsageError(f"{output} is there already, and may have been changed by hand; give another --output")
    text = _table(known, split) if to == "csv" else _file(known, to, split, output, included, right)
    if output is None:
        return text
    try:
        write_atomically(output, text, mode=0o600 if right else None)
    except OSError as error:
        raise disk_error(error, output, "another --output") from error
    return None


def _right(task: Task, to: str, allowed: Collection[str], agreement: str | None) -> str:
    """By what right credentialed text is handed on; empty for other tasks. Raises `DataUseError` without one."""
    if not is_credentialed(task):
        return ""
    terms, stated = task.access.agreement or "data use agreement of its owners", (agreement or "").strip()
    if task.name not in allowed or not stated:
        raise DataUseError(
            f"{task.name} came under the {terms}, and {to} is another program, which may send its text or log it: "
            "nothing was written. Where an agreement permits it, name both: "
            f'--allow-egress {task.name} --agreement "…"'
        )
    return " ".join(f"{terms}; handed on by: {stated}".split())


def _file(task: Task, to: str, split: str, output: Path | None, included: Iterable[str | Path], right: str) -> str:
    """The Python file of a trainer."""
    title = " ".join(task.title.replace("\\", "").replace('"', "'").split())
    named = {"task": task.name, "split": split, "title": title, "module": _module(task, to, output)}
    head = Template(HEAD).substitute(
        named,
        terms=f"# Terms of the data: {right}\n" if right else "",
        include="".join(f"mibe.include({str(Path(path).resolve())!r})\n" for path in included),
        left_out="set()" if split == TEST else "mibe.also_in_test(REWARD.task, SPLIT)",
    )
    return Template(FILES[to]).substitute(named, head=head, mode="0o600" if right else "0o666")


def _module(task: Task, to: str, output: Path | None) -> str:
    """The name under which the file is imported. Raises `UsageError` for a file that cannot be."""
    usual = re.sub(r"\W", "_", f"mibe_{task.name}_{to}").lower()
    if output is None:
        return usual
    if output.suffix != ".py" or not output.stem.isidentifier():
        raise UsageError(f"{output} cannot be imported by its name; give one such as --output {usual}.py")
    return output.stem


def _table(task: Task, split: str) -> str:
    left_out = {} if split == TEST else also_in_test(task, split)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    system = [task.prompt.system] if task.prompt.system else []
    table.writerow(["id", *(["system"] if system else []), "prompt", "answer"])
    for sample in training_samples(task, split):
        if sample.id not in left_out:
            table.writerow(map(cell, (sample.id, *system, sample.messages[-1]["content"], sample.answer)))
    return text.getvalue()
