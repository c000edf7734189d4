"""A trainer of another package as the command line uses it: whatever its code raises is one line.

`python -X dev -m mellama_train …` prints beside that line where it came from.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from mellama_train.errors import PluginError, TrainError, one_line
from mellama_train.recipe.config import RunRecipe
from mellama_train.trainers.contract import Trainer
from mibe.errors import MibeError

R = TypeVar("R", bound=RunRecipe)
T = TypeVar("T")


def guarded(trainer: Trainer[R], called: str) -> Trainer[R]:
    """The trainer, `called` so in messages: what its functions raise is a `PluginError`, unless it is one of ours."""

    def one(name: str, call: Callable[..., T]) -> Callable[..., T]:
        def guard(*given: Any) -> T:
            with _told(called, name, call):
                found = call(*given)
            if found is None:
                raise PluginError(f"{name} of {called} returned nothing (docs/add-a-trainer.md)")
            return found

        return guard

    def each(name: str, call: Callable[..., Iterable[T]]) -> Callable[..., Iterable[T]]:
        def guard(*given: Any) -> Iterator[T]:
            with _told(called, name, call):
                yield from call(*given)

        return guard

    return replace(
        trainer,
        run=one("run", trainer.run),
        problems=each("problems", trainer.problems),
        preview=one("preview", trainer.preview),
        show=each("show", trainer.show) if trainer.show else None,
        forecast=one("forecast", trainer.forecast) if trainer.forecast else None,
    )


def why(error: BaseException) -> str:
    """What another package's code raised, in a line; a process that it would have ended has an exit code."""
    if isinstance(error, SystemExit):
        return f"it ends the process ({type(error).__name__}: {error.code}), and should return or raise an error"
    return f"{type(error).__name__}: {one_line(error)}"


@contextmanager
def _told(called: str, name: str, call: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except (TrainError, MibeError):
        raise
    except (Exception, SystemExit) as error:  # Another package's code may raise whatever it likes.
        raise PluginError(f"{name} of {called} failed: {why(error)}{_place(error, call)}") from error


def _place(error: BaseException, call: Callable[..., Any]) -> str:
    """The last line of the plugin's own file on the way to an error, as " (FILE, line N)"."""
    file = getattr(sys.modules.get(call.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""
