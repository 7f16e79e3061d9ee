"""Settings that are nonsense end the start at once: exit code 2, the setting and the remedy."""

import os
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def refused(tmp_path):
    """`refused(*flags, **variables)`: what a command says that has ended with exit code 2."""

    def run(*flags, command="modelyard", module=(), code=2, **variables):
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "DEEP"))}
        words = [sys.executable, "-m", *(module or ("modelyard", "serve"))]
        done = subprocess.run(
            [*words, "--home", str(tmp_path / "home"), "--port", "0", *map(str, flags)],
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""
        return done.stderr

    return run


@pytest.mark.parametrize(
    ("flags", "setting", "told"),
    [
        (["--data", "/proc/nothing"], "data", "/proc/nothing does not exist: make it"),
        (["--data", "/etc"], "data", "holds the system's own files"),
        (["--tls-cert", "/proc/nothing"], "tls_cert", "--tls-cert names a file"),
        (["--tls-key", "/etc/hostname"], "tls_key", "name that by --tls-cert"),
        (["--oidc-audience", "x"], "oidc_audience", "beside oidc_issuer"),
        (["--memory-limit", "1"], "memory_limit", "take 64M to 1024T, or 0 (no limit)"),
        (["--port", "5017", "--grpc-port", "5017"], "grpc_port", "gRPC needs another"),
        (["--home", "/etc/passwd"], "home", "/etc/passwd is a file"),
        (["--home", "/proc/x"], "home", "a place of the kernel's"),
        (["--storage", "ftp://x"], "storage", "is no kind of storage"),
        (["--storage", "s3://me:canary@bucket"], "storage", "AWS_SECRET_ACCESS_KEY"),
    ],
)
@pytest.mark.parametrize("module", [("modelyard", "serve"), ("modelyard.cli.deepaas_run",)])
def test_nonsense_is_told_before_anything_is_made(refused, tmp_path, module, flags, setting, told):
    said = refused(*flags, module=module)
    assert f"Some settings are not valid:\n  {setting}: " in said and told in said
    assert "canary" not in said
    assert not (tmp_path / "home" / "home.json").exists()


def test_a_gpu_that_is_not_there_is_no_device(refused):
    said = refused("--device", "cuda:99", CUDA_VISIBLE_DEVICES="0")
    assert "  device: " in said and "auto or cpu" in said


def test_a_misspelt_variable_is_warned_about_in_the_log(start_server):
    env = {"MODELYARD_PROT": "canary", "MODELYARD_PORT": "tcp://192.0.2.1:5000"}
    server = start_server("--model-name", "bare", "--no-warm-start", env=env)
    text = "".join(server.lines)
    assert "MODELYARD_PROT is no setting" in text and "MODELYARD_PORT meant?" in text
    assert "enableServiceLinks" in text and "canary" not in text


def test_a_port_that_is_taken_is_told_with_the_flag(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("--port", port, code=1)
        assert f"port {port}: Address already in use. Choose another with --port" in said


def test_an_address_that_is_not_this_machines_is_told_with_the_flag(refused):
    said = refused("--host", "192.0.2.1", "--access", "open", code=1)
    assert "Cannot listen on 192.0.2.1" in said and "Choose another with --host" in said
