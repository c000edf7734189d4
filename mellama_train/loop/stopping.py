"""Signals that end a run early, looked at where all ranks can turn together."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import StoppedError


class Stop:
    """Whether any rank was told to stop."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._came: list[int] = []

    def look(self) -> None:
        """Raise `StoppedError` on all ranks if a signal has come to one of them. All ranks look at the same places."""
        if self._ranks.sum([len(self._came)])[0]:
            raise StoppedError("stopped by a signal")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """SIGTERM (a launcher's) and SIGUSR1 (Slurm's warning before the end) are heard, and do nothing else."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
        for number in before:
            signal.signal(number, lambda number, _: self._came.append(number))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
