"""An asyncio loop in a thread of its own, so that plain code, a notebook's included, can iterate over async work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that cancelled work gets to let go of its connections."""


class _End:
    """Marks the end of a stream of results."""


_END: Final = _End()


class EventLoop:
    """Runs coroutines for synchronous callers. The thread starts with the first of them and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def stream(self, work: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]]) -> Iterator[T]:
        """Yield what `work` hands to its callback, the moment it does.

        An exception of `work` is raised after everything before it was yielded. When the consumer leaves, by an
        exception, Ctrl-C or `close` of the iterator, the work is cancelled.
        """
        results: SimpleQueue[T | _End] = SimpleQueue()

        async def run() -> None:
            try:
                await work(results.put)
            finally:
                results.put(_END)

        future = asyncio.run_coroutine_threadsafe(run(), self._started())
        try:
            while not isinstance(item := results.get(), _End):
                yield item
            future.result(PATIENCE)
        finally:
            if not future.done():
                future.cancel()
                with suppress(Empty):
                    while not isinstance(results.get(timeout=PATIENCE), _End):
                        continue

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of one coroutine."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except (KeyboardInterrupt, CancelledError):
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs and end the thread."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop = self._thread = None

    @property
    def is_running(self) -> bool:
        """Whether the thread was started."""
        return self._loop is not None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: whoever forgets to close a model can still leave the interpreter.
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        waiting = asyncio.all_tasks(loop)
        for task in waiting:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
