"""A plugin's process sees what it needs of the environment, and no secret."""

import pytest

from modelyard.models_plugin.environment import plugin_environment
from modelyard.models_plugin.plugin import DEEPAAS_GROUP, PluginSource

NATIVE = PluginSource("one", "one:One")
DEEPAAS = PluginSource("old", "old.api", group=DEEPAAS_GROUP)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "MODELYARD_DATABASE",
        "GITHUB_TOKEN",
        "HF_TOKEN",
        "DATABASE_URL",
        "SSH_AUTH_SOCK",
        "PYTHON_PASSWORD",
        "SOMETHING_NEW",
    ],
)
def test_secrets_and_the_unknown_stay_in_the_server(name):
    assert name not in plugin_environment(NATIVE, {}, environ={name: "s3cret"})


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LC_ALL", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "HF_HOME", "TZ"]
)
def test_what_plugins_need_is_passed_on(name):
    assert plugin_environment(NATIVE, {}, environ={name: "x"})[name] == "x"


@pytest.mark.parametrize("name", ["RCLONE_CONFIG", "HF_TOKEN", "SOMETHING_NEW", "PYTHONPATH"])
def test_a_deepaas_module_sees_what_its_image_is_configured_by(name):
    assert plugin_environment(DEEPAAS, {}, environ={name: "x"})[name] == "x"


@pytest.mark.parametrize("source", [NATIVE, DEEPAAS], ids=lambda source: source.group)
@pytest.mark.parametrize("name", ["MODELYARD_DATABASE", "MODELYARD_CONFIG_FILE"])
def test_the_servers_settings_are_nobodys_business(source, name):
    assert name not in plugin_environment(source, {}, environ={name: "x"})


def test_a_deepaas_module_sees_credentials_of_s3_unless_they_are_the_stores():
    environ = {"AWS_PROFILE": "x", "AWS_ENDPOINT_URL": "y", "RCLONE_CONFIG": "z"}
    assert plugin_environment(DEEPAAS, {}, environ=environ) == environ
    own = {"AWS_PROFILE": "mine"}
    seen = plugin_environment(DEEPAAS, own, environ=environ, withhold_s3=True)
    assert seen == {"AWS_PROFILE": "mine", "RCLONE_CONFIG": "z"}


def test_a_models_own_table_may_name_anything_and_wins():
    own = {"AWS_PROFILE": "mine", "PATH": "/own"}
    assert plugin_environment(NATIVE, own, environ={"PATH": "/usr/bin"}) == own


def test_math_libraries_are_bounded():
    assert plugin_environment(NATIVE, {}, 3, {})["OMP_NUM_THREADS"] == "3"
    assert plugin_environment(NATIVE, {"OMP_NUM_THREADS": "8"}, 3, {})["OMP_NUM_THREADS"] == "8"


def test_threads_that_wait_do_not_spin_unless_somebody_wants_them_to():
    assert plugin_environment(NATIVE, {}, 2, {})["OMP_WAIT_POLICY"] == "PASSIVE"
    active = {"OMP_WAIT_POLICY": "ACTIVE"}
    assert plugin_environment(NATIVE, {}, 2, active)["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("group", [NATIVE.group, DEEPAAS_GROUP])
def test_another_interpreter_gets_no_path_of_the_servers(group):
    source = PluginSource("own", "own:Own", group=group, python="/srv/own/bin/python")
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON_GIL")
    environ = {**dict.fromkeys(ours, "/ours"), "PYTHONHASHSEED": "1", "PATH": "/usr/bin"}
    seen = plugin_environment(source, {}, environ=environ)
    assert seen == {"PYTHONHASHSEED": "1", "PATH": "/srv/own/bin:/usr/bin"}
    own = {"PYTHONPATH": "/srv/modules"}
    assert plugin_environment(source, own, environ=environ)["PYTHONPATH"] == "/srv/modules"


def test_programs_of_the_models_own_environment_are_found_first(tmp_path):
    (tmp_path / "pyvenv.cfg").touch()
    source = PluginSource("own", "own:Own", python=str(tmp_path / "bin" / "python"))
    seen = plugin_environment(source, {}, environ={"PATH": "/usr/bin", "VIRTUAL_ENV": "/ours"})
    assert seen == {"VIRTUAL_ENV": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin"}


def test_memory_that_a_worker_used_is_kept_for_the_next_batch_unless_somebody_says_otherwise():
    assert int(plugin_environment(NATIVE, {}, 1, {})["MALLOC_TRIM_THRESHOLD_"]) >= 2**27
    said = plugin_environment(NATIVE, {}, 1, {"MALLOC_ARENA_MAX": "2"})
    assert [name for name in said if name.startswith("MALLOC_")] == ["MALLOC_ARENA_MAX"]
    assert (
        plugin_environment(NATIVE, {"MALLOC_TRIM_THRESHOLD_": "0"}, 1, {})["MALLOC_TRIM_THRESHOLD_"]
        == "0"
    )
