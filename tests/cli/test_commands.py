"""What needs no server: help, wrong usage, a server that is not there, settings."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

NOBODY = "http://127.0.0.1:1"


def test_help_lists_the_commands(modelyard):
    done = modelyard("--help")
    assert done.returncode == 0
    for command in ("serve", "models", "train", "predict", "runs", "weights"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["models"],
        ["train", "m", "--epochs", "1"],
        ["predict", "m", "--help"],
        ["runs"],
        ["weights", "m"],
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_exit_code_1(modelyard, words):
    done = modelyard(*words, url=NOBODY)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"modelyard: Cannot reach the server at {NOBODY}: connection refused.\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nonsense"], 2),
        (["keys", "create", "a/b"], 2),
        (["backup", "there", "--home", "nowhere"], 1),
        (["serve", "--port", "x"], 2),
    ],
)
def test_every_failure_says_whose_word_it_is(modelyard, tmp_path, words, code):
    done = modelyard(*words, cwd=tmp_path)
    assert done.returncode == code and "Error:" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("modelyard: ")]
    assert len(told) == 1, done.stderr


def test_the_address_may_stand_before_or_after_the_command(modelyard):
    ways = (["--url", NOBODY, "models"], ["models", "--url", NOBODY],
            ["train", "--url", NOBODY, "m"], ["train", "m", f"--url={NOBODY}"])  # fmt: skip
    with ThreadPoolExecutor(2) as threads:
        ended = threads.map(lambda words: modelyard(*words, url="http://127.0.0.1:2"), ways)
        assert [done.stderr for done in ended if NOBODY not in done.stderr] == []


def test_help_of_train_works_without_a_server(modelyard):
    done = modelyard("train", "--help", url=NOBODY)
    assert done.returncode == 0
    assert "connection refused" in done.stdout


def test_an_address_that_is_none_is_told(modelyard):
    done = modelyard("models", url="localhost:5000")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "http://HOST:PORT" in done.stderr


def test_serve_has_an_option_for_every_setting(modelyard):
    text = modelyard("serve", "--help").stdout
    for option in (
        "--host, --listen-ip",
        "--port, --listen-port",
        "--model-name",
        "--home",
        "--on-stop [leave|pause|cancel]",
        "--warm-start / --no-warm-start",
        "--config-file",
    ):
        assert option in text
    assert "--models" not in text  # a table of the settings file only


def test_wrong_settings_are_told_by_name_with_exit_code_2(modelyard, tmp_path):
    done = modelyard("serve", "--listen-port", "99999", "--workers", "0", "--home", tmp_path / "h")
    assert done.returncode == 2
    assert "port:" in done.stderr
    assert "workers:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "h").exists()


def test_a_taken_port_is_told(modelyard, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = modelyard("serve", "--port", port, "--home", tmp_path / "h")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the server's platform")
def test_remote_commands_do_not_load_the_server(modelyard):
    code = (
        "import sys; from modelyard.cli import main, train, predict, runs, models, weights; "
        "print([name for name in sys.modules if name.startswith(('modelyard.api', 'torch', "
        "'modelyard.serving', 'modelyard.training', 'marshmallow', 'sqlalchemy'))])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
