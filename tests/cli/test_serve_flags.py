"""Every flag of DEEPaaS's command is one of ours, in every spelling, and becomes its setting."""

import click
import pytest
from click.testing import CliRunner

from modelyard.cli.deepaas_run import deepaas_run
from modelyard.cli.serve import given_flags, serve
from modelyard.settings import load_settings

SWITCHES = ("warm", "train-endpoint", "predict-endpoint", "doc-endpoint", "debug-endpoint", "debug")


def settings(command, *words):
    params = command.make_context("x", list(words)).params
    params = {name: value for name, value in params.items() if not name.startswith("config_")}
    return load_settings(given_flags(params), {})


@pytest.mark.parametrize("command", [serve, deepaas_run], ids=lambda command: command.name)
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_is_turned_on_and_off_in_both_spellings(command, switch):
    name = switch.replace("-", "_")
    assert getattr(settings(command, f"--{switch}"), name) is True
    assert getattr(settings(command, f"--no-{switch}"), name) is False
    assert getattr(settings(command, f"--no{switch}"), name) is False


@pytest.mark.parametrize("command", [serve, deepaas_run], ids=lambda command: command.name)
def test_the_other_flags_of_deepaas_become_settings(command, tmp_path):
    got = settings(
        command,
        *("--listen-ip", "0.0.0.0", "--listen-port=8080", "--base-path", "/a", "-p", "3", "-d"),
        *("--model-name", "m", "--client-max-size", "0", "--logfile", str(tmp_path / "log")),
    )
    assert (got.host, got.port, got.base_path, got.workers) == ("0.0.0.0", 8080, "/a", 3)
    assert (got.model_name, got.client_max_size, got.log_level) == (("m",), 0, "debug")
    assert got.log_file == tmp_path / "log"


@pytest.mark.parametrize(
    "words",
    [
        ["--use-syslog", "--nouse-json", "--use-journal", "--nowatch-log-file"],
        ["--log-dir", "x", "--log-date-format", "%H", "--syslog-log-facility", "LOG_USER"],
        ["--logdir=x", "--log-config=x", "--log-config-append", "x"],
    ],
)
def test_flags_of_oslo_log_are_taken_by_deepaas_run_only(words):
    deepaas_run.make_context("x", list(words))
    with pytest.raises(click.NoSuchOption):
        serve.make_context("x", list(words))


@pytest.mark.parametrize(
    ("host", "who", "remedy"),
    [
        ("127.0.0.1", "every user of this machine may", "say --access keys."),
        ("localhost", "every user of this machine may", "say --access keys."),
        ("0.0.0.0", "everybody who reaches 0.0.0.0 port 5000 may", "listen on 127.0.0.1 and say"),
    ],
)
def test_deepaas_run_warns_of_those_who_can_reach_it(monkeypatch, host, who, remedy):
    monkeypatch.setattr("modelyard.cli.deepaas_run.run_server", lambda settings: 0)
    done = CliRunner().invoke(deepaas_run, ["--listen-ip", host])
    assert f"deepaas-run: {who} train and predict" in done.output
    assert remedy in done.output
    assert ("listen on 127.0.0.1" in done.output) is (host == "0.0.0.0")
