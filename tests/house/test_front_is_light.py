"""The front never imports torch or a plugin, whatever its models do: seen in a running server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PLUGINS = f"{TESTS / 'plugins'}:{TESTS / 'old_plugins'}"

# Read by the front alone (told by its command line), at its end: what it ever imported.
WITNESS = """
import atexit, json, os, sys

if "serve" in sys.orig_argv:
    place = os.path.join(os.path.dirname(__file__), "modules.json")
    atexit.register(lambda: open(place, "w").write(json.dumps(sorted(sys.modules))))
"""
HEAVY = {"torch", "sklearn", "scipy", "PIL", "safetensors", "boto3", "alembic", "tensorboard"}
HEAVY |= {"botocore", "blake3", "numpy", "rich", "pygments", "greenlet"}
HEAVY |= {"opentelemetry", "grpc", "google"}  # without --tracing and --grpc-port
HEAVY.add("prometheus_client")  # until somebody scrapes
OF_OTHERS = (
    "modelyard.client",
    "modelyard.serving.worker",
    "modelyard.serving.task_process",
    "modelyard.training.supervisor",
    "modelyard.training.process",
    "modelyard.training.forkserver",
    "modelyard.storage.process",
    "modelyard.storage.stores.opening",
    "modelyard.storage.archives.export",
)


@pytest.fixture(scope="module")
def witness(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("witness")
    (folder / "sitecustomize.py").write_text(WITNESS)
    return folder


def mapped_files(pid: int) -> set[str]:
    """Files that a process has in its memory: extension modules show up here."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except PermissionError:
        pytest.skip("only root may look into the front: see seclusion.py")
    return set(re.findall(r"(/\S+)$", maps, re.MULTILINE))


def test_describing_predicting_and_training_bring_no_torch_and_no_plugin_into_the_front(
    start_server, witness
):
    server = start_server(
        "--model-name",
        "counter,kinds,old-only-predict,image-classifier",
        env={"PYTHONPATH": f"{PLUGINS}:{witness}"},
    )
    for model in ("counter", "kinds", "old-only-predict", "image-classifier"):
        assert server.wait_ready(model)["state"] == "ready"
    run = server.wait_run(server.train("counter", steps=2))
    assert run["status"] == "done", server.log(run)
    assert server.predict("counter", json={"plus": 1}).status_code == 200
    assert server.predict("old-only-predict").status_code == 200
    for document in ("/openapi.json", "/swagger.json"):
        assert server.get(document).status_code == 200

    mapped = mapped_files(server.process.pid)
    assert any("aiohttp" in path for path in mapped), "the front's memory was not read"
    assert [path for path in mapped if re.search(r"/(torch|sklearn|scipy|PIL)/", path)] == []

    assert server.stop() == 0
    modules = json.loads((witness / "modules.json").read_text())
    assert "modelyard.api.server" in modules
    libraries = {module.split(".")[0] for module in modules}
    assert libraries & HEAVY == set()
    # What other processes do is named and not imported; the command line's client is not for it.
    assert set(OF_OTHERS) & set(modules) == set()
    assert len(modules) < 860, "what is new in the front, and could it be elsewhere?"
    of_models = ("yard_fixtures", "old_modules", "modelyard.models_plugin.image_classifier")
    # What an old module's process is changed by: its keywords, its imports.
    of_models += ("modelyard.models_plugin.deepaas", "deepaas", "oslo_config", "webargs")
    assert [module for module in modules if module.startswith(of_models)] == []


def test_the_contract_is_a_light_import():
    """What a plugin imports brings neither the server nor its libraries."""
    code = "import sys, json, modelyard.models_plugin; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    libraries = {module.split(".")[0] for module in json.loads(done.stdout)}
    assert libraries & {*HEAVY, "aiohttp", "sqlalchemy", "uvloop", "click"} == set()
