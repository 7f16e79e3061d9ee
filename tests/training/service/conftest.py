"""A run service with everything below it: real home, real records, real processes."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelyard.models_plugin.plugin import PluginSource
from modelyard.records.home import Home
from modelyard.records.runs import RunRecord
from modelyard.records.store import RecordStore
from modelyard.schemas.states import Phase
from modelyard.schemas.transport import RequestData
from modelyard.storage.weights import WeightsVersion, WeightsVersions
from modelyard.training.executor import LocalExecutor, read_identity
from modelyard.training.identity import Identity
from modelyard.training.marker import marked
from modelyard.training.options import TrainingOptions
from modelyard.training.paths import RunPaths, read_json
from modelyard.training.service import RunService

_OF_SUBMIT = {
    "limits",
    "secrets",
    "files",
    "request",
    "args",
    "seed",
    "resumes",
    "repeats",
    "dataset",
}
PLUGINS = Path(__file__).parent.parent / "plugins"


def plugin_environment(source: PluginSource) -> dict[str, str]:
    """What these tests' runs get: enough to import, and the plugins of the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PLUGINS)}


class Yard:
    """One server's training half. `crash` leaves everything as a kill would, without the pid."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.published: list[WeightsVersion] = []
        self.publishing: list[str] = []

    async def start(self, **options: Any) -> "Yard":
        self.home = Home(self.root)
        self.home.open()
        self.store = RecordStore(self.home.database)
        await self.store.open()
        self.versions = WeightsVersions(self.home.weights, self.store)
        self.executor = LocalExecutor(self.home.logs)
        self.service = RunService(
            self.store,
            self.home,
            self.executor,
            self.versions,
            TrainingOptions(
                environment=lambda source, _: plugin_environment(source), nice=0, **options
            ),
            self._on_ended,
            self.publishing.append,
        )
        await self.service.start()
        return self

    async def _on_ended(self, record: RunRecord, version: WeightsVersion | None) -> None:
        if version is not None:
            self.published.append(version)

    async def stop(self) -> None:
        await self.service.close()
        await self.executor.close()
        await self.store.close()
        self.home.close()

    async def submit(self, how: str = "finish", key: str | None = None, **more: Any) -> RunRecord:
        """Submits a run of the plugin `behaving`, as its arguments tell."""
        arguments = {"how": how, **more.pop("arguments", {})}
        request = more.pop("request", None) or RequestData(
            headers={"content-type": "application/json"}, body=json.dumps(arguments).encode()
        )
        source = PluginSource(name="behaving", value=more.pop("plugin", "behaving:Behaving"))
        return await self.service.submit(
            source,
            request,
            more.pop("args", arguments),
            more.pop("secrets", []),
            more.pop("files", None),
            key,
            **more,
        )

    async def walk(self, **arguments: Any) -> RunRecord:
        """Submits a run of the plugin `walking`, which goes on from its checkpoints."""
        more = {name: arguments.pop(name) for name in _OF_SUBMIT & arguments.keys()}
        request = RequestData(
            headers={"content-type": "application/json"}, body=json.dumps(arguments).encode()
        )
        more.setdefault("seed", 7)
        args = {**arguments, **more.pop("args", {})}
        return await self.submit(
            plugin="walking:Walking", args=args, request=more.pop("request", request), **more
        )

    async def get(self, record: RunRecord) -> RunRecord:
        return await self.service.get(record.model, record.id)

    async def until(
        self, record: RunRecord, condition: Callable[[RunRecord], Any], within_s: float = 60.0
    ) -> RunRecord:
        end = time.monotonic() + within_s
        while True:
            now = await self.get(record)
            if condition(now):
                return now
            assert time.monotonic() < end, f"not within {within_s} s: {now}\n{self.words(record)}"
            await self.service.wait_change(now.id, now.rev, 0.05)

    async def finished(self, record: RunRecord, within_s: float = 60.0) -> RunRecord:
        return await self.until(record, lambda now: now.finished, within_s)

    async def in_phase(self, record: RunRecord, phase: Phase, within_s: float = 60.0) -> RunRecord:
        return await self.until(record, lambda now: now.phase is phase, within_s)

    async def gone(self, record: RunRecord, within_s: float = 15.0) -> None:
        """Waits until no process is the run's: its end is told a moment before the last one's."""
        await eventually(lambda: not marked(record.id), within_s)

    def paths(self, record: RunRecord) -> RunPaths:
        return self.service.paths(record)

    def supervisor(self, record: RunRecord) -> Identity:
        found = read_identity(self.paths(record).supervisor)
        assert found is not None
        return found

    def words(self, record: RunRecord) -> str:
        paths = self.paths(record)
        texts = [p.read_text() for p in (paths.supervisor_log, paths.log) if p.exists()]
        return "\n".join([*texts, str(read_json(paths.exit))])[-3000:]

    def kill_all(self) -> None:
        for folder in (self.root / "runs").iterdir():
            for stat in marked(folder.name):
                with suppress(ProcessLookupError):  # it ends by itself in this moment
                    Identity.of(stat.pid).signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with its records migrated, to be copied: a migration takes half a second."""
    root = tmp_path_factory.mktemp("empty") / "home"
    home = Home(root)
    home.open()
    store = RecordStore(home.database)
    asyncio.run(store.open())
    asyncio.run(store.close())
    home.close()
    return root


@pytest.fixture
def home_root(tmp_path: Path, empty_home: Path) -> Path:
    """Where a new home lies."""
    return Path(shutil.copytree(empty_home, tmp_path / "home"))


@pytest.fixture
async def yard(home_root: Path) -> AsyncIterator[Yard]:
    """A started yard with one place for trainings."""
    made = await Yard(home_root).start()
    yield made
    await made.stop()
    made.kill_all()


@pytest.fixture
async def new_yard(home_root: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts yards on one home, one after the other, with options of the test's choice."""
    made: list[Yard] = []

    async def make(**options: Any) -> Yard:
        made.append(await Yard(home_root).start(**options))
        return made[-1]

    yield make
    await made[-1].stop()
    made[-1].kill_all()


async def eventually(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s} s"
        await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually
