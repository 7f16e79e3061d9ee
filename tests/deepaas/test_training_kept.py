"""Curves and files of old modules' trainings: in TensorBoard, and as versions of the weights."""

import time

import pytest


@pytest.fixture(scope="module")
def server(serve_old, tmp_path_factory):
    # The settings name the folder that `OLD_MODULES_BASE` has below it: the same for both.
    base = tmp_path_factory.mktemp("by-settings")
    settings = base / "settings.toml"
    settings.write_text(f'[models.old-keeper]\nweights_folder = "{base}/models"\n')
    server = serve_old(
        *("old-monitored", "old-keeper"),
        flags=("--config-file", str(settings)),
        env={"OLD_MODULES_BASE": str(base)},
    )
    server.base = base
    return server


def shown(server, record, within_s=30.0):
    """What TensorBoard shows below the run's name, as soon as it shows anything."""
    end = time.monotonic() + within_s
    name = f"{record['model']}/{record['uuid']}/"
    while time.monotonic() < end:
        tags = server.get("/tensorboard/data/plugin/scalars/tags").json()
        found = {run[len(name) :]: set(tags[run]) for run in tags if run.startswith(name)}
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{record['uuid']} is not shown\n{server.log(record)}")


def test_the_curves_of_a_module_with_a_tensorboard_of_its_own_are_shown_while_it_trains(server):
    record = server.train("old-monitored", steps=60, seconds=1.0)
    (curves,) = shown(server, record).values()
    assert curves == {"scalars/loss"}
    assert server.run(record)["status"] == "running"
    assert "are shown by the server at /tensorboard/" in server.log(record)
    server.delete(f"/v2/models/old-monitored/train/{record['uuid']}")
    server.wait_run(record)


@pytest.mark.slow
def test_the_curves_of_an_ended_training_are_shown_after_a_restart(serve_old, start_server):
    first = serve_old("old-monitored")
    record = first.train("old-monitored")
    assert first.wait_run(record)["status"] == "done"
    first.stop()
    second = start_server("--model-name", "old-monitored", home=first.home)
    assert list(shown(second, record).values()) == [{"scalars/loss"}]


@pytest.mark.parametrize("do", ["path", "named", "sentence", "timestamp"])
def test_what_a_training_writes_in_its_model_folder_becomes_a_version(server, do):
    record = server.wait_run(server.train("old-keeper", do=do, name=f"by-{do}"))
    version = server.get(f"/v2/models/old-keeper/weights/{record['weights']}").json()
    paths = {file["path"].rpartition("/")[2] for file in version["files"]}
    assert (paths, version["run"]) == ({"conf.json", "weights.h5"}, record["uuid"])


def test_names_that_no_archive_holds_are_changed_and_links_are_told_in_the_log(server):
    record = server.wait_run(server.train("old-keeper", do="linked", name="at-10:20:30"))
    address = f"/v2/models/old-keeper/weights/{record['weights']}"
    paths = {file["path"] for file in server.get(address).json()["files"]}
    assert paths == {"at-10-20-30/weights.h5", "at-10-20-30/conf/conf.json"}
    assert "at-10:20:30/again.h5 is a link and not kept, but for what" in server.log(record)
    assert server.get(f"{address}/archive").ok
