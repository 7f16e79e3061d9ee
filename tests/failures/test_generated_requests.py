"""Requests that schemathesis makes of the OpenAPI document, with every check that it has.

Checks that are wrapped, and why: generated_checks.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from yard_keys import make_key

MODELS = ("kinds", "files", "counter", "bare")
WRAPPED = "not_a_server_error,positive_data_acceptance,ensure_resource_availability"
SCOPES = ("read", "predict", "train", "manage")


def check(server, folder, phases, examples, *more):
    """Runs schemathesis; gives how many requests it made."""
    here = str(Path(__file__).parent)
    environ = {**os.environ, "SCHEMATHESIS_HOOKS": "generated_checks"}
    environ["PYTHONPATH"] = os.pathsep.join([here, environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"),
            *("--checks", "all", "--exclude-checks", WRAPPED, "--warnings", "off"),
            *("--max-examples", str(examples), "--phases", phases, "--no-shrink"),
            *("--generation-deterministic", "--request-timeout", "60", "--no-color"),
            *("--suppress-health-check", "all", "--continue-on-failure", *more),
        ],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "no_server_error" not in done.stderr
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def nothing_broke(server):
    """No fault of the server in its log, and it serves."""
    assert not [line for line in server.lines if "a fault of the server" in line]
    assert not [line for line in server.lines if '"status":500' in line]
    assert server.get("/healthz").status_code == 200


@pytest.fixture
def serving(start_server):
    def start(*flags, **more):
        server = start_server("--model-name", ",".join(MODELS), *flags, **more)
        for model in MODELS:
            server.wait_ready(model)
        return server

    return start


def test_generated_requests_are_answered_as_the_document_says(serving, tmp_path):
    """A sample of them: all routes, harmless models."""
    server = serving()
    assert check(server, tmp_path, "examples,fuzzing", 2) > 60
    nothing_broke(server)


@pytest.mark.slow
def test_all_generated_requests_are_answered_as_the_document_says(serving, tmp_path):
    """The phase `coverage` sends every boundary of every parameter, `stateful` follows links."""
    server = serving()
    made = check(server, tmp_path, "examples,coverage,fuzzing", 12)
    made += check(server, tmp_path, "stateful", 60)
    assert made > 3000
    nothing_broke(server)
    print(f"{made} requests, 0 server errors")


@pytest.mark.slow
def test_all_generated_requests_to_a_server_with_keys(serving, tmp_path, start_server):
    """Also `ignored_auth`: what needs a key is not answered without one, nor with a wrong one."""
    head = make_key(tmp_path / "home", "fuzz", *SCOPES)
    server = start_server("--model-name", ",".join(MODELS), home=tmp_path / "home")
    key = f"Authorization: {head['Authorization']}"
    made = check(server, tmp_path, "examples,coverage,fuzzing", 3, "-H", key)
    assert made > 3000
    assert not [line for line in server.lines if '"status":500' in line]
    print(f"{made} requests, 0 server errors")
