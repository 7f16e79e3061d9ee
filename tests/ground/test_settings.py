"""Settings: file, environment, flags; the later wins, and what is wrong is told by name."""

import os

import pytest

from modelyard.errors import InvalidSettings
from modelyard.settings import load_settings
from modelyard.settings.fields import written_cpus


def test_without_anything_the_server_is_for_this_machine_only():
    settings = load_settings({}, {})
    assert (settings.host, settings.port, settings.is_loopback) == ("127.0.0.1", 5000, True)
    assert settings.access == "keys"


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "yard.toml"
    file.write_text(
        'port = 1\nworkers = 2\ndevice = "cpu"\n[models.a]\nworkers = 3\nenv = {X = "y"}\n'
    )
    settings = load_settings(
        {"port": "3"}, {"MODELYARD_PORT": "2", "MODELYARD_WORKERS": "4"}, [file]
    )
    assert (settings.port, settings.workers, settings.device) == (3, 4, "cpu")
    assert settings.models["a"].workers == 3
    assert settings.models["a"].env == {"X": "y"}


def test_the_file_may_be_named_by_the_environment(tmp_path):
    file = tmp_path / "yard.toml"
    file.write_text("port = 7\n")
    assert load_settings({}, {"MODELYARD_CONFIG_FILE": str(file)}).port == 7


def test_models_come_by_commas_and_by_repetition():
    assert load_settings({"model_name": ["a, b", "c"]}, {}).model_name == ("a", "b", "c")
    assert load_settings({}, {"MODELYARD_MODEL_NAME": "a,b"}).model_name == ("a", "b")


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("64K", 65536), ("2G", 2 * 1024**3), (4096, 4096)]
)
def test_sizes_may_have_a_unit(text, size):
    assert load_settings({"client_max_size": text}, {}).client_max_size == size


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"port": "many"}, {}, ["port", "command line"]),
        ({}, {"MODELYARD_PORT": "70000"}, ["port", "environment"]),
        ({"device": "gpu"}, {}, ["device", "cuda"]),
        ({"base_path": "x y"}, {}, ["base_path", "/models/a"]),
        ({"prot": "1"}, {}, ["prot"]),
        ({"models": {"a": {"workers": 0}}}, {}, ["models", "workers"]),
    ],
)
def test_what_is_wrong_is_told_with_its_name_and_where_it_stands(flags, environ, words):
    with pytest.raises(InvalidSettings) as caught:
        load_settings(flags, environ)
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[models.x]\npyton = "x"', "models: x: pyton: There is no such setting. Is python meant?"),
        ("[modelz.x]\nworkers = 1", "modelz: There is no such setting. Is models meant?"),
        ("base-path = '/a'", "base-path: There is no such setting. Is base_path meant?"),
        ("listen_ip = '::'", "listen_ip: There is no such setting. Is host meant?"),
        ("zzz = 1", "zzz: There is no such setting. See docs/settings.md. (in "),
        ("[models.value]\nkey = 1", "models: value: key: There is no such setting. Known are "),
        ("[models.x]\nworkers = 0", "models: x: workers: Write a whole number from 1 to 64."),
        ("[models.x]\nenv = {A = 1}", "models: x: env: A: Not a valid string."),
        ("[models]\nx = 3", "models: x: Invalid input type."),
    ],
)
def test_a_name_that_is_no_setting_is_told_with_the_nearest_one(tmp_path, text, told):
    file = tmp_path / "yard.toml"
    file.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings({}, {}, [file])
    assert f"  {told}" in caught.value.message


CPUS = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        (f"{CPUS[0]}", CPUS[:1]),
        (f" {CPUS[-1]} , {CPUS[0]}-{CPUS[0]},{CPUS[0]}", sorted({CPUS[0], CPUS[-1]})),
        (written_cpus(CPUS), CPUS),
    ],
)
def test_cpus_are_lists_as_the_kernel_writes_them(tmp_path, text, cpus):
    file = tmp_path / "yard.toml"
    file.write_text(f'[models.a]\ncpus = "{text}"\n[models.b]\ncpus = {CPUS[0]}\n')
    settings = load_settings({}, {"MODELYARD_TRAINING_CPUS": text}, [file])
    assert settings.training_cpus == settings.models["a"].cpus == tuple(cpus)
    assert settings.models["b"].cpus == (CPUS[0],)
    assert load_settings({}, {}).training_cpus is None


def test_cpus_are_written_as_the_kernel_writes_them():
    assert written_cpus([6, 1, 0, 2, 3]) == "0-3,6"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["No CPU is named", "leave the setting out"]),
        ("0,,1", ['like "0-3,6"']),
        ("1-0", ['like "0-3,6"']),
        ("first", ['like "0-3,6"']),
        ("0-99999999999", ['like "0-3,6"']),
        ("99998-99999", ["This machine has no CPU 99998-99999: it has "]),
    ],
)
def test_cpus_that_are_not_there_are_told_with_those_that_are(text, words):
    for flags in ({"training_cpus": text}, {"models": {"a": {"cpus": text}}}):
        with pytest.raises(InvalidSettings) as caught:
            load_settings(flags, {})
        for word in ["cpus: ", *words]:
            assert word in caught.value.message


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_cpus_that_the_server_itself_may_not_use_are_told_with_what_helps():
    os.sched_setaffinity(0, CPUS[:1])
    try:
        with pytest.raises(InvalidSettings) as caught:
            load_settings({"training_cpus": written_cpus(CPUS)}, {})
    finally:
        os.sched_setaffinity(0, CPUS)
    told = f"training_cpus: The server itself may not use CPU {written_cpus(CPUS[1:])}, only "
    assert f"{told}{CPUS[0]}: " in caught.value.message and "taskset" in caught.value.message


@pytest.mark.parametrize("content", [None, "port = ", "\xff"])
def test_a_settings_file_that_cannot_be_read_is_told(tmp_path, content):
    file = tmp_path / "yard.toml"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidSettings, match=r"yard\.toml"):
        load_settings({}, {}, [file])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org")),
    ],
)
def test_only_addresses_of_this_machine_count_as_loopback(host, loopback):
    assert load_settings({"host": host}, {}).is_loopback is loopback
