"""How a command ends: its errors become one line each, and its exit code says how it went.

0 success; 1 stopped by a limit on cost or quota; 2 bad usage, data or model, or results that could not be written;
130 interrupted, 143 and 129 by SIGTERM and SIGHUP, which end a command as Ctrl-C does.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

from mibe.errors import LimitReached, MibeError
from mibe.terminal.plain import printable
from mibe.terminal.streams import OutputError, forget

_in_command: ContextVar[bool] = ContextVar("in_command", default=False)


class Stopped(KeyboardInterrupt):
    """A signal that asks the process to end, with its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def at_end(action: Callable[[], None]) -> None:
    """Run `action` when the process of the command that runs comes to its end; at once where there is no command."""
    if _in_command.get():
        atexit.register(action)
    else:
        action()


def exit_code(command: Callable[[], int], program: str = "mibe") -> int:
    """The exit code of a command; its errors become one line each on standard error."""
    running = _in_command.set(True)
    try:
        with _stopped_by_signals():
            code = _ended(command, program)
        return _flushed(code, program)
    finally:
        _in_command.reset(running)


def _flushed(code: int, program: str) -> int:
    """The exit code once all that was printed has been written."""
    try:
        # Here, not at the interpreter's exit, where a failure could no longer be told.
        sys.stdout.flush()
    except BrokenPipeError:
        forget(sys.stdout.fileno())
    except OutputError as error:
        _say(program, str(error))
        return code or 2
    return code


def _ended(command: Callable[[], int], program: str) -> int:
    try:
        return command()
    except MibeError as error:
        _say(program, error.message, error.lines)
        return 1 if isinstance(error, LimitReached) else 2
    except KeyboardInterrupt as stop:
        by, number = (f" by {stop}", stop.number) if isinstance(stop, Stopped) else ("", signal.SIGINT)
        print(file=sys.stderr)
        _say(program, f"interrupted{by}; every response so far is kept, the same command goes on from here")
        return 128 + number
    except BrokenPipeError:
        # The reader of our output left (`mibe … | head`): nothing more to say, nor to flush at exit.
        forget(sys.stdout.fileno())
        return 0


def _say(program: str, text: str, lines: Iterable[str] = ()) -> None:
    # One by one: a line break in what somebody else chose makes no line that looks like ours.
    print("\n  ".join([f"{program}: {printable(text)}", *map(printable, lines)]), file=sys.stderr)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Stopped`, once; where somebody has a say already (nohup), that stays."""
    signals = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread() or not signals:
        yield
        return
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:
            # A process that was forked from this one: the signal is its own affair.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        # Whoever sends one may send the other a moment later; what was done is on its way to the disk then.
        for each in signals:
            signal.signal(each, _unheard)
        raise Stopped(number)

    for each in signals:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)


def _unheard(*_: Any) -> None:
    """Not SIG_IGN, which programs started meanwhile would inherit."""
