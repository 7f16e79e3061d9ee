"""Composes what keeps weights and datasets where they are meant to be: with `--storage`, in the
shared store."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ..errors import CannotStart, InvalidSettings, StoreRefused
from ..records.home import Home
from ..records.store import RecordStore
from ..serving.pool import ServingPool
from ..settings import Settings
from ..storage.aliases import Aliases
from ..storage.cache import StoreCache
from ..storage.datasets.service import Datasets
from ..storage.datasets.uploads import Uploads
from ..storage.keeper import WeightsKeeper
from ..storage.office import StorageOffice
from ..storage.publishing import Publisher
from ..storage.retention import Retention
from ..storage.stores.url import parse_store_url, without_secrets
from ..storage.sync import StoreSync
from ..storage.weights import WeightsVersions
from .defaults import Defaults
from .model_reader import ModelReader
from .upload_desk import UploadDesk
from .users import WeightsUsers

log = logging.getLogger(__name__)

FIRST_S = 15.0
"""A start waits so long for the store, and once more for its first list if it answers."""


@dataclass(frozen=True)
class StoreRooms:
    """What keeps weights and datasets: in HOME, and in the shared store if there is one."""

    versions: WeightsVersions
    aliases: Aliases
    office: StorageOffice | None
    """The shared store; it, `publisher` and `sync` are None without `--storage`."""
    publisher: Publisher | None
    cache: StoreCache
    users: WeightsUsers
    keeper: WeightsKeeper
    defaults: Defaults
    reader: ModelReader
    datasets: Datasets
    desk: UploadDesk
    sync: StoreSync | None


async def open_store_rooms(
    settings: Settings,
    home: Home,
    store: RecordStore,
    pool: ServingPool,
    stack: AsyncExitStack,
) -> StoreRooms:
    """Opens them in reading order; `stack` closes them in reverse. `pool` is not started yet.

    A store that is down is no reason not to start. Raises CannotStart, with a remedy, for one that
    refuses this server.
    """
    office, answers = await _office(settings, home, stack)
    shared = office is not None
    versions = WeightsVersions(home.weights, store, home.server_id, shared)
    aliases = Aliases(store, home.server_id, shared, versions.going)

    cache = StoreCache(office, settings.storage_cache)
    stack.push_async_callback(cache.close)

    publisher = None if office is None else Publisher(office)
    if publisher is not None:
        stack.push_async_callback(publisher.close)

    users = WeightsUsers(store, pool)
    sync: StoreSync | None = None

    def on_stored() -> None:
        if sync is not None:
            sync.wake()

    policies = {
        name: Retention(own.keep_last, own.keep_best_by) for name, own in settings.models.items()
    }
    keeper = WeightsKeeper(versions, store, office, publisher, cache, users, on_stored, policies)
    defaults = Defaults(versions, keeper, pool)
    stack.push_async_callback(defaults.close)

    reader = ModelReader(settings, home, pool)
    datasets = Datasets(home, store, reader, cache, office, publisher)
    stack.push_async_callback(datasets.close)
    desk = UploadDesk(Uploads(home.uploads), datasets)
    stack.push_async_callback(desk.close)

    async def on_moved(models: set[str]) -> None:
        defaults.follow(models)

    if office is not None:
        sync = StoreSync(office, store, [keeper, datasets.shelf], home.store, on_moved)
        stack.push_async_callback(sync.close)
        # A store that has not answered yet will not tell in a moment what it has.
        await sync.start(FIRST_S if answers else 0.0)
    await keeper.start()
    await datasets.start()
    await desk.start()
    return StoreRooms(
        versions, aliases, office, publisher, cache, users, keeper, defaults,
        reader, datasets, desk, sync,
    )  # fmt: skip


def check_store(settings: Settings) -> None:
    """Before anything is made: raises InvalidSettings where `storage` is no address of a store."""
    if settings.storage is None:
        return
    try:
        parse_store_url(settings.storage)
    except StoreRefused as error:
        told = f"{without_secrets(settings.storage)}: {error.message}."
        raise InvalidSettings.of({"storage": [told]}) from error


async def _office(
    settings: Settings, home: Home, stack: AsyncExitStack
) -> tuple[StorageOffice | None, bool]:
    """The store, and whether it answers."""
    if settings.storage is None:
        return None, False
    check_store(settings)  # an application that is not run by `api/server.py`
    told = without_secrets(settings.storage)
    office = StorageOffice(settings.storage, home, os.environ, home.logs / "storage.log")
    stack.push_async_callback(office.close)
    try:
        async with asyncio.timeout(FIRST_S):
            await office.start()
    except TimeoutError:
        log.warning("the store does not answer; what is here is served, the rest follows")
        return office, False
    except InvalidSettings:
        raise
    except StoreRefused as error:
        raise CannotStart(f"--storage {told}: {error.message}") from error
    return office, office.problem is None
