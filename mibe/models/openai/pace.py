"""How fast to ask: requests at once, found by trying, and rates that the user sets. For one event loop."""

from __future__ import annotations

import asyncio
import time

START = 16
"""Requests at once to begin with; from here the number doubles until something is refused."""


class Gate:
    """Requests under way at once. The number grows while all is well and is halved when the server is overloaded.

    Growth is exponential up to the first overload and one more a round after it (as TCP does it); one overload
    counts once, however many of the requests that were under way together it hits.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(START, most))
        self.active = 0
        self.overloads = 0
        self.narrowest = float(most)
        self._seen_overload = False
        self._last_cut = float("-inf")
        self._resume = float("-inf")
        self._changed = asyncio.Event()

    async def enter(self) -> None:
        """Wait for a place."""
        while self.active >= int(self.limit):
            self._changed.clear()
            await self._changed.wait()
        self.active += 1

    def leave(self) -> None:
        """Give the place back."""
        self.active -= 1
        self._changed.set()

    async def left(self) -> None:
        """Wait until somebody gives a place back."""
        self._changed.clear()
        await self._changed.wait()

    async def clear(self) -> None:
        """Wait while the server has asked for silence."""
        while (seconds := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    def well(self) -> None:
        """A request was answered."""
        if self.limit < self.most:
            self.limit = min(self.most, self.limit + (1 / self.limit if self._seen_overload else 1))
            self._changed.set()

    def overloaded(self, begun: float) -> None:
        """A request that was sent at `begun` (monotonic seconds) was turned away."""
        self.overloads += 1
        if begun > self._last_cut:
            self._seen_overload = True
            self._last_cut = time.monotonic()
            self.limit = max(1.0, self.limit / 2)
            self.narrowest = min(self.narrowest, self.limit)


class Rate:
    """So many units a minute, evenly: each taker is given the next free moment."""

    def __init__(self, per_minute: int | None) -> None:
        self._seconds = 0.0 if per_minute is None else 60 / per_minute
        self._free_at = float("-inf")

    async def take(self, units: float) -> None:
        """Wait until `units` may be spent."""
        now = time.monotonic()
        start = max(now, self._free_at)
        self._free_at = start + units * self._seconds
        if start > now:
            await asyncio.sleep(start - now)

    def give_back(self, units: float) -> None:
        """Units that were taken and not needed."""
        self._free_at -= units * self._seconds
