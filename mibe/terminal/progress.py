"""What a user sees while a run goes on: messages, and a bar with rate and time left, or a few lines in a log file."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from mibe.terminal.pace import Pace

SHORTEST, LONGEST = 60.0, 600.0
"""Seconds between two lines of progress in a log file."""

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
REFRESHED = 1.0
"""Seconds between two looks at the pace that stands behind a bar."""


class Progress(Protocol):
    """Where a run reports to."""

    def message(self, text: str) -> None:
        """One line (or a block) of news."""
        ...

    def start(self, title: str, total: int, done: int) -> None:
        """A task begins: `total` samples, of which `done` were there already."""
        ...

    def advance(self) -> None:
        """One more sample is done."""
        ...

    def stop(self) -> None:
        """The task ended."""
        ...


class Silent:
    """Reports nothing."""

    def message(self, text: str) -> None:
        """Dropped."""

    def start(self, title: str, total: int, done: int) -> None:
        """Dropped."""

    def advance(self) -> None:
        """Dropped."""

    def stop(self) -> None:
        """Dropped."""


class Terminal:
    """Messages and a bar on standard error, which is a terminal or a notebook."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bar: Any = None
        self._pace = Pace(0, 0, 0.0)
        self._next = 0.0

    def message(self, text: str) -> None:
        """Print without breaking the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=sys.stderr, flush=True)

    def start(self, title: str, total: int, done: int) -> None:
        """Show the bar."""
        self._pace = Pace(total, done, self._clock())
        self._next = 0.0
        self._bar = _bar()(total=total, initial=done, desc=title, bar_format=BAR, file=sys.stderr, dynamic_ncols=True)

    def advance(self) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        now = self._clock()
        self._pace.count(now)
        if now >= self._next:
            self._next = now + REFRESHED
            self._bar.set_postfix_str(told(self._pace, now), refresh=False)
        self._bar.update()

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Lines:
    """Messages on standard error, and for a long task a line now and then: what a log file of a whole day can bear.

    Nothing is said of a task in its first minute. Lines then come a minute apart, and further apart the longer it
    takes, up to ten minutes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._title = ""
        self._total = self._done = 0
        self._pace = Pace(0, 0, 0.0)
        self._begun = self._next = 0.0

    def message(self, text: str) -> None:
        """Print."""
        print(text, file=sys.stderr, flush=True)

    def start(self, title: str, total: int, done: int) -> None:
        """Count from here."""
        self._title, self._total, self._done = title, total, done
        self._begun = self._clock()
        self._pace = Pace(total, done, self._begun)
        self._next = self._begun + SHORTEST

    def advance(self) -> None:
        """Say how far the task is, when it is time to."""
        self._done += 1
        now = self._clock()
        self._pace.count(now)
        if now >= self._next:
            done = f"{self._done:,} of {self._total:,} samples ({self._done / self._total:.0%})"
            state = ", ".join(filter(None, (done, told(self._pace, now))))
            self.message(f"{datetime.now():%Y-%m-%d %H:%M:%S} {self._title}: {state}")
            self._next = now + min(max(SHORTEST, (now - self._begun) / 10), LONGEST)

    def stop(self) -> None:
        """Nothing to remove."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def told(pace: Pace, now: float) -> str:
    """A pace in words: "1.2 a second, 12 min 30 s left", and nothing as long as there is no telling."""
    left, rate = pace.left(now), pace.rate
    if left is None or rate is None:
        return ""
    return f"{rate:.3g} a second, {duration(left)} left"


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds: "3 h 05 min", "12 min 30 s", "8 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def on_stderr() -> Terminal | Lines:
    """A bar where somebody watches, lines where standard error goes to a file or another program."""
    return Terminal() if is_watched() else Lines()


def is_watched() -> bool:
    """Whether somebody sees standard error: a terminal, or a notebook; a process without one has None in its place."""
    return sys.stderr is not None and (sys.stderr.isatty() or is_notebook())


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, Colab, VS Code), which shows what is printed."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    # IPython's own test for it: its shell in a terminal has no kernel.
    return getattr(shell, "kernel", None) is not None


def _bar() -> Any:
    """tqdm's bar: in a notebook a widget where ipywidgets is there, and characters where it is not."""
    if not is_notebook():
        from tqdm import tqdm

        return tqdm
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        # That a widget would look better, or that its bars are new, is no news of a run.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.autonotebook import tqdm as in_notebook

        return in_notebook
