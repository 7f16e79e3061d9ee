"""A front to be killed: serves two models, one busy, prints its workers' pids, and waits."""

import asyncio
import sys
from pathlib import Path

from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.transport import RequestData
from modelyard.serving.choices import Choice
from modelyard.serving.options import ServingOptions
from modelyard.serving.pool import ServingPool


async def main(folder: Path) -> None:
    sources = [
        PluginSource("hostile", "yard_fixtures.hostile:Hostile"),
        PluginSource("bare", "yard_fixtures.bare:Bare"),
    ]
    pool = ServingPool(sources, ServingOptions(), folder / "logs")

    class Nothing:
        async def choices(self, model: str) -> list[Choice]:
            return []

        async def taken(self, model: str, version: str) -> None: ...

    await pool.start(Nothing())
    await pool.wait_loaded(["hostile", "bare"])
    hanging = RequestData(body=b'{"do": "hang"}')
    call = asyncio.ensure_future(
        pool.get("hostile").submit(hanging, None, folder / "call").answer()
    )
    await asyncio.sleep(0.2)
    print(*(handle.workers[0]["pid"] for handle in pool.all()), flush=True)
    await call


asyncio.run(main(Path(sys.argv[1])))
