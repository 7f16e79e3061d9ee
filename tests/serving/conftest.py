"""Pools with real worker processes, without a server before them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.transport import RequestData
from modelyard.serving.choices import Choice
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
        self.used = []

    async def predict(self, model, timeout_s=None, weights=None, **arguments):
        answer = await self.ask(model, timeout_s, weights, **arguments)
        return json.loads(answer.body)["predictions"]

    async def ask(self, model, timeout_s=None, weights=None, **arguments):
        request = RequestData(body=json.dumps(arguments).encode())
        return (
            await self.pool.get(model)
            .submit(request, weights, self.folder / "call", timeout_s)
            .answer()
        )

    def worker(self, model):
        return self.pool.get(model).workers[0]

    def weights(self, text):
        """A version whose only file says `text`."""
        folder = self.folder / "weights" / text
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "text").write_text(text)
        return WeightsRef(text, folder)


class Begin:
    """What every model begins with: the first of `texts` that can be loaded."""

    def __init__(self, serving, texts, by_hand):
        self.serving, self.texts, self.by_hand = serving, texts, by_hand

    async def choices(self, model):
        return [Choice(self.serving.weights(text), self.by_hand) for text in self.texts]

    async def taken(self, model, version):
        self.serving.used.append(version)


@pytest.fixture
async def serve(tmp_path):
    """Serves models given as name="module:Attribute"; every worker is ended after the test."""
    opened = []

    async def start(*weights, env=None, wait=True, options=None, by_hand=True, own=None, **models):
        own = replace(own or ModelOptions(), env={"PYTHONPATH": PATHS, **(env or {})})
        pool = ServingPool(
            [PluginSource(name, value) for name, value in models.items()],
            ServingOptions(per_model=dict.fromkeys(models, own), **(options or {})),
            tmp_path / "logs",
        )
        opened.append(pool)
        serving = Serving(pool, tmp_path)

        await pool.start(Begin(serving, weights, by_hand))
        if wait:
            await pool.wait_loaded(models)
        return serving

    yield start
    for pool in opened:
        await pool.close()
