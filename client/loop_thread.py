"""An event loop in a thread, for callers that have none, or whose own one is busy."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_CLOSING_S = 5.0


class LoopThread:
    """An event loop in a thread; ends with `close`, or when nothing refers to it any more."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a client that nobody closed must not keep a script from ending.
        self._thread = threading.Thread(
            target=_run_loop, args=(self._loop,), name="modelyard-client", daemon=True
        )
        self._thread.start()
        self._finalizer = weakref.finalize(self, _stop, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result. Ctrl-C here cancels it there."""
        if not self._finalizer.alive:
            coroutine.close()
            raise RuntimeError("This client is closed.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items, each fetched when it is asked for; leaving the iteration ends the stream."""
        try:
            while True:
                try:
                    yield self.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            if self._finalizer.alive:
                self.run(_end(items))

    def close(self) -> None:
        self._finalizer()
        self._thread.join(_CLOSING_S)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _end(items: AsyncGenerator[T, None]) -> None:
    while getattr(
        items, "ag_running", False
    ):  # a Ctrl-C cancelled its last step, which is still being wound up
        await asyncio.sleep(0)
    await items.aclose()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
