"""What is asked of all settings together, and of this machine, before a server starts."""

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.errors import InvalidSettings
from modelyard.settings import load_settings
from modelyard.settings.checks import (
    check_settings,
    setting_names,
    unused_variables,
    warnings_about,
)
from modelyard.settings.oidc import OidcSettings
from modelyard.settings.schema import Settings

ROOT = Path(__file__).parents[2]
ISSUER = {
    "oidc_issuer": "https://id.example",
    "oidc_audience": "yard",
    "oidc_permissions": "anybody=read",
}


@pytest.fixture
def check(tmp_path):
    """`check(flags)` is what is told of them, with a home in a folder of its own; "": nothing."""

    def run(flags, environ=None):
        settings = load_settings({"home": str(tmp_path / "home"), **flags}, {})
        try:
            check_settings(settings, environ or {})
        except InvalidSettings as error:
            assert error.exit_code == 2
            return error.message
        return ""

    return run


def test_the_defaults_are_right_everywhere(check):
    assert check({}) == ""
    check_settings(Settings(), {})


@pytest.mark.parametrize(
    ("flags", "setting", "told"),
    [
        ({"tls_key": "/etc/hostname"}, "tls_key", "name that by --tls-cert"),
        ({"port": 7, "grpc_port": 7}, "grpc_port", "HTTP listens on 7 already"),
        ({"dataset_sources": "s3://bucket"}, "dataset_sources", "name that by --storage"),
        ({"oidc_issuer": "https://id.example"}, "oidc_audience", "oidc_issuer needs it"),
        ({"oidc_issuer": "https://id.example"}, "oidc_permissions", "oidc_issuer needs it"),
        ({"models": {"m": {"keep_best_by": "loss"}}}, "models", "m: keep_best_by: Without keep_"),
    ],
)
def test_settings_that_need_others_are_told_with_those(check, flags, setting, told):
    message = check(flags)
    assert f"  {setting}: " in message and told in message


def test_the_same_port_twice_is_none_if_it_is_any_free_one(check):
    assert check({"port": 0, "grpc_port": 0}) == ""


@pytest.mark.parametrize("name", [one.name for one in fields(OidcSettings)][1:])
def test_what_belongs_to_an_issuer_is_refused_without_one(check, tmp_path, name):
    (tmp_path / "secret").write_text("x")
    values = {
        "oidc_permissions": "anybody=read",
        "oidc_web_secret_file": str(tmp_path / "secret"),
        "oidc_web_client_id": "web",
    }
    value = values.get(name, "x")
    assert f"  {name}: It has an effect only beside oidc_issuer" in check({name: value})
    assert check({**ISSUER, **values, name: value}) == ""


def test_files_and_folders_that_are_not_there_are_told_with_their_setting(check, tmp_path):
    nowhere, file = str(tmp_path / "nowhere"), tmp_path / "file"
    file.write_text("x")
    for name in ("tls_cert", "tls_key", "oidc_web_secret_file"):
        flags = {**ISSUER, "tls_cert": str(file), "oidc_web_client_id": "web"}
        flag = "--" + name.replace("_", "-")
        assert f"  {name}: {nowhere} does not exist: {flag} " in check({**flags, name: nowhere})
        assert f"  {name}: {tmp_path} is a folder: {flag} " in check({**flags, name: str(tmp_path)})
    assert f"  data: {nowhere} does not exist: make it" in check({"data": nowhere})
    assert f"  data: {file} is a file" in check({"data": str(file)})
    model = {"models": {"m": {"weights_folder": str(file)}}}
    assert f"  models: m: weights_folder: {file} is a file" in check(model)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_the_server_may_not_read_is_told(check, tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    assert "may not read" in check({"data": str(tmp_path / "shut")})


@pytest.mark.parametrize("folder", ["/", "/etc", "/proc", "/proc/self", "/sys", "/dev", "/boot/.."])
def test_the_systems_folders_are_no_data(check, folder):
    assert "holds the system's own files" in check({"data": folder})


def test_data_and_store_are_beside_the_home(check, tmp_path):
    home, link = tmp_path / "home", tmp_path / "link"
    (home / "inside").mkdir(parents=True)
    link.symlink_to(home)
    for folder in (home, home / "inside", tmp_path, link):
        assert "is, holds or lies in the home" in check({"data": str(folder)})
        assert "is, holds or lies in the home" in check({"storage": str(folder)})
        assert "is, holds or lies in the home" in check({"storage": folder.as_uri()})
    (tmp_path / "beside").mkdir()
    assert check({"data": str(tmp_path / "beside"), "storage": str(tmp_path / "store")}) == ""


def test_a_home_is_a_folder_on_a_disk(check, tmp_path):
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"  home: {tmp_path / 'file'} is a file" in check({"home": str(home)})
    for home in ("/proc/x", "/sys/x", "/dev/x"):
        assert "a place of the kernel's" in check({"home": home})
    assert "min_free: 1024T is all of the home's disk or more" in check({"min_free": "1024T"})


def test_a_disk_below_the_usual_reserve_is_warned_about_and_refuses_one_that_was_set(
    check, monkeypatch, tmp_path
):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=64 << 20))
    assert check({}) == ""
    (told,) = warnings_about(Settings(home=tmp_path), {})
    assert "set --min-free to less" in told
    assert "  min_free: 128M is all of the home's disk" in check({"min_free": "128M"})
    assert check({"min_free": "16M"}) == ""


@pytest.fixture
def devices(monkeypatch, tmp_path):
    """`devices(*names)`: what stands in /dev."""

    def make(*names):
        folder = tmp_path / "dev"
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        real = os.scandir
        monkeypatch.setattr(os, "scandir", lambda place: real(folder if place == "/dev" else place))
        places = tuple(str(folder / name) for name in ("kfd", "dxg"))
        monkeypatch.setattr("modelyard.settings.machine._OTHER_GPUS", places)
        monkeypatch.setattr("modelyard.settings.machine._PARTS", folder)

    return make


@pytest.mark.parametrize(
    ("names", "device", "environ", "told"),
    [
        ((), "cuda", {}, "This machine shows no GPU (/dev/nvidia*)"),
        ((), "cuda:99", {}, "--gpus all"),
        ((), "auto", {}, ""),
        ((), "cpu", {}, ""),
        (("nvidia0", "nvidiactl", "nvidia-uvm"), "cuda:0", {}, ""),
        (("nvidia0", "nvidiactl", "nvidia-uvm"), "cuda:1", {}, "shows one GPU, cuda:0 "),
        (("nvidia0", "nvidia5"), "cuda:1", {}, ""),
        (("nvidia0", "nvidia5"), "cuda:5", {}, "2 GPUs, cuda:0 to cuda:1"),
        (("nvidia0", "nvidia1"), "cuda:1", {"CUDA_VISIBLE_DEVICES": "1"}, "shows one GPU"),
        (("nvidia0",), "cuda", {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES shows no GPU"),
        (("kfd",), "cuda:3", {}, ""),
        (("dxg",), "cuda", {}, ""),
    ],
)
def test_a_gpu_that_is_not_there_is_told_as_far_as_dev_shows(
    check, devices, names, device, environ, told
):
    devices(*names)
    message = check({"device": device}, environ)
    assert told in message if told else message == ""
    message = check({"models": {"m": {"device": device, "env": environ}}})
    assert told in message if told else message == ""
    assert ("  models: m: device: " in message) is bool(told)


def test_a_divided_gpu_is_left_to_the_driver_to_count(check, devices, tmp_path):
    devices("nvidia0")
    (tmp_path / "dev/gpu0/mig/gi1").mkdir(parents=True)
    assert check({"device": "cuda:1"}) == ""


# -- variables ------------------------------------------------------------------------------------


def test_misspelt_variables_are_told_with_the_nearest_and_without_their_values():
    environ = {
        "MODELYARD_PROT": "canary",
        "MODELYARD_QUUX_ZZZ": "canary",
        "modelyard_home": "canary",
        "MODELYARD_MODELS": "canary",
        "MODELYARD_PORT": "1",
        "MODELYARD_URL": "http://x",
        "MODELYARD_TOKEN": "x",
        "MODELYARD_CONFIG_FILE": "x",
        "PATH": "/bin",
    }
    told = unused_variables(environ)
    assert len(told) == 4 and "canary" not in "".join(told)
    of = {line.split()[2]: line for line in told}
    assert "MODELYARD_PORT" in of["MODELYARD_PROT"] and "meant?" in of["MODELYARD_PROT"]
    assert "see docs/settings.md" in of["MODELYARD_QUUX_ZZZ"]
    assert "is MODELYARD_HOME" in of["modelyard_home"]
    assert warnings_about(Settings(), environ) == told


def test_what_kubernetes_says_of_a_service_called_modelyard_is_no_setting():
    environ = {
        "MODELYARD_SERVICE_HOST": "192.0.2.1",
        "MODELYARD_SERVICE_PORT": "5000",
        "MODELYARD_SERVICE_PORT_HTTP": "5000",
        "MODELYARD_PORT": "tcp://192.0.2.1:5000",
        "MODELYARD_PORT_5000_TCP": "tcp://192.0.2.1:5000",
        "MODELYARD_PORT_5000_TCP_ADDR": "192.0.2.1",
        "MODELYARD_GRPC_PORT": "tcp://192.0.2.2:5001",
        "MODELYARD_GRPC_SERVICE_HOST": "192.0.2.2",
    }
    settings = load_settings({}, environ)
    assert (settings.port, settings.grpc_port) == (5000, None)
    told = unused_variables(environ)
    assert [line.split()[0] for line in told] == ["MODELYARD_GRPC_PORT", "MODELYARD_PORT"]
    assert all("enableServiceLinks" in line for line in told)


def test_every_variable_that_the_package_reads_is_known():
    rooms = ("api", "cli", "client", "models_plugin", "records", "serving", "storage", "training")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    words = re.compile(r"MODELYARD_[A-Z][A-Z_]*[A-Z]\b")
    named = {word for file in files for word in words.findall(file.read_text())}
    unknown = unused_variables(dict.fromkeys(named, "x"))
    assert named and unknown == []


def test_a_settings_name_is_no_prefix_that_kubernetes_would_take():
    assert not [name for name in setting_names() if name.startswith("service_")]


def test_a_proxy_that_is_everybody_is_warned_about():
    for networks in (("0.0.0.0/0",), ("192.0.2.1/32", "::/0")):
        (told,) = warnings_about(Settings(trusted_proxies=networks), {})
        assert "trusted_proxies names every address" in told
    assert warnings_about(Settings(trusted_proxies=("192.0.2.0/24",)), {}) == []


# -- secrets in files -----------------------------------------------------------------------------


def test_files_with_secrets_that_everybody_may_read_are_warned_about(tmp_path, caplog):
    key, file = tmp_path / "key.pem", tmp_path / "yard.toml"
    key.write_text("x")
    key.chmod(0o644)
    (told,) = warnings_about(Settings(tls_key=key), {})
    assert f"chmod o-r {key}" in told
    key.chmod(0o640)
    assert warnings_about(Settings(tls_key=key), {}) == []

    file.write_text('[models.m]\nenv = { HF_TOKEN = "canary", DATA = "x" }\n')
    file.chmod(0o600)
    load_settings({}, {}, [file])
    assert caplog.text == ""
    file.chmod(0o644)
    load_settings({}, {}, [file])
    assert f"chmod o-r {file}" in caplog.text and "HF_TOKEN" in caplog.text
    assert "canary" not in caplog.text
