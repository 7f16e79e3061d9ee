"""Modules pin marshmallow and webargs, and pip obeys: the server goes on with these releases."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PINS = ("marshmallow==3.26.2", "webargs==5.5.3")


@pytest.mark.slow
def test_the_server_and_its_models_run_with_the_releases_that_modules_pin(start_server, tmp_path):
    pinned = tmp_path / "pinned"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--no-deps", "--only-binary=:all:", f"--target={pinned}", *PINS),
        ],
        check=True,
        timeout=300,
    )
    path = os.pathsep.join([str(pinned), str(TESTS / "plugins"), str(TESTS / "old_plugins")])
    server = start_server("--model-name", "old-keywords,counter", env={"PYTHONPATH": path})
    for model in ("old-keywords", "counter"):
        assert server.wait_ready(model)["state"] == "ready"
    answer = server.predict("old-keywords", json={"numbered": 2, "mapping": {"a": 1}})
    assert answer.json()["predictions"]["numbered"] == ["int", "2"]
    assert server.predict("old-keywords", json={"numbered": 9}).status_code == 422
    assert server.wait_run(server.train("counter"))["status"] == "done"
    assert server.get("/v2/models/counter/train/?limit=x").status_code == 422
    for document in ("/openapi.json", "/swagger.json"):
        assert server.get(document).status_code == 200
