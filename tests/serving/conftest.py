"""Pools with real worker processes, without a server before them."""

import json
import os
from pathlib import Path

import pytest

from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.transport import RequestData
from modelyard.serving.messages import WeightsRef
from modelyard.serving.options import ModelOptions, ServingOptions
from modelyard.serving.pool import ServingPool

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE / "plugins"), str(HERE.parent / "plugins")])


class Serving:
    """One pool, and short ways to ask its models."""

    def __init__(self, pool, folder):
        self.pool = pool
        self.folder = folder

    async def predict(self, model, timeout_s=None, weights=None, **arguments):
        answer = await self.ask(model, timeout_s, weights, **arguments)
        return json.loads(answer.body)["predictions"]

    async def ask(self, model, timeout_s=None, weights=None, **arguments):
        request = RequestData(body=json.dumps(arguments).encode())
        return await self.pool.get(model).predict(request, weights, self.folder / "call", timeout_s)

    def worker(self, model):
        return self.pool.get(model).workers[0]

    def weights(self, text):
        """A version whose only file says `text`."""
        folder = self.folder / "weights" / text
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "text").write_text(text)
        return WeightsRef(text, folder)


@pytest.fixture
async def serve(tmp_path):
    """Serves models given as name="module:Attribute"; every worker is ended after the test."""
    opened = []

    async def start(weights=None, env=None, wait=True, options=None, **models):
        own = ModelOptions(env={"PYTHONPATH": PATHS, **(env or {})})
        pool = ServingPool(
            [PluginSource(name, value) for name, value in models.items()],
            ServingOptions(per_model=dict.fromkeys(models, own), **(options or {})),
            tmp_path / "logs",
        )
        opened.append(pool)
        serving = Serving(pool, tmp_path)

        async def default(model):
            return None if weights is None else serving.weights(weights)

        await pool.start(default)
        if wait:
            await pool.wait_loaded(models)
        return serving

    yield start
    for pool in opened:
        await pool.close()
