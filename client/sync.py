"""The client for scripts and notebooks: `AsyncClient` behind ordinary functions.

It runs an event loop of its own in a thread, so that it works where another loop is already
running (a notebook's), in which `asyncio.run` is not possible.

    with Client() as client:
        run = client.train("image-classifier", {"dataset": "digits"})
        for event in client.events("image-classifier", run.id):
            print(event.type, event.data)
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from .aio import DEFAULT_URL, AsyncClient, Files
from .models import Model
from .runs import Checkpoints, Event, Metrics, Run
from .transport import Timeouts
from .weights import Prediction, Weights

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


class Client:
    """One Modelyard server, for programs without an event loop. Methods are AsyncClient's.

    Safe to use from several threads. `close` it, or use it in `with`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        attempts: int = 3,
        reconnect_s: float = 60.0,
    ) -> None:
        self._client = AsyncClient(
            url, headers=headers, timeouts=timeouts, attempts=attempts, reconnect_s=reconnect_s
        )
        self._loop = LoopThread()

    @property
    def url(self) -> str:
        return self._client.url

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and ends the thread. Closing twice is no error."""
        try:
            self._loop.run(self._client.close())
        except RuntimeError:
            return
        self._loop.close()

    def models(self) -> list[Model]:
        """All models of the server, those too that cannot serve, with the reason."""
        return self._loop.run(self._client.models())

    def model(self, model: str) -> Model:
        """One model with the description of its arguments."""
        return self._loop.run(self._client.model(model))

    def is_ready(self, model: str | None = None) -> bool:
        """True if the server can do its work; with `model` (or "all"), if that is loaded too."""
        return self._loop.run(self._client.is_ready(model))

    def wait_ready(self, model: str | None = None, timeout_s: float = 60.0) -> None:
        """Returns once `is_ready` does. Raises TimedOut and NotFound."""
        self._loop.run(self._client.wait_ready(model, timeout_s))

    def predict(
        self,
        model: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        as_form: bool = False,
        weights: str | None = None,
        accept: str | None = None,
        timeout_s: float | None = None,
        save_to: str | os.PathLike[str] | None = None,
    ) -> Prediction:
        """One prediction; see `AsyncClient.predict`."""
        return self._loop.run(
            self._client.predict(
                model,
                arguments,
                files=files,
                query=query,
                headers=headers,
                as_form=as_form,
                weights=weights,
                accept=accept,
                timeout_s=timeout_s,
                save_to=save_to,
            )
        )

    def train(
        self,
        model: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        as_form: bool = False,
        idempotency_key: str | None = None,
    ) -> Run:
        """Starts a training and returns its record; see `AsyncClient.train`."""
        return self._loop.run(
            self._client.train(
                model,
                arguments,
                files=files,
                query=query,
                headers=headers,
                as_form=as_form,
                idempotency_key=idempotency_key,
            )
        )

    def runs(self, model: str, *, limit: int | None = None, status: str | None = None) -> list[Run]:
        """The trainings of a model: all, oldest first; with `limit` the newest, newest first."""
        return self._loop.run(self._client.runs(model, limit=limit, status=status))

    def run(self, model: str, run_id: str) -> Run:
        """The record of one training."""
        return self._loop.run(self._client.run(model, run_id))

    def cancel(self, model: str, run_id: str) -> Run:
        """Cancels a training; its record stays. An ended one is left as it is."""
        return self._loop.run(self._client.cancel(model, run_id))

    def wait(self, model: str, run_id: str, timeout_s: float | None = None) -> Run:
        """The record once the training has ended. Raises TimedOut; the training goes on."""
        return self._loop.run(self._client.wait(model, run_id, timeout_s))

    def events(
        self, model: str, run_id: str, *, log: bool = False, last_event_id: str | None = None
    ) -> Iterator[Event]:
        """What happens in a training until it has ended; see `AsyncClient.events`."""
        return self._loop.iterate(
            self._client.events(model, run_id, log=log, last_event_id=last_event_id)
        )

    def log(self, model: str, run_id: str, *, tail: int | None = None) -> str:
        """The training's log so far, or its last `tail` lines."""
        return self._loop.run(self._client.log(model, run_id, tail=tail))

    def follow_log(self, model: str, run_id: str, *, tail: int | None = None) -> Iterator[str]:
        """The log's lines, as they come, until the training has ended."""
        return self._loop.iterate(self._client.follow_log(model, run_id, tail=tail))

    def metrics(
        self, model: str, run_id: str, *, names: Sequence[str] = (), since: int | None = None
    ) -> Metrics:
        """The reported numbers, all series or those named, of all steps or those after `since`."""
        return self._loop.run(self._client.metrics(model, run_id, names=names, since=since))

    def checkpoints(self, model: str, run_id: str) -> Checkpoints:
        """The checkpoints that the training keeps."""
        return self._loop.run(self._client.checkpoints(model, run_id))

    def weights(self, model: str) -> list[Weights]:
        """The weights versions of a model, newest first."""
        return self._loop.run(self._client.weights(model))

    def weights_version(self, model: str, version: str) -> Weights:
        """One weights version, by its id or `latest`."""
        return self._loop.run(self._client.weights_version(model, version))
