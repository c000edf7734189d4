"""An asyncio loop in a thread of its own, so that plain code, a notebook's included, can iterate over async work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that cancelled work gets to let go of its connections."""


class _End:
    """Marks the end of a stream."""


class _More:
    """Asks for one more item."""


_END: Final = _End()
_MORE: Final = _More()


class _Inlet(Generic[S]):
    """Items from the consumer's thread, for the work in the loop's; each one taken makes room for another."""

    def __init__(self, taken: Callable[[], None]) -> None:
        self._waiting: asyncio.Queue[S | _End] = asyncio.Queue()
        self._taken = taken

    def put(self, item: S | _End) -> None:
        """Add one; in the loop's thread."""
        self._waiting.put_nowait(item)

    def __aiter__(self) -> AsyncIterator[S]:
        return self

    async def __anext__(self) -> S:
        item = await self._waiting.get()
        if isinstance(item, _End):
            raise StopAsyncIteration
        self._taken()
        return item


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
        return self.pipe((), lambda _, put: work(put), ahead=0)

    def pipe(
        self,
        items: Iterable[S],
        work: Callable[[AsyncIterator[S], Callable[[T], None]], Coroutine[Any, Any, None]],
        *,
        ahead: int,
    ) -> Iterator[T]:
        """The same for work on items that come one by one: at most `ahead` of them lie ready that it did not take yet.

        Items are made in the consumer's thread, between two results: what was yielded before is dealt with by then.
        """
        results: SimpleQueue[T | _End | _More] = SimpleQueue()
        inlet = _Inlet[S](lambda: results.put(_MORE))
        left = iter(items)

        async def run() -> None:
            try:
                await work(inlet, results.put)
            finally:
                results.put(_END)

        loop = self._started()
        for _ in range(ahead):
            results.put(_MORE)
        future = asyncio.run_coroutine_threadsafe(run(), loop)
        try:
            while not isinstance(result := results.get(), _End):
                if isinstance(result, _More):
                    loop.call_soon_threadsafe(inlet.put, next(left, _END))
                else:
                    yield result
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
