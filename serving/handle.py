"""One served model: its state, its default weights, the workers behind them. Runs in the front."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import (
    Corrupt,
    ModelUnavailable,
    ModelyardError,
    NotSupported,
    PluginFailed,
    StorageUnavailable,
)
from ..models_plugin.plugin import NATIVE_GROUP, PluginSource
from ..schemas.description import ModelDescription
from ..schemas.transport import RequestData
from .call import Call
from .choices import Choice, DefaultWeights, Division
from .coming import Coming
from .counting import counter
from .default import DefaultVersion
from .gate import LoadGate
from .group import Waking, WorkerGroup
from .hearing import is_deaf
from .leftovers import Leftovers
from .load_error import LoadError
from .making import GroupMaker
from .messages import Describe, Described, Prediction, Validate, Validated, WeightsRef
from .observer import Observer, Unobserved
from .options import ServedOptions
from .others import OtherVersions
from .process import WorkerProcess
from .questions import Questions
from .shadow import Shadow
from .spare import Spare
from .traffic import Traffic

log = logging.getLogger(__name__)

_RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


class ModelHandle:
    """What `api/` holds of a model. `state`: see `ModelSchema`."""

    def __init__(
        self,
        source: PluginSource,
        options: ServedOptions,
        logs: Path,
        gate: LoadGate | None = None,
        observer: Observer | None = None,
        waking: Waking | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.source = source
        self.name = source.name
        self.description: ModelDescription | None = None
        self._items = counter(None)
        self.error: LoadError | None = None
        self.predict_timeout_s = options.predict_timeout_s
        self._options = options
        self._gate = gate or LoadGate()
        observer = observer or Unobserved()
        log_file = logs / f"{source.name}.log"
        maker = GroupMaker(
            source, options, log_file, self._describe, observer, waking, leftovers, self._lost
        )
        self._group = maker.group
        self._others = OtherVersions(maker.group, options.keep_versions)
        self.traffic = Traffic(
            maker.group, self._others, Shadow(source.name, options.predict_timeout_s, observer)
        )
        self._spare = Spare(maker.spare)
        self._own = DefaultVersion(
            self.name, maker.group, self._others, self.traffic, self._spare, self._taken
        )
        self._source_of_defaults: DefaultWeights | None = None
        self._first_try = asyncio.Event()
        self._questions = Questions(
            self._processes,
            self._first_try,
            options.validate_timeout_s,
            self._unavailable,
            lambda process: self._spawn(self._replace_deaf(process)),
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
        closing += [self._spare.close(), self.traffic.close(why), self._others.close(why)]
        await asyncio.gather(*closing)

    async def _first_load(self, default_weights: DefaultWeights) -> None:
        for tries in itertools.count():
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
        if self._own.newest is not None:  # a version that came while the model was being imported
            await self.use_weights(self._own.newest)

    def _lost(self, group: WorkerGroup, error: ModelyardError) -> None:
        """No worker of a version can be loaded any more. If the default's files are not what they
        were, the model begins again with what is whole, as at the server's start."""
        if group is not self._default:
            self._others.lost(group)
        elif isinstance(error, Corrupt) and not self._closing:
            self._spawn(self._begin_again(group, error))

    async def _begin_again(self, group: WorkerGroup, error: Corrupt) -> None:
        assert self._source_of_defaults is not None, "it has been opened"
        if await self._own.give_up(group, error):
            self._first_try.clear()
            await self._first_load(self._source_of_defaults)

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
        self._own.group = group = self._group(None, load=False)
        try:
            await group.open()
        except ModelyardError:
            self._own.group = None
            raise
        assert self.description is not None
        capabilities = self.description.capabilities
        if "predict" not in capabilities:
            return
        if not self.takes_weights:
            choices = ()
        if problem is not None:  # without its weights it would predict something else
            self._own.error = problem
        else:
            optional = "weights_optional" in capabilities
            await self._own.assign_first(group, choices, optional)

    async def _taken(self, version: str) -> None:
        if self._source_of_defaults is not None:
            await self._source_of_defaults.taken(self.name, version)

    def _describe(self, description: ModelDescription) -> None:
        self.description = description
        self._items = counter(description)

    # -- state --------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        if self.error is not None:
            return "failed"
        default = self._default
        if default is None or not (default.load or self._first_try.is_set()):
            return "importing"
        if default.asleep:
            return "unloaded"
        if default.ready if default.load else default.processes():
            return "ready"
        return "restarting" if default.crash_loop is None else "crashing"

    @property
    def problem(self) -> str | None:
        """Why it does not serve, in words, while it is failed or crashing."""
        if self.error is not None:
            return self.error.message
        return self._default.crash_loop if self.state == "crashing" and self._default else None

    @property
    def weights_error(self) -> str | None:
        """Why the version that should answer by default does not."""
        return self._own.error

    @property
    def _default(self) -> WorkerGroup | None:
        return self._own.group

    @property
    def takes_weights(self) -> bool:
        """False for DEEPaaS modules: they choose their weights by their own arguments."""
        return self.source.group == NATIVE_GROUP

    @property
    def weights(self) -> str | None:
        """The version that answers by default."""
        return self._own.version

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Every worker as plain data, those of the default version first."""
        return [worker for group in self.groups() for worker in group.workers()]

    def groups(self) -> list[WorkerGroup]:
        """The workers of every version, those of the default first; `calls` is what waits there."""
        default = [] if self._default is None else [self._default]
        return [*default, *self.traffic.groups(), *self._others.groups()]

    @property
    def versions(self) -> set[str]:
        """The ids of the versions that workers have loaded or are about to load."""
        return {*self._others.ids(), *self.needed_versions}

    @property
    def needed_versions(self) -> set[str]:
        """The same without those that are only kept warm."""
        refs = [self._own.newest, self._default.ref if self._default is not None else None]
        own = {ref.id for ref in refs if ref is not None}
        return self._others.busy() | self.traffic.ids() | own

    def refuses(self, version: str) -> bool:
        """True if its own code said that it cannot be loaded: trying again changes nothing."""
        return self._own.refuses(version)

    # -- calls --------------------------------------------------------------------------------

    def submit(
        self,
        request: RequestData,
        weights: WeightsRef | None,
        folder: Path | str,
        timeout_s: float | None = None,
        sticky: str | None = None,
    ) -> Call:
        """One prediction by the chosen version, on its way: wait for its `answer()`, or its
        `future`. None: by the default, or as the calls are divided; those with the same `sticky` go
        the same way.

        Raises ModelUnavailable, Busy, NoWeights and NotSupported; `answer()` what the worker says,
        WorkerDied with how it ended, and DeadlineExceeded. Cancelling that drops a call that
        waits; one that runs goes on in its worker, and its answer is thrown away.
        """
        limit = timeout_s or self.predict_timeout_s
        if self.description is None or (self.error is not None and weights is None):
            raise self._unavailable()
        if "predict" not in self.description.capabilities:
            raise NotSupported(f"The model {self.name!r} cannot predict.")
        if weights is None or weights.id == self.weights:
            group = self._usual(weights is None, sticky)
        else:
            group = self._chosen(weights)
        return group.submit(request, folder, limit, self._items(request))

    def _usual(self, divided: bool, sticky: str | None) -> WorkerGroup:
        """Who answers by default, or as calls are divided: while the default begins again, those
        that have a share. Raises ModelUnavailable and NoWeights."""
        default = self._default if self._first_try.is_set() else None
        loaded = default if default is not None and default.load else None
        group = self.traffic.choose(loaded, sticky) if divided else loaded
        if group is not None:
            return group
        if default is None:
            raise self._unavailable()
        raise self._own.no_weights()

    def _chosen(self, weights: WeightsRef) -> WorkerGroup:
        """Who answers with another version, however the default is. Raises as `submit`."""
        warm = self.traffic.get(weights.id) or self._others.warm(weights.id)
        if warm is None and (self._default is None or not self._first_try.is_set()):
            raise self._unavailable()
        return warm or self._others.get(weights)

    def copied(self, request: RequestData, folder: Path | str, prediction: Prediction) -> bool:
        """For a call that named no version and has been answered: the shadow may get a copy.

        True if it does: the call's folder is removed by it.
        """
        shadow, default = self.traffic.shadow, self._default
        if shadow is None or default is None:
            return False
        return shadow.take(request, folder, self._items(request), prediction, default)

    def expect(self, size: int) -> Coming:
        """For reading a request that announces so many bytes: what has come counts as waiting for
        the default version. Raises Busy if they could not wait."""
        if self._default is None or not self._default.load:
            return Coming(None)
        return self._default.calls.expect(size)

    async def validate(self, which: str, request: RequestData) -> Validated:
        """Checks arguments, also while the worker predicts. Raises as `predict` does."""
        message = Validate(which=which, request=request.to_data(), body=request.payload())
        answer = await self._questions.ask(message)
        assert isinstance(answer, Validated)
        return answer

    async def describe_again(self) -> ModelDescription:
        """A fresh description: choices may have changed."""
        answer = await self._questions.ask(Describe())
        assert isinstance(answer, Described)
        described = ModelDescription.from_data(answer.description)
        if described != self.description:  # the same object while it says the same
            self._describe(described)
        # Describing anew is also what lets a worker see new choices when it checks arguments.
        for process in self._processes() or ():
            process.ask(Describe(), lambda answer: None)
        return described

    def _processes(self) -> list[WorkerProcess] | None:
        if self._default is None:
            return None
        self._default.wake()  # who asks wants an answer
        return self._default.processes()

    async def _replace_deaf(self, process: WorkerProcess) -> None:
        """Of a worker that answers no more beside its predictions: those go on until others have
        taken its place, and if none can be loaded."""
        if process.deaf or not await is_deaf(process):
            return
        if self._default is not None and process in self._default.processes():
            await self._own.renew("Its process answered no more beside its predictions")

    def _unavailable(self) -> ModelUnavailable:
        if self.error is not None:
            return ModelUnavailable(self.error.message, 30.0)
        return ModelUnavailable(f"The model {self.name!r} is being loaded.", 2.0)

    # -- versions -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """A run is about to publish: has a process import the plugin, so that the swap is quick."""
        if self._default is not None and self._default.load:
            self._spare.prepare()

    async def use_weights(self, ref: WeightsRef) -> None:
        """Makes a version the default. If its workers cannot be loaded the old ones keep serving,
        and `weights_error` says why."""
        if self.takes_weights and await self._own.use(ref):
            self.error = None

    async def renew(self) -> None:
        """Replaces the workers of a model that chooses its weights itself, without a gap.

        A training has left new files, and a DEEPaaS module may have listed them when it was
        imported or warmed. If the new workers cannot be loaded, the old keep serving.
        """
        if not self.takes_weights:
            await self._own.renew("After a training")

    async def release(self, version: str) -> None:
        """The version is being deleted: workers of it beside the default ones end."""
        self._own.forget(version)
        why = "These weights were deleted."
        await self._others.release(version, why)
        await self.traffic.release(version, why)

    async def divide(self, division: Division | None) -> None:
        """Divides the calls that name no version between versions whose workers are warmed first.

        What cannot be loaded gets none: `traffic.problem` says why. None: all go to the default.
        """
        if self.takes_weights and (division is not None or self.traffic.divided):
            await self.loaded()
            if self._default is not None:
                await self.traffic.divide(division)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
