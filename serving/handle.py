"""One served model: its state, its default weights, the workers behind them. Runs in the front."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import (
    ModelUnavailable,
    ModelyardError,
    NotSupported,
    NoWeights,
    PluginFailed,
    StorageUnavailable,
)
from ..models_plugin.environment import plugin_environment
from ..models_plugin.plugin import NATIVE_GROUP, PluginSource
from ..schemas.description import ModelDescription
from ..schemas.transport import RequestData
from .choices import Choice, DefaultWeights
from .gate import LoadGate
from .group import WorkerGroup
from .load_error import LoadError
from .messages import Describe, Described, Prediction, Validate, Validated, WeightsRef
from .observer import Observer, Unobserved
from .options import ServedOptions
from .others import OtherVersions
from .process import WorkerProcess
from .questions import Questions
from .spare import Spare

log = logging.getLogger(__name__)

_RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


class ModelHandle:
    """What `api/` holds of a model. `state`: importing, ready, failed or restarting."""

    def __init__(
        self,
        source: PluginSource,
        options: ServedOptions,
        logs: Path,
        gate: LoadGate | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.source = source
        self.name = source.name
        self.description: ModelDescription | None = None
        self.error: LoadError | None = None
        self.weights_error: str | None = None
        self.predict_timeout_s = options.predict_timeout_s
        self._options = options
        self._gate = gate or LoadGate()
        self._observer = observer or Unobserved()
        self._log = logs / f"{source.name}.log"
        self._default: WorkerGroup | None = None
        self._others = OtherVersions(lambda ref: self._group(ref, load=True), options.keep_versions)
        self._spare = Spare(self._import_spare)
        self._swapping = asyncio.Lock()
        self._renewals = 0
        self._newest: WeightsRef | None = None
        self._refused: set[str] = set()
        self._source_of_defaults: DefaultWeights | None = None
        self._first_try = asyncio.Event()
        self._questions = Questions(
            self._processes, self._first_try, options.validate_timeout_s, self._unavailable
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    # -- lifetime -----------------------------------------------------------------------------

    def open(self, default_weights: DefaultWeights) -> None:
        """Begins to load; returns at once."""
        self._source_of_defaults = default_weights
        self._spawn(self._first_load(default_weights))

    async def loaded(self) -> None:
        """Returns when the first try to load has ended, well or not."""
        await self._first_try.wait()

    async def close(self) -> None:
        """Ends every worker, within seconds."""
        self._closing = self._questions.closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        why = "The server is stopping."
        closing = [] if self._default is None else [self._default.close(why)]
        await asyncio.gather(self._spare.close(), self._others.close(why), *closing)

    async def _first_load(self, default_weights: DefaultWeights) -> None:
        tries = 0
        while True:
            try:
                async with self._gate.turn():
                    await self._open_default(default_weights)
                self.error = None
                self._first_try.set()
                break
            except ModelyardError as error:
                self.error = LoadError.of(error)
                self._first_try.set()
                log.error("model not loaded", extra={"model": self.name, "why": error.message})
                if isinstance(error, PluginFailed) and error.original_type:
                    return  # its own code or contract: trying again changes nothing
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1
        if self._newest is not None:  # a version that came while the model was being imported
            await self.use_weights(self._newest)

    async def _open_default(self, default_weights: DefaultWeights) -> None:
        if self.source.problem:
            raise PluginFailed(self.source.problem, original_type="ContractFault")
        problem = None
        choices: Sequence[Choice] = ()
        try:
            choices = await default_weights.choices(self.name)
        except StorageUnavailable as error:  # who tells of them brings them later
            problem = error.message
        if self._default is not None:  # from the try before
            await self._default.close()
        self._default = group = self._group(None, load=False)
        try:
            await group.open()
        except ModelyardError:
            self._default = None
            raise
        assert self.description is not None
        capabilities = self.description.capabilities
        if "predict" not in capabilities:
            return
        if not self.takes_weights:
            choices = ()
        if problem is not None:  # without its weights it would predict something else
            self.weights_error = problem
        elif choices:
            await self._assign_first(group, choices)
        elif "weights_optional" in capabilities:
            await group.assign(None)

    async def _assign_first(self, group: WorkerGroup, choices: Sequence[Choice]) -> None:
        """The first that can be loaded. Raises why the first cannot, if somebody chose that by hand
        and there is no other; else the model is up without weights: new ones help."""
        first: ModelyardError | None = None
        for choice in choices:
            try:
                await group.assign(choice.ref)
            except ModelyardError as error:
                text = self.weights_error if first else None
                self._not_loaded(choice.ref, error)
                self.weights_error, first = text or self.weights_error, first or error
            else:
                await self._taken(choice.ref)
                return
        if first is not None and choices[0].by_hand:
            raise first

    def _group(self, ref: WeightsRef | None, load: bool) -> WorkerGroup:
        return WorkerGroup(
            self.source,
            self._options,
            self._start,
            ref if load else None,
            load,
            self._describe,
            self._observer,
        )

    def _start(self, on_end: Callable[[WorkerProcess], None]) -> WorkerProcess:
        own = self._options
        environment = plugin_environment(
            self.source, own.env, own.threads, withhold_s3=own.withhold_s3
        )
        return WorkerProcess(environment, self._log, on_end, self.source.python)

    def _describe(self, description: ModelDescription) -> None:
        self.description = description

    # -- state --------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        if self.error is not None:
            return "failed"
        if self._default is None:
            return "importing"
        if self._default.load:
            return "ready" if self._default.ready else "restarting"
        if not self._first_try.is_set():
            return "importing"
        return "ready" if self._default.processes() else "restarting"

    @property
    def takes_weights(self) -> bool:
        """False for DEEPaaS modules: they choose their weights by their own arguments."""
        return self.source.group == NATIVE_GROUP

    @property
    def weights(self) -> str | None:
        """The version that answers by default."""
        ref = self._default.ref if self._default is not None else None
        return None if ref is None else ref.id

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Every worker as plain data, those of the default version first."""
        groups = [*([self._default] if self._default else []), *self._others.groups()]
        return [worker for group in groups for worker in group.workers()]

    @property
    def versions(self) -> set[str]:
        """The ids of the versions that workers have loaded or are about to load."""
        return {*self._others.ids(), *self.needed_versions}

    @property
    def needed_versions(self) -> set[str]:
        """The same without those that are only kept warm."""
        refs = [self._newest, self._default.ref if self._default is not None else None]
        return {*self._others.busy(), *(ref.id for ref in refs if ref is not None)}

    def refuses(self, version: str) -> bool:
        """True if its own code said that it cannot be loaded: trying again changes nothing."""
        return version in self._refused

    # -- calls --------------------------------------------------------------------------------

    async def predict(
        self,
        request: RequestData,
        weights: WeightsRef | None,
        folder: Path,
        timeout_s: float | None = None,
        items: int = 1,
    ) -> Prediction:
        """One prediction by the chosen version (None: the default), of so many items.

        Raises what the worker answers with, WorkerDied with how it ended, DeadlineExceeded,
        ModelUnavailable, NoWeights and NotSupported. Cancelling drops a call that waits; one that
        runs goes on in its worker, and its answer is thrown away.
        """
        limit = timeout_s or self.predict_timeout_s
        group = self._default
        if group is None or self.description is None or not self._first_try.is_set():
            raise self._unavailable()
        if self.error is not None and weights is None:
            raise self._unavailable()
        if "predict" not in self.description.capabilities:
            raise NotSupported(f"The model {self.name!r} cannot predict.")
        if weights is not None and weights.id != self.weights:
            group = self._others.get(weights)
        elif not group.load:
            problem = "yet" if self.weights_error is None else f"to use ({self.weights_error})"
            raise NoWeights(
                f"The model {self.name!r} has no weights {problem}: train it first "
                f"(POST /v2/models/{self.name}/train/)."
            )
        return await group.predict(request, folder, limit, items)

    def coming(self, size: int) -> AbstractContextManager[None]:
        """For reading a request of so many bytes: they count as waiting for the default version.

        Raises Busy if they cannot.
        """
        if self._default is None or not self._default.load:
            return nullcontext()
        return self._default.calls.coming(size)

    async def validate(self, which: str, request: RequestData) -> Validated:
        """Checks arguments, also while the worker predicts. Raises as `predict` does."""
        message = Validate(which=which, request=request.to_data(), body=request.body)
        answer = await self._questions.ask(message)
        assert isinstance(answer, Validated)
        return answer

    async def describe_again(self) -> ModelDescription:
        """A fresh description: choices may have changed."""
        answer = await self._questions.ask(Describe())
        assert isinstance(answer, Described)
        described = ModelDescription.from_data(answer.description)
        if described != self.description:  # the same object while it says the same
            self.description = described
        # Describing anew is also what lets a worker see new choices when it checks arguments.
        for process in self._processes() or ():
            process.ask(Describe(), lambda answer: None)
        return described

    def _processes(self) -> list[WorkerProcess] | None:
        return None if self._default is None else self._default.processes()

    def _unavailable(self) -> ModelUnavailable:
        if self.error is not None:
            return ModelUnavailable(self.error.message, 30.0)
        return ModelUnavailable(f"The model {self.name!r} is being loaded.", 2.0)

    # -- versions -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """A run is about to publish: has a process import the plugin, so that the swap is quick."""
        if self._default is not None and self._default.load:
            self._spare.prepare()

    async def _import_spare(self) -> WorkerProcess:
        process = self._start(lambda ended: None)
        try:
            await self._group(None, load=False).import_plugin(process)
        except BaseException:
            await asyncio.shield(process.close(0.0))
            raise
        return process

    async def use_weights(self, ref: WeightsRef) -> None:
        """Makes a version the default: its workers are started and warmed, then the pointer moves.

        The old workers finish what they have, and stay warm for explicit choices. If the new ones
        cannot be loaded the old keep serving, and `weights_error` says why.
        """
        if not self.takes_weights:
            return
        self._newest = ref
        async with self._swapping:
            if self._newest != ref or self.weights == ref.id or self._default is None:
                return
            try:
                await self._swap(ref)
            except ModelyardError as error:
                self._not_loaded(ref, error)
                if self._newest == ref:
                    self._newest = None
            else:
                self.weights_error = self.error = None
                await self._taken(ref)

    def _not_loaded(self, ref: WeightsRef, error: ModelyardError) -> None:
        self.weights_error = f"Weights {ref.id}: {error.message}"
        log.error("weights not loaded", extra={"model": self.name, "why": error.message})
        if isinstance(error, PluginFailed) and error.original_type:
            self._refused.add(ref.id)

    async def _taken(self, ref: WeightsRef) -> None:
        self._refused.discard(ref.id)
        if self._source_of_defaults is not None:
            await self._source_of_defaults.taken(self.name, ref.id)

    async def renew(self) -> None:
        """Replaces the workers of a model that chooses its weights itself, without a gap.

        A training has left new files, and a DEEPaaS module may have listed them when it was
        imported or warmed. If the new workers cannot be loaded, the old keep serving.
        """
        self._renewals += 1
        this = self._renewals
        async with self._swapping:
            if self.takes_weights or self._default is None or this != self._renewals:
                return  # another training has ended meanwhile: one renewal is enough for both
            old, new = self._default, self._group(None, load=self._default.load)
            try:
                await new.open(await self._spare.take())
            except ModelyardError as error:
                self.weights_error = f"After a training: {error.message}"
                log.error("model not renewed", extra={"model": self.name, "why": error.message})
                return
            self._default, self.weights_error = new, None
            self._others.retire(old)

    async def _swap(self, ref: WeightsRef) -> None:
        old = self._default
        assert old is not None
        if not old.load:
            await old.assign(ref)
            return
        new = await self._others.take(ref.id)
        if new is None:
            new = self._group(ref, load=True)
            await new.open(await self._spare.take())
        self._default = new
        new.calls.take_over(old.calls)
        if old.ref is not None:
            self._others.keep(old.ref.id, old)
        else:
            self._others.retire(old)

    async def release(self, version: str) -> None:
        """The version is being deleted: workers of it beside the default ones end."""
        if self._newest is not None and self._newest.id == version:
            self._newest = None  # it could not be loaded, and is not to be tried again
        await self._others.release(version, "These weights were deleted.")

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
