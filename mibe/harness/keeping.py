"""What keeps credentialed text where it is while lm-eval's own runner has it: files, connections, words on the screen.

lm-eval's classes log what a server says and end with tracebacks, follow redirects and take proxies. So from the moment
that a credentialed task is loaded, its process connects to nothing but the server that was named, or this machine, and
what the classes say is kept to its kind and place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from mibe.data_use import without_text_of_any
from mibe.models.locality import Hold, Reach, hold_to, this_machine
from mibe.task import Task

PROXIES = ("no_proxy", "NO_PROXY")
"""Variables by which libraries are told to ask servers directly."""

_KEPT: ContextVar[tuple[Hold, list[Task]] | None] = ContextVar("kept", default=None)


def keep_here(task: Task) -> None:
    """From here on, files are the user's alone to read, and connections, proxies and messages are held.

    Under `executed` until it ends, and to its reach; in a process of lm-eval's own until that ends, to this machine.
    """
    os.umask(0o077)
    hold, tasks = _KEPT.get() or (Hold(this_machine), [])
    tasks.append(task)
    for name in PROXIES:
        # A proxy on this machine would be within reach, and what it does with a prompt nobody knows.
        os.environ[name] = "*"
    for handler in (*logging.getLogger().handlers, *logging.getLogger("lm_eval").handlers):
        handler.addFilter(_without_text)
    hold_to(hold)


def executed(action: Callable[[], None], model: str, reach: Reach) -> None:
    """Run lm-eval; once a credentialed task is loaded, within `reach`, and its errors keep their kind and place."""
    hold, tasks = Hold(reach), list[Task]()
    with _restored():
        before = _KEPT.set((hold, tasks))
        try:
            without_text_of_any(tasks, model, partial(_watched, action, hold))
        finally:
            _KEPT.reset(before)
            hold_to(None)


def _watched(action: Callable[[], None], hold: Hold) -> None:
    try:
        action()
    except Exception:
        # Only here: an engine in this process may well do without an answer of the hub's.
        hold.raise_refused()
        raise


@contextmanager
def _restored() -> Iterator[None]:
    """The proxies of the environment, and its log's handlers, as they were."""
    before = {name: os.environ.get(name) for name in PROXIES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for handler in (*logging.getLogger().handlers, *logging.getLogger("lm_eval").handlers):
            handler.removeFilter(_without_text)


def _without_text(record: logging.LogRecord) -> bool:
    """Keep kind and place of what a model's class has to say: it may quote what it was asked, or was answered."""
    if record.name.startswith("lm_eval.models"):
        record.msg = f"message left out at {record.filename}:{record.lineno}: it may quote credentialed text"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True
