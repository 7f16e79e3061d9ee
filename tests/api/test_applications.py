"""Applications are apart: two in one process have their own models, home and base path."""

from aiohttp.test_utils import TestClient, TestServer

from modelyard.api.app import create_app
from modelyard.models_plugin.plugin import PluginSource
from modelyard.settings.models import ModelSettings
from modelyard.settings.schema import Settings


def settings(home, plugins, **more):
    env = ModelSettings(env={"PYTHONPATH": str(plugins)})
    return Settings(home=home, warm_start=False, models={"bare": env, "kinds": env}, **more)


async def test_two_applications_in_one_process_do_not_know_each_other(tmp_path, request):
    plugins = request.config.rootpath / "tests" / "plugins"
    one = create_app(
        settings(tmp_path / "one", plugins, base_path="/one"),
        [PluginSource("bare", "yard_fixtures.bare:Bare")],
    )
    two = create_app(
        settings(tmp_path / "two", plugins, access="open"),
        [PluginSource("kinds", "yard_fixtures.kinds:Kinds")],
    )
    async with TestClient(TestServer(one)) as first, TestClient(TestServer(two)) as second:
        names = []
        for client, base in ((first, "/one"), (second, "")):
            answer = await client.get(f"{base}/v2/models/")
            names.append([model["id"] for model in (await answer.json())["models"]])
        assert names == [["bare"], ["kinds"]]
        assert (await first.get("/v2/models/")).status == 404
        assert (await second.post("/v2/models/bare/predict/")).status == 404
    assert (tmp_path / "one" / "records.db").exists()
    assert (tmp_path / "two" / "records.db").exists()


async def test_an_application_can_be_started_again_on_its_home(tmp_path, request):
    plugins = request.config.rootpath / "tests" / "plugins"
    for _ in range(2):
        app = create_app(
            settings(tmp_path / "home", plugins), [PluginSource("bare", "yard_fixtures.bare:Bare")]
        )
        async with TestClient(TestServer(app)) as client:
            assert (await client.get("/readyz")).status == 200
