"""Real run folders and real processes for the tests of training."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.models_plugin.plugin import PluginSource
from modelyard.training.executor import LocalExecutor, read_identity
from modelyard.training.identity import Identity
from modelyard.training.marker import marked
from modelyard.training.messages import Control, RunOrder
from modelyard.training.paths import RunPaths, read_json, write_bytes, write_json

PLUGINS = Path(__file__).parent / "plugins"


@dataclass
class TestRun:
    """One run folder, as the server would have written it."""

    __test__ = False
    paths: RunPaths
    executor: LocalExecutor
    epoch: int = 1

    async def launch(self, epoch: int | None = None) -> None:
        self.epoch = self.epoch if epoch is None else epoch
        write_bytes(self.paths.epoch, str(self.epoch).encode())
        await self.executor.launch(self.paths, self.epoch, environment())

    async def ended(self, within_s: float = 60.0) -> dict[str, Any]:
        """The exit record of this epoch, as soon as it is there."""

        def found() -> bool:
            return (read_json(self.paths.exit) or {}).get("epoch") == self.epoch

        await until(found, within_s, self.last_words)
        return read_json(self.paths.exit) or {}

    async def cancel(self, **more: Any) -> None:
        write_json(self.paths.control, Control(self.epoch, "cancel", **more).to_data())
        await self.executor.signal(self.paths)

    async def in_phase(self, phase: str, within_s: float = 60.0) -> None:
        def there() -> bool:
            return (read_json(self.paths.status) or {}).get("phase") == phase

        await until(there, within_s, self.last_words)

    async def gone(self, within_s: float) -> None:
        """Waits until no process carries the run's id."""
        await until(lambda: not self.living(), within_s, lambda: f"living: {self.living()}")

    async def until(self, condition: Callable[[], Any], within_s: float = 60.0) -> None:
        await until(condition, within_s, self.last_words)

    def identity(self, which: str) -> Identity:
        found = read_identity(getattr(self.paths, which))
        assert found is not None
        return found

    def living(self) -> list[int]:
        """Every process that carries the run's id."""
        return [stat.pid for stat in marked(self.paths.id)]

    def last_words(self) -> str:
        texts = [p.read_text() for p in (self.paths.supervisor_log, self.paths.log) if p.exists()]
        return "\n".join(texts)[-3000:]


async def until(condition: Callable[[], Any], within_s: float, why: Callable[[], str]) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s} s\n{why()}"
        await asyncio.sleep(0.01)


def environment() -> dict[str, str]:
    """What the server would give a run: enough to import, and the plugins of these tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PLUGINS), "TOLD": "yes"}


def run_folder(root: Path, module: str = "behaving:Behaving", **arguments: Any) -> RunPaths:
    """Writes a run folder as the server does before it launches; `arguments` are the JSON body."""
    paths = RunPaths(root / uuid.uuid4().hex)
    paths.root.mkdir(parents=True)
    order = RunOrder(
        id=paths.id,
        model="behaving",
        source=PluginSource(name="behaving", value=module).to_data(),
        request={"headers": {"content-type": "application/json"}},
        seed=7,
        threads=1,
        nice=5,
    )
    paths.body.write_bytes(json.dumps(arguments).encode())
    write_json(paths.run, order.to_data())
    write_bytes(paths.epoch, b"1")
    return paths


@pytest.fixture
async def executor(tmp_path: Path) -> AsyncIterator[LocalExecutor]:
    """An executor, closed at the end."""
    logs = tmp_path / "logs"
    logs.mkdir()
    made = LocalExecutor(logs)
    yield made
    await made.close()


@pytest.fixture
def new_run(tmp_path: Path, executor: LocalExecutor) -> Iterator[Callable[..., TestRun]]:
    """Makes runs; whatever of them still lives at the end of the test is killed."""
    made: list[TestRun] = []

    def make(how: str = "finish", **arguments: Any) -> TestRun:
        module = arguments.pop("module", "behaving:Behaving")
        if module == "behaving:Behaving":
            arguments["how"] = how
        made.append(TestRun(run_folder(tmp_path / "runs", module, **arguments), executor))
        return made[-1]

    yield make
    for run in made:
        for stat in marked(run.paths.id):
            with suppress(ProcessLookupError):  # it has just ended by itself
                Identity.of(stat.pid).signal(signal.SIGKILL)
