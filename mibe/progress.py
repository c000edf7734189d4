"""What a user sees while a run goes on: messages, and a bar with rate and time left on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol


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
    """Messages on standard error, and a bar there when it is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def message(self, text: str) -> None:
        """Print without breaking the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=sys.stderr, flush=True)

    def start(self, title: str, total: int, done: int) -> None:
        """Show the bar."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, desc=title, unit=" samples", file=sys.stderr, dynamic_ncols=True
            )

    def advance(self) -> None:
        """Move the bar."""
        if self._bar is not None:
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
