"""Versions are shared by workers, runs and archives: nobody's `load` changes one unnoticed."""

import json
import os
import signal
import stat
import time

import pytest
import requests
from yard_rights import modes_bind
from yard_waiting import wait_until

MODELS = ("counter", "scribbler")


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", ",".join(MODELS), "--no-warm-start")
    for model in MODELS:
        server.wait_ready(model)
    return server


def trained(server, model, **arguments) -> str:
    """The id of the version that a training made."""
    record = server.wait_run(server.train(model, **arguments))
    assert record["status"] == "done", record
    return record["weights"]


def folder_of(server, version):
    return server.home / "weights" / version


def address(version, model="counter") -> str:
    return f"/v2/models/{model}/weights/{version}"


def error_of(server, model, version) -> str:
    """What the model tells of weights that it could not load."""
    until = time.monotonic() + 60
    while version not in (
        told := server.get(f"/v2/models/{model}/").json().get("weights_error", "")
    ):
        assert time.monotonic() < until, told
        time.sleep(0.05)
    return told


def is_corrupt(server, answer, file) -> bool:
    told = answer.json()
    assert (answer.status_code, told["type"]) == (500, "urn:modelyard:corrupt"), answer.text
    assert "Retry-After" not in answer.headers
    assert str(server.home) not in answer.text and "Traceback" not in answer.text
    return file in told["message"] and "doctor --repair" in told["message"]


def test_files_that_a_model_has_loaded_are_read_only_and_can_be_removed(server):
    version = trained(server, "counter")
    assert server.predict("counter", params={"weights": version}).ok
    other = trained(server, "counter")
    files = folder_of(server, version) / "files"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.rglob("*")}
    assert modes == {"count.json": 0o444}
    assert files.stat().st_mode & stat.S_IWUSR, "rm -r of a home needs no chmod"
    assert server.predict("counter", params={"weights": other}).ok
    until = time.monotonic() + 30
    while server.delete(address(version)).status_code == 409:  # predictions still use it
        assert time.monotonic() < until
        time.sleep(0.1)
    assert not folder_of(server, version).exists()


@pytest.mark.parametrize("how", ["overwrite", "replace", "remove"])
def test_a_load_that_changes_its_weights_is_told_and_its_version_is_not_taken_for_whole(
    server, tmp_path, how
):
    version = trained(server, "scribbler", load=how)
    told = error_of(server, "scribbler", version)
    if modes_bind(tmp_path):
        assert "PermissionError" in told and "read only: have load() write elsewhere" in told
        assert server.get(address(version, "scribbler") + "/archive").ok
        return
    assert "changed the files of its weights folder" in told and "inner/data.bin" in told
    again = server.predict("scribbler", params={"weights": version})
    assert again.status_code == 503 and "inner/data.bin" in again.json()["message"]
    assert ("damaged: inner/data.bin" in again.json()["message"] and "SHA-256" in again.text) or (
        how == "remove" and "is missing" in again.text
    )
    archive = server.get(address(version, "scribbler") + "/archive")
    assert is_corrupt(server, archive, "files/inner/data.bin")


def test_a_version_that_rotted_is_corrupt_to_all_and_mended_by_its_archive(server):
    version = trained(server, "counter", steps=4)
    trained(server, "counter", steps=5)
    good = server.get(address(version) + "/archive")
    assert good.ok
    file = folder_of(server, version) / "files" / "count.json"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("4", "7"))
    assert is_corrupt(server, server.get(address(version) + "/archive"), "files/count.json")
    assert is_corrupt(
        server, server.get(address(version) + "/archive?format=zip"), "files/count.json"
    )
    share = server.post(address(version) + "/link", json={})
    token = share.json()["url"].rpartition("/")[2]
    assert is_corrupt(server, server.get(f"/v2/shared/{token}"), "files/count.json")
    headers = {"Content-Type": "application/gzip"}
    back = server.post("/v2/models/counter/weights/", data=good.content, headers=headers)
    assert back.status_code == 200, back.text
    assert server.get(address(version) + "/archive").content == good.content
    answer = server.predict("counter", params={"weights": version})
    assert answer.json()["predictions"]["count"] == 4, answer.text


def test_a_manifest_that_rotted_is_told_without_a_path(server):
    version = trained(server, "counter", steps=2)
    (folder_of(server, version) / "manifest.json").write_text('{"id": ')
    for what in ("archive", "card", "lineage"):
        assert is_corrupt(server, server.get(f"{address(version)}/{what}"), "manifest.json")


def test_a_model_whose_weights_rot_while_it_serves_goes_on_with_the_version_before(server):
    """Its worker dies, and cannot load them again."""
    before = trained(server, "counter", steps=6)
    wait_until(lambda: server.predict("counter").json()["predictions"]["count"] == 6)
    rotten = trained(server, "counter", steps=7)
    wait_until(lambda: server.predict("counter").json()["predictions"]["count"] == 7)
    file = folder_of(server, rotten) / "files" / "count.json"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("7", "9"))
    for worker in server.get("/v2/models/counter/").json()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)

    def answered():
        answer = server.predict("counter")
        assert answer.status_code in (200, 503), answer.text
        return answer.ok and answer.json()["predictions"]["count"] == 6

    wait_until(answered)
    told = server.get("/v2/models/counter/").json()
    assert (told["state"], told["weights"]) == ("ready", before)
    assert rotten in told["weights_error"] and "count.json" in told["weights_error"]
    new = trained(server, "counter", steps=8)
    wait_until(lambda: server.get("/v2/models/counter/").json()["weights"] == new)
    assert "weights_error" not in server.get("/v2/models/counter/").json()


def test_a_version_with_a_share_of_the_calls_that_rots_leaves_its_share_to_the_other(server):
    whole = trained(server, "counter", steps=9)
    rotten = trained(server, "counter", steps=10)
    alias = "/v2/models/counter/weights/aliases/production"
    shares = [{"version": whole, "weight": 50}, {"version": rotten, "weight": 50}]
    assert requests.put(server.url + alias, json={"versions": shares}).ok

    def counts():
        answers = [server.predict("counter") for _ in range(8)]
        assert {answer.status_code for answer in answers} <= {200, 503}
        return {answer.json()["predictions"]["count"] if answer.ok else 0 for answer in answers}

    wait_until(lambda: counts() == {9, 10})
    file = folder_of(server, rotten) / "files" / "count.json"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("10", "99"))
    for worker in server.get("/v2/models/counter/").json()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: counts() == {9})
    assert [counts() for _ in range(20)] == [{9}] * 20
    told = server.get("/v2/models/counter/").json()["traffic"]
    assert rotten in told["problem"] and "count.json" in told["problem"]
    assert [one["ready"] for one in told["versions"]] == [True, False]
    assert server.delete(alias).status_code == 204  # the latest is to answer now, and cannot
    assert [counts() for _ in range(40)] == [{9}] * 40
    wait_until(lambda: rotten in server.get("/v2/models/counter/").json()["weights_error"])


@pytest.mark.parametrize("name", ["odd\udcff.json", "C:odd.json", "odd\\odd.json"])
def test_a_version_of_an_earlier_release_whose_names_no_archive_holds_says_so(server, name):
    version = trained(server, "counter", steps=2)
    folder = folder_of(server, version)
    (folder / "files" / "count.json").rename(folder / "files" / name)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][0]["path"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    answer = server.get(address(version) + "/archive")
    assert answer.status_code == 409, answer.text
    assert repr(name)[1:-1] in answer.json()["message"]
    assert str(server.home) not in answer.text and "Traceback" not in answer.text
    assert server.get(address(version) + "/card").ok
