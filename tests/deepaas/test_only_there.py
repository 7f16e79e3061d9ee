"""What is done for old modules is done in their own processes, never for native plugins."""

from pathlib import Path

import pytest

OLD_MODULES = Path(__file__).parents[1] / "old_plugins" / "old_modules"

PLUGINS = {
    "keyword": """
from marshmallow import fields

class Plugin:
    weights_optional = True
    predict_arguments = {"x": fields.Int(missing=1)}

    def predict(self, x):
        return x
""",
    "import": """
from deepaas.model.v2.wrapper import UploadedFile

class Plugin:
    weights_optional = True

    def predict(self):
        return 1
""",
    "honest": """
from importlib.util import find_spec

class Plugin:
    weights_optional = True

    def predict(self):
        return [find_spec(name) is None for name in ("deepaas", "oslo_config", "oslo_log")]
""",
}


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    info = site / "some_native-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-native\nVersion: 0.1\n")
    points = "".join(f"native-{name} = native_{name}:Plugin\n" for name in PLUGINS)
    old = "[deepaas.v2.model]\nold-one = old_modules.busy\n"
    (info / "entry_points.txt").write_text(f"[modelyard.models]\n{points}{old}")
    (site / "old_modules").symlink_to(OLD_MODULES)
    for name, text in PLUGINS.items():
        (site / f"native_{name}.py").write_text(text)
    # Not by --model-name: a named model that cannot be loaded ends the server.
    return serve_module(env={"PYTHONPATH": str(site)})


@pytest.mark.parametrize(("name", "told"), [("keyword", "missing"), ("import", "deepaas")])
def test_a_native_plugin_gets_neither_the_old_keywords_nor_the_imports(server, name, told):
    shown = server.wait_ready(f"native-{name}")
    assert shown["state"] == "failed"
    assert told in shown["error"]


def test_beside_an_old_module_that_gets_both(server):
    assert server.wait_ready("old-one")["state"] == "ready"  # it imports deepaas, with old keywords
    assert server.wait_ready("native-honest")["state"] == "ready"
    assert server.predict("native-honest").json()["predictions"] == [True, True, True]
