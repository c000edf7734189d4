"""Terms of use, enforced: credentialed text stays on this machine unless its user names the task and the agreement.

Everything that sends text to a model, a judge included, asks `check_egress` before the model sees any of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mibe.errors import DataUseError, MibeError, ModelError
from mibe.models.base import Model
from mibe.registry import load_task
from mibe.task import AccessLevel, Task

T = TypeVar("T")

_PACKAGE = Path(__file__).parents[1]


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
        own = getattr(model, "if_ours", None)
        seen = "" if task.access.agreement else ", or say --access open where everybody may see it"
        raise DataUseError(
            f"{task.name} came under the {terms} and {model.name} is remote: its text would leave this machine, "
            f"and nothing was sent. Use a local model{seen}, or, "
            f"{f'if that server is yours, {own}, or, ' if own else ''}"
            f'where an agreement permits the sending, name both: --allow-egress {task.name} --agreement "…"'
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


def without_text_in_errors(task: Task, model: Model, action: Callable[[], T]) -> T:
    """The result of `action`; of errors whose message may quote a credentialed task's text, kind and place are kept.

    A server, a plugin or a library may put the prompt into its message, wherever it runs, and messages end in terminals
    and logs. Our own words never quote text and stay; those of others that stand among them are left out.
    """
    return without_text_of_any([task], model.name, action)


def without_text_of_any(tasks: Collection[Task], name: str, action: Callable[[], T]) -> T:
    """The same for several tasks at once, of which nobody can say whose text an error quotes; `name` is the model's.

    `tasks` are looked at when there is an error: those that are on their way then.
    """
    try:
        return action()
    except Exception as error:
        secret = [task.name for task in tasks if is_credentialed(task)]
        if not secret or (_is_ours(error) and not getattr(error, "said", "")):
            raise
        clean = _without_text(error, name, secret)
    # Raised out here, the new error has no __context__ through which a log could print the old one.
    raise clean


def _is_ours(error: Exception) -> bool:
    """Whether mibe wrote the message. Plugins raise `ModelError` too, and may put a server's words into it."""
    return isinstance(error, MibeError) and (
        not isinstance(error, ModelError) or _place(error).is_relative_to(_PACKAGE)
    )


def _place(error: Exception) -> Path:
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename)


def _without_text(error: Exception, name: str, secret: Sequence[str]) -> MibeError:
    where = "it may quote credentialed text: run an open task (--tasks pubmedqa --limit 1) to see it"
    if isinstance(error, MibeError) and _is_ours(error):
        return type(error)(f"{error.own_words} (what is left out was not said by mibe; {where})")
    line = traceback.extract_tb(error.__traceback__)[-1].lineno
    return ModelError(
        f"{name} failed on {', '.join(secret)} ({type(error).__name__} at {_place(error).name}:{line}); the message is "
        f"left out, since {where}"
    )
