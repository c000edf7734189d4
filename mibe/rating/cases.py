"""What there is to rate: the ranked diagnoses that runs gave for each case, mixed in an order that says nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mibe.data import store
from mibe.data.documents import check_split, examples
from mibe.data_use import is_credentialed
from mibe.errors import DataError, DataUseError, UsageError
from mibe.judge.verdicts import is_judged
from mibe.metrics.diagnosis_names import accepted_names
from mibe.own.recorded import task_of
from mibe.results.draws import first_draws
from mibe.results.finding import find_runs, is_run
from mibe.results.run import Run, load_run, load_runs
from mibe.task import Outcome, Task
from mibe.terminal.plain import printable

RATINGS = "ratings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The diagnoses that a run lists for one case, best first (none where the output could not be read).

    `digest` tells whether a rating is of this very list: a newer parser may read another from the same output.
    """

    id: str
    diagnoses: tuple[str, ...]
    accepted: tuple[str, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps([self.id, self.diagnoses, self.accepted])
        object.__setattr__(self, "digest", hashlib.sha256(content.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to rate: a list of diagnoses, the case it is for, and the database that its ratings go to."""

    database: Path
    inputs: Mapping[str, str]
    listed: Listed


def database_of(run: Run, task: str) -> Path:
    """Where the ratings of a task of a run are kept."""
    return run.path / RATINGS / f"{task}.sqlite"


def listed_in(run: Run, task: str) -> list[Listed]:
    """The lists of a task's sample log in its order; of a case that was drawn several times the first one's, of one
    that was asked in several versions that of itself.

    Samples without a response, which are not scored, are left out.
    """
    return [
        Listed(id=row["id"], diagnoses=tuple(row["prediction"] or ()), accepted=accepted_names(row["target"]))
        for row in first_draws(run.rows(task))
        if row["outcome"] != Outcome.ERROR
    ]


def diagnosis_tasks(run: Run) -> list[Task]:
    """The tasks of a run whose answers are diagnoses. Raises `UsageError` where there is none."""
    found = [task for name in run.record["tasks"] if is_judged(task := task_of(run.record, name))]
    if not found:
        raise UsageError(f"{run.path} has no diagnoses to rate; evaluate nejm_cpc or diagnosis_open first")
    return found


def rated_runs(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """The runs with diagnoses in some run folders and folders of runs, and a line for each other that is left out.

    Raises `RunError` and `UsageError` for a run folder named as such that has none, and where no folder has any.
    """
    runs: dict[Path, Run] = {}
    left_out: list[str] = []
    for path in paths:
        if is_run(path):
            run = load_run(Path(path).resolve())
            diagnosis_tasks(run)
            runs[run.path] = run
            continue
        found, notes = load_runs(find_runs([path]))
        left_out += notes
        for run in found:
            try:
                diagnosis_tasks(run)
            except UsageError as why:
                left_out.append(f"left out: {printable(str(why))}")
            else:
                runs[run.path] = run
    if not runs:
        raise UsageError("none of these runs has diagnoses to rate; evaluate nejm_cpc or diagnosis_open first")
    return list(runs.values()), left_out


def items_of(runs: Sequence[Run], *, shared: bool) -> list[Item]:
    """Everything in the runs that can be rated. `shared`: whether other machines will see it.

    Raises
    ------
    UsageError
        Where a run has no diagnoses.
    DataError
        Where the cases are not here, or are not those that the run was made with.
    DataUseError
        Where credentialed text would be shared.
    """
    found = []
    for run in runs:
        for task in diagnosis_tasks(run):
            if shared and is_credentialed(task):
                raise DataUseError(
                    f"{task.name} is credentialed, and its text is not shown over a network; leave --host out"
                )
            cases = _cases(run, task)
            found += [
                Item(database=database_of(run, task.name), inputs=cases[listed.id], listed=listed)
                for listed in listed_in(run, task.name)
            ]
    return found


def _cases(run: Run, task: Task) -> dict[str, Mapping[str, str]]:
    data = run.record["tasks"][task.name]["data"]
    check_split(task, data["split"])
    if store.data_fingerprint(task.data_name, data["split"]) != data["sha256"]:
        raise DataError(
            f"the cases of {task.name} here are not those that {run.path} was made with; "
            f"bring those in (mibe data prepare {task.data_name} --from PATH), or evaluate again"
        )
    return {example.id: example.inputs for example in examples(task, data["split"])}


def in_order(items: Iterable[Item], *, rater: str, seed: int) -> list[Item]:
    """The items in an order that is random for each rater and seed, and stays when runs are added."""

    def place(item: Item) -> bytes:
        return hashlib.sha256(f"{seed}\0{rater}\0{item.database}\0{item.listed.id}".encode()).digest()

    return sorted(items, key=place)
