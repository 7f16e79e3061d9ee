"""One server, models whose environments could not be one: marshmallow 3 with webargs 5, and 4."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugins" / "apart.py"
OLD_MODULES = Path(__file__).parents[1] / "old_plugins"


def install(python: Path, name: str) -> None:
    """The plugin as an installed package that offers the model `name`."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[modelyard.models]\n{name} = apart:Apart\n")
    shutil.copy(PLUGIN, site)


@pytest.fixture(scope="session")
def third(make_environment, oldest_python) -> Path:
    # With --python-version pip does not look at what packaging says it needs.
    old = ("marshmallow==3.22.0", "packaging==24.*")
    libraries = old if oldest_python == "python3.8" else ("marshmallow==3.26.*",)
    python = make_environment("third", oldest_python, *libraries, "webargs==5.5.3")
    install(python, "third")
    return python


@pytest.fixture(scope="session")
def fourth(make_environment) -> Path:
    python = make_environment("fourth", sys.executable, "marshmallow>=4,<5", "webargs>=8.6,<9")
    install(python, "fourth")
    return python


@pytest.fixture(scope="module")
def flags(third, fourth, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "modelyard.toml"
    tables = [("third", third), ("fourth", fourth)]
    file.write_text("".join(f'[models.{name}]\npython = "{path}"\n' for name, path in tables))
    return ["--config-file", str(file)]


@pytest.fixture(scope="module")
def server(serve_module, flags):
    server = serve_module(*flags, "--model-name", "third,fourth,bare")
    for model in ("third", "fourth", "bare"):
        assert server.wait_ready(model)["state"] == "ready", server.get("/v2/models/").text
    return server


def test_two_models_that_could_not_share_an_environment_predict_side_by_side(server, third, fourth):
    told = {}
    for model, python in (("third", third), ("fourth", fourth)):
        answer = server.predict(model, json={"number": 4})
        assert answer.status_code == 200, answer.text
        told[model] = answer.json()["predictions"]
        assert told[model]["prefix"] == told[model]["virtual_env"] == str(python.parents[1])
        assert Path(told[model]["temporary"]).parent == server.home / "tmp" / "workers"
        assert told[model]["has"] == []  # nothing of the server's libraries is needed, or seen
    assert told["third"]["marshmallow"].startswith("3.")
    assert told["third"]["webargs"] == "5.5.3"
    assert told["fourth"]["marshmallow"].startswith("4.")
    assert server.predict("bare").status_code == 200


@pytest.mark.parametrize("model", ["third", "fourth"])
def test_arguments_are_described_and_checked_by_the_environments_own_marshmallow(server, model):
    answer = server.predict(model, json={"number": 10})
    assert answer.status_code == 422
    assert answer.json() == {"number": ["Must be less than or equal to 9."]}
    answer = server.post(f"/v2/models/{model}/train/", json={"epochs": 0})
    assert answer.json() == {"epochs": ["Must be greater than or equal to 1."]}
    described = server.get(f"/v2/models/{model}/").json()
    assert "number" in str(described), described


@pytest.mark.parametrize("model", ["third", "fourth"])
def test_a_training_runs_in_the_models_environment_and_its_weights_serve(
    server, model, third, fourth
):
    record = server.wait_run(server.train(model, epochs=3))
    assert record["status"] == "done", server.log(record)
    output = record["result"]["output"]
    prefix = str({"third": third, "fourth": fourth}[model].parents[1])
    assert output["prefix"] == prefix and output["has"] == []
    assert (output["spawned"]["number"], output["spawned"]["prefix"]) == (7, prefix)
    folder = server.home / "runs" / Path(record["links"]["self"]).name
    assert {output["temporary"], output["spawned"]["temporary"]} == {str(folder / "tmp")}
    assert folder.exists() and not (folder / "tmp").exists()
    series = server.get(record["links"]["metrics"]).json()["series"]
    assert [point[2] for point in series["loss"]] == [1.0, 0.5, 1 / 3]
    assert [point[2] for point in series["odd"]] == [None] * 3
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = server.predict(model, json={"number": 1})
        if answer.headers.get("X-Modelyard-Weights") == record["weights"]:
            break
        time.sleep(0.1)
    assert answer.json()["predictions"]["sum"] == 101


def test_a_killed_worker_comes_back_in_the_same_environment(server, third):
    (worker,) = server.get("/v2/models/third/").json()["workers"][:1]
    os.kill(worker["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        now = server.get("/v2/models/third/").json()
        if now["state"] == "ready" and now["workers"][0]["pid"] not in (None, worker["pid"]):
            break
        time.sleep(0.05)
    told = server.predict("third", json={"number": 1}).json()["predictions"]
    assert told["prefix"] == str(third.parents[1])
    assert (
        Path(f"/proc/{now['workers'][0]['pid']}/cmdline")
        .read_bytes()
        .startswith(os.fsencode(third) + b"\0")
    )


@pytest.mark.slow
def test_a_training_in_an_own_environment_outlives_the_server_and_is_adopted(start_server, flags):
    server = start_server(*flags, "--model-name", "third")
    server.wait_ready("third")
    record = server.train("third", epochs=10, seconds=0.2)
    server.wait_run(record, "training")
    server.kill()
    again = start_server(*flags, "--model-name", "third", home=server.home)
    ended = again.wait_run(record)
    assert ended["status"] == "done", again.log(record)
    assert ended["result"]["output"]["marshmallow"].startswith("3.")


def test_a_cancelled_training_in_an_own_environment_ends_with_its_processes(server):
    record = server.train("third", epochs=1000, seconds=0.05)
    server.wait_run(record, "training")
    server.delete(f"/v2/models/third/train/{record['uuid']}")
    assert server.wait_run(record, timeout=15)["status"] == "cancelled"


@pytest.mark.slow
def test_the_servers_python_path_hides_nothing_of_the_models(start_server, flags, tmp_path):
    (tmp_path / "apart.py").write_text("raise RuntimeError('found by PYTHONPATH of the server')\n")
    ours = {"PYTHONPATH": str(tmp_path), "VIRTUAL_ENV": str(tmp_path)}
    server = start_server(*flags, "--model-name", "third", env=ours)
    assert server.wait_ready("third")["state"] == "ready"
    told = server.predict("third", json={"number": 1}).json()["predictions"]
    assert told["virtual_env"] == told["prefix"]
    assert server.wait_run(server.train("third", epochs=1))["status"] == "done"


def test_a_model_named_explicitly_whose_interpreter_is_missing_ends_the_start(
    start_server, tmp_path
):
    file = tmp_path / "modelyard.toml"
    file.write_text(f'[models.lost]\npython = "{tmp_path}/venv/bin/python"\n')
    server = start_server("--config-file", str(file), "--model-name", "lost", wait=False)
    assert server.process.wait(30) == 3
    assert f"{tmp_path}/venv/bin/python does not exist" in "".join(server.lines)


def test_an_interpreter_that_is_missing_keeps_no_other_model_from_serving(start_server, tmp_path):
    file = tmp_path / "modelyard.toml"
    file.write_text(f'[models.lost]\npython = "{tmp_path}/venv/bin/python"\n')
    server = start_server("--config-file", str(file), "--no-warm-start")
    assert server.wait_ready("bare")["state"] == "ready"
    lost = server.wait_ready("lost")
    assert lost["state"] == "failed"
    assert "does not exist. Give the path of the interpreter" in lost["error"]
    assert server.predict("lost").status_code == 503


@pytest.mark.slow
def test_an_environment_that_is_removed_is_told_and_served_again_when_it_is_back(
    start_server, make_environment, tmp_path
):
    python = make_environment("moving", sys.executable, "marshmallow>=4,<5", "webargs>=8.6,<9")
    install(python, "moving")
    file = tmp_path / "modelyard.toml"
    file.write_text(f'[models.moving]\npython = "{python}"\n')
    server = start_server("--config-file", str(file), "--model-name", "moving")
    (worker,) = server.wait_ready("moving")["workers"]
    root = python.parents[1]
    root.rename(root.with_name("away"))
    os.kill(worker["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    told = ""
    while time.monotonic() < deadline and "cannot be started with" not in told:
        told = str(server.get("/v2/models/moving/").json()["workers"])
        time.sleep(0.05)
    assert str(python) in told
    root.with_name("away").rename(root)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.predict("moving", json={"number": 1}).status_code == 200:
            return
        time.sleep(0.2)
    raise AssertionError(server.get("/v2/models/moving/").text)


@pytest.mark.slow
def test_a_deepaas_module_runs_in_an_environment_with_the_real_deepaas(
    start_server, make_environment, tmp_path
):
    python = make_environment("deepaas", sys.executable, "deepaas==2.6.0")
    file = tmp_path / "modelyard.toml"
    file.write_text(
        f'[models.old-demo]\npython = "{python}"\nenv = {{ PYTHONPATH = "{OLD_MODULES}" }}\n'
    )
    server = start_server("--config-file", str(file), "--model-name", "old-demo,bare")
    assert server.wait_ready("old-demo")["contract"] == "deepaas"
    answer = server.predict("old-demo")
    assert answer.status_code == 422
    assert answer.json()["demo-image"] == ["Missing data for required field."]
    record = server.wait_run(server.train("old-demo", epoch_num=1))
    assert record["status"] == "done", server.log(record)
    assert server.predict("bare").status_code == 200
