"""What modules import of DEEPaaS is there in their own worker, and in no other process."""

import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-configured", "old-breeds", "old-tagged", "old-trainer")


def test_a_module_finds_options_log_base_class_and_exceptions(server, predictions):
    assert predictions(server.predict("old-configured")) == {
        "flavour": "vanilla",
        "depth": 3,
        "same": True,
        "workers": 1,
        "base": "BaseModel",
        "uploaded": ["name", "filename", "content_type", "original_filename"],
        "defaults": ["a", None, None, None],
        "exception": True,
        "version": True,
    }


def test_options_of_the_modules_own_have_their_defaults(server):
    assert server.get("/v2/models/old-configured/").json()["flavour"] == "vanilla"


@pytest.mark.parametrize(("model", "field"), [("old-breeds", "data"), ("old-tagged", "input")])
def test_a_file_is_the_uploaded_file_that_the_module_imported(server, predictions, model, field):
    assert predictions(server.predict(model, files={field: ("a.png", b"abc")}))


def test_what_a_training_logs_by_oslo_is_in_its_log(server):
    record = server.train("old-trainer")
    server.wait_run(record)
    log = server.log(record)
    for line in ("training dict", "to stderr dict", "logged by oslo dict", "logged by logging"):
        assert line in log


def test_importing_the_adapter_changes_neither_marshmallow_nor_the_imports():
    code = (
        "import importlib.util, marshmallow, pytest\n"
        "import modelyard.models_plugin.deepaas.adapter\n"
        "assert importlib.util.find_spec('deepaas') is None\n"
        "with pytest.raises(TypeError): marshmallow.fields.Str(missing='a')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
