"""The table of test_bad_plugins.py with a DEEPaaS module, and with another interpreter's kit."""

import shutil
import sys
from pathlib import Path

import pytest

from .test_bad_plugins import ANY, TABLE, check_predict, check_train

OLD = ("old-villain", "old-villain-too", "old-villain-again")
APART = ("hostile", "hostile-too", "hostile-again")
PLUGIN = Path(__file__).parents[1] / "plugins" / "yard_fixtures" / "hostile.py"
SAMPLE = ("interrupt", "recurse", "delete_temporary", "patch_all", "lambda")
OF_NATIVE = ("delete", "headers")
"""What only a native model of the table can do: it knows the folder, or answers with headers."""
ROWS = [bad for bad in TABLE if bad.do not in OF_NATIVE]


def settings(folder, models, more=""):
    config = folder / "yard.toml"
    table = '[models.{}]\nmemory_limit = "400M"\npredict_timeout = 3\n' + more
    config.write_text("".join(table.format(model) for model in models))
    return (
        *("--model-name", ",".join([*models, "bare"]), "--config-file", str(config)),
        *("--answer-max-size", "16M"),
    )


def ready(server, models):
    for model in (*models, "bare"):
        assert server.wait_ready(model)["state"] == "ready", server.get("/v2/models/").text
    return server


@pytest.fixture(scope="module")
def old(serve_module, tmp_path_factory):
    return ready(serve_module(*settings(tmp_path_factory.mktemp("old"), OLD)), OLD)


@pytest.fixture(scope="module")
def apart(serve_module, make_environment, oldest_python, tmp_path_factory):
    """The hostile model in an environment of the oldest Python that works."""
    old = ("marshmallow==3.22.0", "packaging==24.*")
    new = ("marshmallow>=3,<4",)
    python = make_environment(
        "apart", oldest_python, *(new if oldest_python == sys.executable else old)
    )
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    info = site / "apart-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: apart\nVersion: 1.0\n")
    points = "".join(f"{model} = hostile:Hostile\n" for model in APART)
    (info / "entry_points.txt").write_text(f"[modelyard.models]\n{points}")
    shutil.copy(PLUGIN, site)
    more = f'python = "{python}"\n'
    return ready(serve_module(*settings(tmp_path_factory.mktemp("apart"), APART, more)), APART)


@pytest.mark.parametrize("bad", [b for b in ROWS if b.do in SAMPLE], ids=lambda bad: bad.do)
def test_a_prediction_of_an_old_module_that_misbehaves_fails_alone(old, bad):
    check_predict(old, bad, OLD)


@pytest.mark.parametrize("do", ["patch_all"])
def test_a_training_of_an_old_module_that_misbehaves_fails_alone(old, do):
    check_train(old, next(bad for bad in ROWS if bad.do == do), OLD[0])


@pytest.mark.slow
@pytest.mark.parametrize("bad", [b for b in ROWS if b.do not in SAMPLE], ids=lambda bad: bad.do)
def test_so_do_all_the_others(old, bad):
    check_predict(old, bad, OLD)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [b for b in ROWS if b.train], ids=lambda bad: bad.do)
def test_so_do_trainings_of_an_old_module(old, bad):
    # Without the descriptors by which it is heard which files the module writes, the run fails.
    check_train(old, bad._replace(train=ANY) if bad.do == "close_all_files" else bad, OLD[0])


@pytest.mark.slow
@pytest.mark.parametrize("bad", ROWS, ids=lambda bad: bad.do)
def test_so_does_a_prediction_in_the_oldest_python(apart, bad):
    check_predict(apart, bad, APART)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [b for b in ROWS if b.train], ids=lambda bad: bad.do)
def test_so_does_a_training_in_the_oldest_python(apart, bad):
    check_train(apart, bad, APART[0])
