"""What a server has of weights, without the server: for tests of how versions are kept."""

import asyncio
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from modelyard.records.home import Home
from modelyard.records.store import RecordStore
from modelyard.storage.aliases import Aliases
from modelyard.storage.cache import StoreCache
from modelyard.storage.keeper import WeightsKeeper
from modelyard.storage.office import StorageOffice
from modelyard.storage.publishing import Publisher
from modelyard.storage.retention import Retention
from modelyard.storage.sync import StoreSync
from modelyard.storage.weights import WeightsVersions

SIZE = 1000


class Users:
    """Nobody needs a version but those that the test says."""

    def __init__(self):
        self.ids = set()

    async def loaded(self):
        return self.ids

    async def needed(self):
        return self.ids

    async def release(self, model, version):
        self.ids.discard(version)


class Yard:
    """What a server has of weights, with a store or without, in one home."""

    def __init__(
        self, root: Path, url: str | None, limit: int = 0, policy: Retention | None = None
    ):
        self.root, self.url = root, url
        self.limit, self.policy = limit, policy
        self.users = Users()
        self.moved: list[set[str]] = []

    async def open(self):
        self.home = Home(self.root)
        self.home.open()
        self.store = RecordStore(self.home.database)
        await self.store.open()
        self.office = self.publisher = self.sync = None
        if self.url is not None:
            log = self.home.logs / "storage.log"
            self.office = StorageOffice(self.url, self.home, os.environ, log)
            self.publisher = Publisher(self.office, first_s=0.05, longest_s=0.2)
        shared = self.office is not None
        server = self.home.server_id
        self.versions = WeightsVersions(self.home.weights, self.store, server, shared)
        self.aliases = Aliases(self.store, server, shared, self.versions.going)
        self.cache = StoreCache(self.office, self.limit, grace_s=0)
        self.keeper = WeightsKeeper(
            self.versions, self.store, self.office, self.publisher, self.cache, self.users,
            lambda: None, {} if self.policy is None else {"m": self.policy},
        )  # fmt: skip
        if self.office is not None:
            self.sync = StoreSync(
                self.office, self.store, [self.keeper], self.home.store, self._on_moved, 600
            )
            await self.sync.start(20)
        await self.versions.start()
        await self.keeper.start()
        return self

    async def _on_moved(self, models):
        self.moved.append(models)

    async def close(self):
        if self.sync is not None:
            await self.sync.close()
            await self.publisher.close()
        await self.cache.close()
        if self.office is not None:
            await self.office.close()
        await self.store.close()
        self.home.close()

    async def make(self, number: int, origin: str = "training", **more):
        """A version as a training leaves it, listed and on its way."""
        source = bundle(self.home.tmp / origin / f"{number}", number, origin=origin, **more)
        version = await self.versions.publish(source)
        await self.keeper.added(version)
        return version

    async def until(self, version, state):
        async with asyncio.timeout(20):
            while (now := await self.versions.get("m", version.id)).state != state:
                await asyncio.sleep(0.02)
            return now

    async def ids(self):
        return [version.id for version in await self.versions.list("m")]


def bundle(folder: Path, number: int, **more) -> Path:
    content = os.urandom(SIZE)
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "w.bin").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "format": 1, "kind": "weights", "id": f"{number:032x}", "model": "m", "run": None,
        "created_at": datetime(2026, 1, 1, 0, number, tzinfo=UTC).isoformat(),
        "metrics": {"loss": 1 / number}, "size": SIZE,
        "files": [{"path": "w.bin", "size": SIZE, "sha256": digest}], **more,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
