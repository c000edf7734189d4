"""Terms of use, enforced: credentialed text stays on this machine unless its user names the task and the agreement.

Everything that sends text to a model, a judge included, asks `check_egress` before the model sees any of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from mibe.errors import DataUseError, MibeError, ModelError
from mibe.models.base import Model
from mibe.registry import load_task
from mibe.task import AccessLevel, Task


@dataclass(frozen=True, slots=True)
class Egress:
    """Credentialed text that leaves this machine: of which task, under which terms, to whom, and by what right.

    `terms` is the agreement that the data came under; `agreement` is the one that the user says permits the sending.
    """

    task: str
    terms: str
    receiver: str
    agreement: str


def is_credentialed(task: Task) -> bool:
    """Whether the task's text may be seen by people who signed its agreement alone."""
    return task.access.level is AccessLevel.CREDENTIALED


def check_egress(
    task: Task, model: Model, allowed: Collection[str] = (), agreement: str | None = None
) -> Egress | None:
    """Raise `DataUseError` before credentialed text reaches a remote model without its user's word.

    `allowed` holds the names of the tasks whose text may leave and `agreement` says what permits it; both are needed.
    Returns what is to be written into the run record, or None where nothing leaves.
    """
    if not (is_credentialed(task) and model.is_remote):
        return None
    terms = task.access.agreement or "data use agreement of its owners"
    stated = (agreement or "").strip()
    if task.name not in allowed or not stated:
        raise DataUseError(
            f"{task.name} came under the {terms} and {model.name} is remote: its text would leave this machine, "
            f"and nothing was sent. Use a local model, or, where an agreement permits the sending, name both: "
            f'--allow-egress {task.name} --agreement "…"'
        )
    return Egress(task.name, terms, model.name, stated)


def check_names(allowed: Collection[str]) -> None:
    """Raise `UsageError` for a name that is no task: a group would allow more than its user may know."""
    for name in allowed:
        load_task(name)


def note(task: Task, model: Model) -> str | None:
    """What to tell the user of text that may be sent, though not for every purpose."""
    if model.is_remote and task.access.level is AccessLevel.NON_COMMERCIAL:
        return f"{task.name} is for non-commercial use ({task.source.licence}), and {model.name} is remote"
    return None


def without_text_in_errors(task: Task, model: Model, action: Callable[[], None]) -> None:
    """Run `action`; of errors whose message may quote a credentialed task's text, only the kind and place are kept.

    A server, a plugin or a library may put the prompt into its message, and messages end in terminals and logs. Our
    own errors never quote text and pass, but for what a remote model's server had to say.
    """
    without_text_of_any([task], model, action)


def without_text_of_any(tasks: Collection[Task], model: Model, action: Callable[[], None]) -> None:
    """The same for several tasks at once, of which nobody can say whose text an error quotes.

    `tasks` are looked at when there is an error: those that are on their way then.
    """
    try:
        return action()
    except Exception as error:
        ours = isinstance(error, MibeError) and not (isinstance(error, ModelError) and model.is_remote)
        secret = [task.name for task in tasks if is_credentialed(task)]
        if ours or not secret:
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    # Raised out here, the new error has no __context__ through which a log could print the old one.
    raise ModelError(
        f"{model.name} failed on {', '.join(secret)} ({failure}); the message is left out, since it may quote "
        "credentialed text: run an open task (--tasks pubmedqa --limit 1) to see it"
    )
