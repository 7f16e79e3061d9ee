"""`deepaas-run` as images and guides call it: a real process of the console script."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from modelyard.settings.files import deepaas_dirs, deepaas_files

PLUGINS, OLD_PLUGINS = (Path(__file__).parents[1] / name for name in ("plugins", "old_plugins"))
COMMAND = (sys.executable, "-m", "modelyard.cli.deepaas_run")


@pytest.fixture
def deepaas_run(tmp_path, empty_home):
    """Starts it in a folder of its own; a function that waits for the server gives its address.

    Its default home is there already, and empty, unless `new_home` is said.
    """
    started = []

    def start(*flags: str, new_home: bool = False, **env: str) -> "Running":
        home = tmp_path / env.get("MODELYARD_HOME", "modelyard-home")
        if not new_home and not home.exists():
            shutil.copytree(empty_home, home)
        environ = {
            k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "DEEPAAS"))
        }
        path = f"{PLUGINS}:{OLD_PLUGINS}" if any("old-" in flag for flag in flags) else str(PLUGINS)
        environ.update(PYTHONPATH=path, HOME=str(tmp_path), PYTHONUNBUFFERED="1")
        environ.update(env)
        output = tmp_path / f"output{len(started)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*COMMAND, *flags],
                env=environ,
                cwd=tmp_path,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return Running(process, output)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait(10)


class Running:
    """The process, and what it wrote."""

    def __init__(self, process: subprocess.Popen, output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def url(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            if "TensorBoard" in self.text:
                return self.text.partition("listening on ")[2].split()[0].rstrip("/")
            time.sleep(0.05)
        raise AssertionError(self.text)

    def get(self, path: str, **more) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **more)


def names(running: Running) -> list[str]:
    return [model["id"] for model in running.get("/v2/models/").json()["models"]]


def test_it_serves_as_deepaas_does_and_says_who_may_call_and_where_everything_is(deepaas_run):
    running = deepaas_run(
        "--listen-ip", "0.0.0.0", "--listen-port", "0", "--model-name=bare", "-p", "1", "--nowarm",
        "--nodebug", "--use-syslog", "--base-path", "/a", new_home=True,
    )  # fmt: skip
    assert running.get("/v2/models/", headers={"Host": "some.proxy:80"}).status_code == 200
    assert names(running) == ["bare"]
    for words in ("may train and predict", "--access keys", "--use-syslog is oslo.log's"):
        assert words in running.text
    for path in ("/v2/", "/ui", "/openapi.json"):
        assert f"{running.url}{path}" in running.text
    assert "/a/" in running.text
    (home,) = Path(running._output.parent).glob("modelyard-home")
    assert (home / "home.json").exists()
    running.process.terminate()
    assert running.process.wait(20) == 0


def test_who_may_call_is_not_warned_about_where_it_was_said(deepaas_run):
    running = deepaas_run("--listen-port", "0", "--model-name", "bare", "--access", "open")
    assert running.url
    assert "may train and predict" not in running.text
    refused = deepaas_run("--listen-ip", "0.0.0.0", MODELYARD_ACCESS="keys")
    assert refused.process.wait(30) == 2
    assert "--access open" in refused.text


@pytest.mark.slow
def test_deepaas_variable_names_the_model_and_without_a_name_all_are_served(deepaas_run):
    running = deepaas_run("--listen-port", "0", DEEPAAS_V2_MODEL="counter", MODELYARD_HOME="one")
    assert names(running) == ["counter"]
    everything = ("--listen-port", "0", "--load-timeout", "5")  # one hangs while it is imported
    running = deepaas_run(*everything, DEEPAAS_V2_MODEL="", MODELYARD_HOME="two")
    assert {"counter", "bare", "kinds"} <= set(names(running))


def test_the_default_files_of_deepaas_are_read_unless_others_are_named(deepaas_run, tmp_path):
    (tmp_path / ".deepaas").mkdir()
    (tmp_path / ".deepaas" / "deepaas.conf").write_text(
        "[DEFAULT]\nlisten_port = 0\nmodel_name = bare\npredict_endpoint = False\nlog_dir = x\n"
    )
    running = deepaas_run()
    assert names(running) == ["bare"]
    answer = requests.post(f"{running.url}/v2/models/bare/predict/", timeout=30)
    assert answer.status_code == 402
    assert "log_dir is no setting" in running.text
    other = tmp_path / "other.conf"
    other.write_text("[DEFAULT]\nlisten_port = 0\nmodel_name = counter\n")
    running = deepaas_run("--config-file", str(other), MODELYARD_HOME="other")
    assert names(running) == ["counter"]


def test_a_wrong_value_ends_it_with_the_name_and_the_place(deepaas_run, tmp_path):
    file = tmp_path / "deepaas.conf"
    file.write_text("[DEFAULT]\nlisten_port = many\n")
    running = deepaas_run()
    assert running.process.wait(30) == 2
    assert "port" in running.text and str(file) in running.text


def test_default_files_are_each_the_first_that_oslo_would_find(tmp_path):
    environ = {"HOME": str(tmp_path)}
    (tmp_path / ".deepaas").mkdir()
    first, second = tmp_path / ".deepaas" / "deepaas.conf", tmp_path / "deepaas.conf"
    command, folder = tmp_path / "deepaas-run.conf", tmp_path / "deepaas.conf.d"
    for path in (first, second, command):
        path.touch()
    folder.mkdir()
    assert deepaas_files(environ, "deepaas-run")[:2] == [first, command]
    assert deepaas_dirs(environ, "deepaas-run")[:1] == [folder]


def test_the_command_is_installed_and_tells_its_version():
    done = subprocess.run(
        [Path(sys.executable).parent / "deepaas-run", "--version"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0 and "modelyard" in done.stdout


def test_the_first_request_that_is_let_in_finds_the_model_ready(deepaas_run, tmp_path):
    """As under DEEPaaS: a client waits for the port, and then predicts."""
    marker = tmp_path / "warming"
    running = deepaas_run(
        *("--listen-port", "0", "--model-name", "old-slow-to-warm"), SLOW_TO_WARM=str(marker)
    )
    until = time.monotonic() + 30
    while not marker.exists():
        assert time.monotonic() < until, running.text
        time.sleep(0.02)
    assert "listening on" not in running.text
    assert running.get("/v2/models/old-slow-to-warm/").json()["state"] == "ready"


def test_a_named_model_that_cannot_be_imported_ends_it_before_it_listens(deepaas_run):
    running = deepaas_run("--listen-port", "0", "--model-name", "old-broken-import")
    assert running.process.wait(60) == 3
    assert "a_framework_that_is_not_installed" in running.text
    assert "listening on" not in running.text


@pytest.mark.parametrize(("flag", "warmed"), [("--warm", True), ("--nowarm", False)])
def test_models_are_warmed_unless_that_is_switched_off(deepaas_run, flag, warmed):
    running = deepaas_run("--listen-port", "0", "--model-name", "old-warm", flag)
    answer = requests.post(f"{running.url}/v2/models/old-warm/predict/", timeout=60)
    assert answer.json()["predictions"]["warmed"] is warmed
