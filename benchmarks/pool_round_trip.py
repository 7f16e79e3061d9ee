"""A prediction from the front's pool to a worker and back, without HTTP: CPU time of both."""

import os
import tempfile
import time
from pathlib import Path

import uvloop
from yard import cpu_us, quartiles

from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.transport import RequestData
from modelyard.serving.options import ModelOptions, ServingOptions
from modelyard.serving.pool import ServingPool

ROUNDS = 20
CALLS = 1000
PLUGINS = Path(__file__).parent / "plugins"


async def _measure(folder: Path) -> dict[str, str]:
    options = ModelOptions(env={"PYTHONPATH": str(PLUGINS)})
    pool = ServingPool(
        [PluginSource("trivial", "bench_models:Trivial")],
        ServingOptions(per_model={"trivial": options}),
        folder,
    )

    async def none(model: str) -> None:
        return None

    await pool.start(none)
    await pool.wait_loaded(["trivial"])
    handle = pool.get("trivial")
    worker = handle.workers[0]["pid"]
    request = RequestData(headers={"content-type": "application/json"}, body=b'{"x": 1}')
    walls, fronts, workers = [], [], []
    for _ in range(ROUNDS):
        front_before, worker_before = cpu_us(os.getpid()), cpu_us(worker)
        started = time.perf_counter()
        for _ in range(CALLS):
            await handle.submit(request, None, folder / "call").answer()
        walls.append((time.perf_counter() - started) / CALLS * 1e6)
        fronts.append((cpu_us(os.getpid()) - front_before) / CALLS)
        workers.append((cpu_us(worker) - worker_before) / CALLS)
    await pool.close()
    return {
        "one after the other, us": quartiles(walls),
        "CPU of the front, us": quartiles(fronts),
        "CPU of the worker, us": quartiles(workers),
    }


def measure() -> dict[str, str]:
    """A trivial model with one validated number, called through the pool."""
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))
