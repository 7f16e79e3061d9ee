"""The client for programs that have an event loop; `sync.py` is the same for those that have none.

async with AsyncClient("http://127.0.0.1:5000") as client:
    run = await client.train("image-classifier", {"dataset": "digits", "epochs": 5})
    run = await client.wait("image-classifier", run.id)
    answer = await client.predict("image-classifier", files={"image": "seven.png"})
    print(answer.json())
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .archive_calls import ArchiveCalls
from .authority import Authority
from .bodies import CallBody, FileSource
from .calls import new_key
from .credentials import CredentialStore
from .dataset_calls import DatasetCalls
from .downloads import offered_name, save
from .errors import Busy, ClientError, NotFound, TimedOut
from .events import follow, lines_of
from .models import Model
from .reading import mapping, sequence
from .runs import Checkpoints, Event, Metrics, Run
from .sign_in_calls import SignInCalls
from .transport import Call, Timeouts, Transport, path_of
from .weights import Prediction, Weights
from .weights_calls import WeightsCalls

DEFAULT_URL = "http://127.0.0.1:5000"

Files = Mapping[str, FileSource | Sequence[FileSource]]


class AsyncClient(WeightsCalls, ArchiveCalls, DatasetCalls, SignInCalls):
    """One Modelyard server. All methods raise ClientError's family; see `errors.py`.

    `token` is an API key or a token; without it MODELYARD_TOKEN counts, then what `modelyard login`
    has kept ("": nothing). `headers` go with every request. `attempts` is how often a call is made
    that may safely be repeated; `reconnect_s` for how long a broken stream of events is taken up
    again.
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
        self._timeouts = timeouts or Timeouts()
        self._credentials = CredentialStore()
        authority = Authority(url, token, self._credentials)
        self._transport = Transport(url, headers or {}, self._timeouts, attempts, authority)
        self._reconnect_s = reconnect_s

    @property
    def url(self) -> str:
        return self._transport.url

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. A later call opens new ones."""
        await self._transport.close()

    # -- models -------------------------------------------------------------------------------

    async def models(self) -> list[Model]:
        """All models of the server, those too that cannot serve, with the reason."""
        data = mapping(await self._get(path_of("v2", "models", "")), "list of models")
        return [Model.from_data(item) for item in sequence(data.get("models"), "models")]

    async def model(self, model: str) -> Model:
        """One model with the description of its arguments."""
        return Model.from_data(await self._get(path_of("v2", "models", model, "")), model)

    async def is_ready(self, model: str | None = None) -> bool:
        """True if the server can do its work; with `model` (or "all"), if that model is loaded too.

        Raises NotFound for a model that the server does not have.
        """
        try:
            await self._get("/readyz", {"model": model}, retried=False)
        except Busy:
            return False
        return True

    async def wait_ready(self, model: str | None = None, timeout_s: float = 60.0) -> None:
        """Returns once `is_ready` does; a server that does not listen yet is waited for too.

        Raises TimedOut, which tells what is missing, and NotFound.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self._get("/readyz", {"model": model}, retried=False)
                return
            except NotFound:
                raise
            except ClientError as error:
                missing = error.message
            if time.monotonic() > deadline:
                raise TimedOut(f"Not ready after {timeout_s:g} s: {missing}")
            await asyncio.sleep(0.1)

    # -- predictions --------------------------------------------------------------------------

    async def predict(
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
        """One prediction. Never repeated by itself.

        `arguments` travel as JSON, or, with `files` (paths, bytes or open binary files), as a
        multipart form; `query`, `headers`, `as_form` are for arguments that the model wants there.
        `weights` is a version's id or `latest`; `accept` the content type wished for; `timeout_s`
        the server's deadline for this call; `save_to` a path that the answer is streamed to.
        """
        more = dict(headers or {})
        if weights is not None:
            more["X-Modelyard-Weights"] = weights
        if accept is not None:
            more["Accept"] = accept
        if timeout_s is not None:
            more["X-Request-Timeout"] = f"{timeout_s:g}"
        call = Call(
            "POST",
            path_of("v2", "models", model, "predict", ""),
            query=query or {},
            headers=more,
            body=CallBody(arguments or {}, files or {}, as_form),
            # The server's own words about its deadline are better than ours: let it answer first.
            timeout_s=self._timeouts.predict_s if timeout_s is None else timeout_s + 10,
            streamed=True,
        )
        async with self._transport.open(call) as response:
            path = None if save_to is None else Path(save_to)
            content = b"" if path else await response.read()
            if path:
                await save(response, path)
            return Prediction(
                content_type=response.content_type,
                content=content,
                path=path,
                filename=offered_name(response),
                weights=response.headers.get("X-Modelyard-Weights"),
            )

    # -- trainings ----------------------------------------------------------------------------

    async def train(
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
        """Starts a training and returns its record; it runs on the server, whoever watches.

        `dataset` is a stored one: its id, its name (the newest version) or `name@number`. `like`
        repeats the training of a weights version: its arguments, seed and dataset stand in for what
        is not given here; its record's `message` tells at the end whether the result is the same.
        After `max_seconds` of training it is asked to stop, and ends as an error with the reason
        `time_limit`. After a failure it is begun again, `restart_on_failure` times at most.

        Sent with an Idempotency-Key (a fresh one unless given), so that a request that is repeated
        after a lost connection, by us or by you with the same key, starts one training only.
        """
        more = {**(headers or {}), "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        if dataset is not None:
            more["X-Modelyard-Dataset"] = dataset
        if like is not None:
            more["X-Modelyard-Like"] = like
        if max_seconds is not None:
            more["X-Modelyard-Max-Seconds"] = repr(float(max_seconds))
        if restart_on_failure is not None:
            more["X-Modelyard-Restart-On-Failure"] = str(restart_on_failure)
        call = Call(
            "POST",
            path_of("v2", "models", model, "train", ""),
            query=query or {},
            headers=more,
            body=CallBody(arguments or {}, files or {}, as_form),
        )
        return Run.from_data(model, await self._transport.json(call))

    async def runs(
        self, model: str, *, limit: int | None = None, status: str | None = None
    ) -> list[Run]:
        """The trainings of a model: all, oldest first; with `limit` the newest, newest first."""
        runs: list[Run] = []
        path = path_of("v2", "models", model, "train", "")
        following: Mapping[str, Any] | None = {"limit": limit, "status": status}
        while following is not None and (limit is None or len(runs) < limit):
            data, following = await self._page(path, following)
            runs.extend(Run.from_data(model, item) for item in sequence(data, "runs"))
        return runs[:limit]

    async def run(self, model: str, run_id: str) -> Run:
        """The record of one training."""
        return Run.from_data(model, await self._get(self._run(model, run_id)))

    async def cancel(self, model: str, run_id: str) -> Run:
        """Cancels a training; its record stays. An ended one is left as it is."""
        call = Call("DELETE", self._run(model, run_id))
        return Run.from_data(model, await self._transport.json(call))

    async def purge(self, model: str, run_id: str) -> Run:
        """Removes an ended training for good: record, log and checkpoints; what it published stays.
        Raises Conflict if it has not ended."""
        call = Call("DELETE", self._run(model, run_id), {"purge": True})
        return Run.from_data(model, await self._transport.json(call))

    async def pause(self, model: str, run_id: str) -> Run:
        """Asks a training to save a checkpoint and end its processes: its phase is `paused` once it
        has. Raises Conflict if it has ended or cannot go on from a checkpoint."""
        return Run.from_data(model, await self._send("POST", self._run(model, run_id, "pause")))

    async def resume(
        self, model: str, run_id: str, secrets: Mapping[str, Any] | None = None
    ) -> Run:
        """Goes on with a training from its last checkpoint: a paused one under its own id, one that
        ended undone as a new run, which is returned (`resumed_from` tells of which).

        `secrets` are the secret arguments of one that has ended: they are not kept. Raises
        ArgumentsRefused naming those that are missing, and Conflict.
        """
        path = self._run(model, run_id, "resume")
        return Run.from_data(model, await self._send("POST", path, secrets, headers=new_key()))

    async def promote(self, model: str, run_id: str, checkpoint: str = "best") -> Weights:
        """Makes a weights version of a run's `best` or `last` checkpoint, whether or not the run
        has ended. `latest` stays where it is."""
        path = self._run(model, run_id, "checkpoints", checkpoint, "promote")
        return Weights.from_data(model, await self._send("POST", path, headers=new_key()))

    async def wait(self, model: str, run_id: str, timeout_s: float | None = None) -> Run:
        """The record once the training has ended, well or badly: look at `run.status`.

        Raises TimedOut after `timeout_s`; the training goes on.
        """
        try:
            async with asyncio.timeout(timeout_s):
                async for _ in self.events(model, run_id):
                    pass
                return await self.run(model, run_id)
        except TimeoutError as error:
            raise TimedOut(f"The run {run_id} has not ended after {timeout_s:g} s.") from error

    # -- watching -----------------------------------------------------------------------------

    async def events(
        self, model: str, run_id: str, *, log: bool = False, last_event_id: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """What happens in a training until it has ended: `record`, `metrics`, and `log` if asked.

        All from its beginning, or from behind `last_event_id`. A lost connection is taken up again
        where it broke off.
        """

        async def has_ended() -> bool:
            return (await self.run(model, run_id)).ended

        call = Call(
            "GET",
            self._run(model, run_id, "events"),
            query={"log": 1 if log else None},
            headers={"Accept": "text/event-stream"},
            streamed=True,
        )
        async for event in follow(
            self._transport, call, last_event_id, self._reconnect_s, has_ended
        ):
            yield event

    async def log(self, model: str, run_id: str, *, tail: int | None = None) -> str:
        """The training's log so far, or its last `tail` lines."""
        call = Call("GET", self._run(model, run_id, "log"), {"tail": tail}, streamed=True)
        async with self._transport.open(call) as response:
            return (await response.read()).decode("utf-8", "replace")

    async def follow_log(
        self, model: str, run_id: str, *, tail: int | None = None
    ) -> AsyncGenerator[str, None]:
        """The log's lines, as they come, until the training has ended."""
        query = {"tail": tail, "follow": 1}
        call = Call("GET", self._run(model, run_id, "log"), query, endless=True)
        async with self._transport.open(call) as response:
            async for line in lines_of(response.content.iter_any()):
                yield line

    async def metrics(
        self, model: str, run_id: str, *, names: Sequence[str] = (), since: int | None = None
    ) -> Metrics:
        """The reported numbers, all series or those named, of all steps or those after `since`."""
        query = {"name": list(names), "since": since}
        return Metrics.from_data(await self._get(self._run(model, run_id, "metrics"), query))

    async def checkpoints(self, model: str, run_id: str) -> Checkpoints:
        """The checkpoints that the training keeps."""
        return Checkpoints.from_data(await self._get(self._run(model, run_id, "checkpoints")))

    # -- inner --------------------------------------------------------------------------------

    @staticmethod
    def _run(model: str, run_id: str, *parts: str) -> str:
        return path_of("v2", "models", model, "train", run_id, *parts)
