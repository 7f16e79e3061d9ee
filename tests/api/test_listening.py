"""When a server that waits for its models opens its port."""

import asyncio

import pytest
from aiohttp import web

from modelyard.api.app import create_app
from modelyard.api.server import until_loaded
from modelyard.errors import ModelFailedToLoad
from modelyard.models_plugin.plugin import DEEPAAS_GROUP, PluginSource
from modelyard.settings import Settings

BROKEN = PluginSource("broken", "a_package_that_is_missing", DEEPAAS_GROUP)
WORKING = PluginSource(
    "working", "http.server", DEEPAAS_GROUP
)  # a module with none of the functions


@pytest.fixture
async def wait(tmp_path):
    """Waits for the models of an application; it ends with the test."""
    runners = []

    async def wait(*sources, stop=None):
        settings = Settings(home=tmp_path, warm_start=False)
        app = create_app(settings, sources)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await until_loaded(app, settings, stop or asyncio.Event())

    yield wait
    for runner in runners:
        await runner.cleanup()


async def test_without_a_name_the_only_model_has_to_be_importable(wait):
    """DEEPaaS serves a dummy model in its place, and users wonder where theirs is."""
    with pytest.raises(ModelFailedToLoad, match="a_package_that_is_missing"):
        await wait(BROKEN)


async def test_one_broken_model_does_not_keep_the_others_from_being_served(wait):
    await wait(BROKEN, WORKING)


async def test_a_server_without_any_model_listens(wait):
    await wait()


async def test_a_server_that_is_stopped_meanwhile_does_not_wait(wait):
    stop = asyncio.Event()
    stop.set()
    await wait(BROKEN, stop=stop)
