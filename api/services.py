"""What the handlers work with: the rooms below, opened once and handed to every request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from ..errors import InvalidArguments, ModelUnavailable, NoWeights, WeightsNotFound
from ..records.datasets import DatasetRecord
from ..records.home import Home
from ..records.store import RecordStore
from ..schemas.model_operations import SHORTEST_TIMEOUT_S
from ..schemas.transport import RequestData
from ..serving.handle import ModelHandle
from ..serving.messages import Prediction, WeightsRef
from ..serving.pool import ServingPool
from ..settings import Settings
from ..storage.weights import WeightsVersion
from ..training.purging import RunPurge
from ..training.service import RunService
from ..training.tensorboard import TensorBoard
from .access.gate import Gate
from .access.trail import Trail
from .door import Door
from .store_rooms import StoreRooms

LOOK_S = 5.0
"""A request for a version that is not known here waits so long for what the store tells."""


@dataclass(frozen=True)
class Services:
    """Everything that lives as long as the application, in the order in which it was opened."""

    settings: Settings
    home: Home
    store: RecordStore
    gate: Gate
    trail: Trail
    rooms: StoreRooms
    runs: RunService
    purge: RunPurge
    pool: ServingPool
    tensorboard: TensorBoard
    door: Door
    stopping: asyncio.Event
    """Set when the server is about to stop: answers that follow a run end themselves."""

    def url(self, path: str) -> str:
        """A path of this server with its prefix."""
        return self.settings.base_path + path

    def told(self) -> None:
        """Something was named here: others who share the store hear of it soon."""
        if self.rooms.sync is not None:
            self.rooms.sync.wake()

    async def added(self, version: WeightsVersion) -> None:
        """A version came by other ways than a training: published, named to others, taken up."""
        await self.rooms.keeper.added(version)
        self.rooms.defaults.follow([version.model])
        self.told()

    async def version(self, model: str, name: str, limit_s: float | None = None) -> WeightsVersion:
        """The version of this id or alias; what is not known here is looked for in the store, for
        `limit_s` at most.

        Raises WeightsNotFound.
        """
        found = await self.rooms.versions.find(model, name)
        if found is None and self.rooms.sync is not None:
            await self.rooms.sync.look(LOOK_S if limit_s is None else min(LOOK_S, limit_s))
        return found or await self.rooms.versions.get(model, name)

    async def dataset(self, reference: str) -> DatasetRecord:
        """The dataset of this id, name (its newest version) or name@number; what is not known here
        is looked for in the store.

        Raises DatasetNotFound.
        """
        found = await self.rooms.datasets.find(reference)
        if found is None and self.rooms.sync is not None:
            await self.rooms.sync.look(LOOK_S)
        return found or await self.rooms.datasets.get(reference)

    async def predict(
        self,
        handle: ModelHandle,
        request: RequestData,
        weights: WeightsRef | None,
        folder: Path | str,
        timeout_s: float | None = None,
        sticky: str | None = None,
    ) -> Prediction:
        """One prediction, as `ModelHandle.submit` has it; a first version that is being taken over
        at this moment, or is not here yet, is waited for."""
        try:
            return await handle.submit(request, weights, folder, timeout_s, sticky).answer()
        except NoWeights:
            loop = asyncio.get_running_loop()
            until = loop.time() + (timeout_s or handle.predict_timeout_s)
            await self.rooms.defaults.take(handle.name, until - loop.time())
            left_s = max(until - loop.time(), SHORTEST_TIMEOUT_S)
            return await handle.submit(request, weights, folder, left_s, sticky).answer()

    async def weights_ref(
        self, model: str, choice: str, limit_s: float | None = None
    ) -> WeightsRef:
        """The version that a client chose, an id or an alias, with its files here.

        Raises InvalidArguments naming the choices; Busy if fetching it from the store takes longer
        than `limit_s`, and StoreUnavailable.
        """
        try:
            version = await self.version(model, choice, limit_s)
        except WeightsNotFound as error:
            newest = [item.id for item in await self.rooms.versions.list(model, 5)]
            names = ", ".join([*await self.rooms.versions.aliases(model), *newest])
            known = f" Known are, the newest first: {names}." if newest else ""
            raise InvalidArguments({"weights": [error.message + known]}) from error
        return await self.local(version, limit_s)

    async def local(self, version: WeightsVersion, limit_s: float | None = None) -> WeightsRef:
        """The version with its files here. Raises Busy and StoreUnavailable as `weights_ref`."""
        version = await self.rooms.keeper.local(version, limit_s)
        return WeightsRef(version.id, version.folder)


SERVICES = web.AppKey("services", Services)
QUERY = web.RequestKey("query", dict[str, Any])
"""Key under which a request carries its validated query (`api/routes.py` puts it there)."""
BODY = web.RequestKey("body", dict[str, Any])
"""Key of a request's validated JSON body; not there if the body is an upload."""


def root_of(request: web.Request) -> str:
    """The address of this server's root as the sender sees it, without a last slash.

    By `public_url`, else by the name that they called us by, which is one of ours (`guard.py`).
    """
    settings = services(request).settings
    return settings.public_url or f"{request.scheme}://{request.host}{settings.base_path}"


def services(request: web.Request) -> Services:
    """The services of the application that got this request."""
    return request.config_dict[SERVICES]


def model_of(request: web.Request) -> ModelHandle:
    """The model that the address names. Raises ModelNotFound."""
    return services(request).pool.get(request.match_info["model"])


async def described_model_of(request: web.Request) -> ModelHandle:
    """As `model_of`, its arguments known: they decide which parameters of a query are the server's.

    Raises ModelNotFound.
    """
    return await described(model_of(request))


async def described(handle: ModelHandle) -> ModelHandle:
    """The model with its arguments known.

    One that is being imported is waited for some seconds; what it cannot do then is told where it
    is asked for.
    """
    if handle.description is None:
        with suppress(ModelUnavailable):
            await handle.describe_again()
    return handle


async def model_name_of(request: web.Request) -> str:
    """The model's name, also of one that is not served here but has runs or weights.

    Raises ModelNotFound.
    """
    here, name = services(request), request.match_info["model"]
    if name not in here.pool:
        known = (await here.runs.list(name, 1))[0] or await here.rooms.versions.list(name, 1)
        if not known:
            here.pool.get(name)
    return name


def argument_names(handle: ModelHandle, which: str) -> frozenset[str]:
    """Names of the plugin's arguments, as the worker described them last."""
    described: Any = handle.description
    fields = getattr(described, f"{which}_arguments", None) if described else None
    return frozenset(field.name for field in fields or ())


def header_arguments(handle: ModelHandle, which: str) -> frozenset[str]:
    """Lower-case names of the headers that the plugin's arguments are looked for in."""
    described: Any = handle.description
    fields = getattr(described, f"{which}_arguments", None) if described else None
    return frozenset(field.name.lower() for field in fields or () if field.place == "headers")


def server_parameter(request: web.Request, taken: frozenset[str], name: str) -> str | None:
    """A parameter of the server beside the plugin's arguments, by header or short query name.

    `weights` is `X-Modelyard-Weights` and `?weights=`; where the plugin has an argument of that
    name the query is the plugin's, and only the header is ours. Raises InvalidArguments if it is
    given more than once.
    """
    header = f"X-Modelyard-{name.title().replace('_', '-')}"
    value = request.headers.get(header)
    values = request.query.getall(name, []) if name not in taken else []
    if value is not None and values:
        raise InvalidArguments({name: [f"Given by the header {header} too: give it once."]})
    if len(values) > 1:
        raise InvalidArguments({name: [f"Given {len(values)} times: give it once."]})
    return values[0] if values else value


@contextmanager
def telling_where(*names: str) -> Iterator[None]:
    """Of parameters of the server that were sent among the plugin's arguments, and refused there
    as unknown, the refusal tells the place."""
    try:
        yield
    except InvalidArguments as error:
        tell_where(error, *names)
        raise


def tell_where(error: InvalidArguments, *names: str) -> None:
    """The same for a refusal that is at hand."""
    for name in names:
        said = error.errors.get(name)
        if isinstance(said, list) and said and str(said[0]).startswith("Unknown argument"):
            header = f"X-Modelyard-{name.title().replace('_', '-')}"
            said[0] += f" The server's own {name!r} goes into the query (?{name}=) or {header}."


def without(pairs: list[tuple[str, str]], names: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The query pairs that are left for the plugin."""
    return [pair for pair in pairs if pair[0] not in names]
