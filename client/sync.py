"""The client for scripts and notebooks: `AsyncClient` behind ordinary functions.

It runs an event loop of its own in a thread, so that it works where another loop is already
running (a notebook's), in which `asyncio.run` is not possible.

    with Client() as client:
        run = client.train("image-classifier", {"dataset": "digits"})
        for event in client.events("image-classifier", run.id):
            print(event.type, event.data)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from .aio import DEFAULT_URL, AsyncClient, Files
from .loop_thread import LoopThread
from .models import Model
from .runs import Checkpoints, Event, Metrics, Run
from .sign_in import Challenge
from .sync_datasets import SyncDatasetCalls
from .sync_weights import SyncWeightsCalls
from .transport import Timeouts
from .weights import Prediction, Weights


class Client(SyncWeightsCalls, SyncDatasetCalls):
    """One Modelyard server, for programs without an event loop. Methods are AsyncClient's.

    Safe to use from several threads. `close` it, or use it in `with`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        attempts: int = 3,
        reconnect_s: float = 60.0,
    ) -> None:
        self._client = AsyncClient(
            url,
            token=token,
            headers=headers,
            timeouts=timeouts,
            attempts=attempts,
            reconnect_s=reconnect_s,
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

    def sign_in(
        self, show: Callable[[Challenge], None] | None = None, *, client_id: str | None = None
    ) -> None:
        """Signs in at the server's issuer; see `AsyncClient.sign_in`. Without `show` the address
        and the code are printed."""
        self._loop.run(self._client.sign_in(show or _print_challenge, client_id=client_id))

    def keep_key(self, key: str) -> None:
        """Keeps an API key for this server in the user's file."""
        self._client.keep_key(key)

    def sign_out(self) -> bool:
        """Forgets what is kept for this server; False if nothing was."""
        return self._loop.run(self._client.sign_out())

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
        dataset: str | None = None,
        like: str | None = None,
        max_seconds: float | None = None,
        restart_on_failure: int | None = None,
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
                dataset=dataset,
                like=like,
                max_seconds=max_seconds,
                restart_on_failure=restart_on_failure,
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

    def purge(self, model: str, run_id: str) -> Run:
        """Removes an ended training for good; what it published stays."""
        return self._loop.run(self._client.purge(model, run_id))

    def pause(self, model: str, run_id: str) -> Run:
        """Asks a training to save a checkpoint and end its processes. Raises Conflict."""
        return self._loop.run(self._client.pause(model, run_id))

    def resume(self, model: str, run_id: str, secrets: Mapping[str, Any] | None = None) -> Run:
        """Goes on with a training from its last checkpoint; see `AsyncClient.resume`."""
        return self._loop.run(self._client.resume(model, run_id, secrets))

    def promote(self, model: str, run_id: str, checkpoint: str = "best") -> Weights:
        """Makes a weights version of a run's `best` or `last` checkpoint."""
        return self._loop.run(self._client.promote(model, run_id, checkpoint))

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


def _print_challenge(challenge: Challenge) -> None:
    print(f"Open {challenge.address} and type the code {challenge.code}", flush=True)
