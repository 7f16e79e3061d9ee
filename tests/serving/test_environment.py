"""A plugin's process sees what it needs of the environment, and no secret."""

import pytest

from modelyard.serving.environment import plugin_environment


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
    assert name not in plugin_environment({}, environ={name: "s3cret"})


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LC_ALL", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "HF_HOME", "TZ"]
)
def test_what_plugins_need_is_passed_on(name):
    assert plugin_environment({}, environ={name: "x"})[name] == "x"


def test_a_models_own_table_may_name_anything_and_wins():
    own = {"AWS_PROFILE": "mine", "PATH": "/own"}
    assert plugin_environment(own, environ={"PATH": "/usr/bin"}) == own


def test_math_libraries_are_bounded():
    assert plugin_environment({}, 3, {})["OMP_NUM_THREADS"] == "3"
    assert plugin_environment({"OMP_NUM_THREADS": "8"}, 3, {})["OMP_NUM_THREADS"] == "8"


def test_threads_that_wait_do_not_spin_unless_somebody_wants_them_to():
    assert plugin_environment({}, 2, {})["OMP_WAIT_POLICY"] == "PASSIVE"
    active = {"OMP_WAIT_POLICY": "ACTIVE"}
    assert plugin_environment({}, 2, active)["OMP_WAIT_POLICY"] == "ACTIVE"
