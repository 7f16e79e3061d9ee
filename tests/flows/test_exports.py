"""Exports of a version over HTTP: made once, whole or not at all, handed out as one file."""

import contextlib
import hashlib
import io
import threading
import time
import zipfile

import pytest
from yard_waiting import wait_until


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kin,kin-too,bare")
    server.wait_ready("kin")
    return server


@pytest.fixture(scope="module")
def version(server):
    return server.wait_run(server.train("kin", count=3))["weights"]


def path(version, model="kin"):
    return f"/v2/models/{model}/weights/{version}/exports/"


def export(server, version, name, timeout=None, model="kin"):
    headers = {} if timeout is None else {"X-Request-Timeout": timeout}
    return server.post(path(version, model), json={"format": name}, headers=headers)


def test_an_export_is_made_once_and_carries_its_largest_difference(server, version):
    assert server.get(path(version)).json() == {
        "formats": ["safetensors", "text", "pair", "sly", "crash", "slow", "stop", "hang", "vast"],
        "exports": [],
    }
    made = export(server, version, "text")
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["format"], told["max_difference"], told["samples"]) == ("text", 0.125, 2)
    assert told["details"] == {"unit": "none"} and told["file"] == "values.txt"
    again = export(server, version, "text")
    assert again.status_code == 200 and again.json() == told
    assert [one["format"] for one in server.get(path(version)).json()["exports"]] == ["text"]
    file = server.get(made.headers["Location"])
    assert hashlib.sha256(file.content).hexdigest() == told["sha256"]
    assert file.headers["Content-Disposition"].endswith(f'kin-{version[:8]}.txt"')
    part = server.get(made.headers["Location"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, file.content[:4])


def test_several_files_are_one_zip_with_links_as_what_they_point_to(server, version):
    told = export(server, version, "pair").json()
    assert [item["path"] for item in told["files"]] == ["link", "more/count.txt", "values.txt"]
    file = server.get(path(version) + "pair")
    assert file.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert archive.namelist() == ["link", "more/count.txt", "values.txt"]
        assert archive.read("link") == archive.read("values.txt")
        assert archive.read("more/count.txt") == b"3"


def test_an_export_with_a_link_that_leads_out_fails_and_says_so(server, version):
    answer = export(server, version, "sly")
    told = answer.json()["message"]
    assert answer.status_code == 500 and "'link' is a link that leads out of the folder" in told
    assert str(server.home) not in answer.text
    assert server.get(path(version) + "sly").status_code == 404


def test_safetensors_are_the_weights_own_file(server, version):
    told = export(server, version, "safetensors").json()
    assert (told["file"], told["max_difference"]) == ("part.safetensors", 0.0)
    assert server.get(path(version) + "safetensors").content == b"not really"


def test_a_crash_of_the_model_in_an_export_leaves_nothing_and_harms_no_prediction(server, version):
    answer = export(server, version, "crash")
    assert answer.status_code == 500 and "SIGABRT" in answer.json()["message"]
    assert server.get(path(version) + "crash").status_code == 404
    folder = server.home / "weights" / version / "exports"
    assert "crash" not in {found.name.removeprefix(".new-") for found in folder.iterdir()}
    assert server.predict("kin").status_code == 200


def test_clients_that_ask_at_the_same_time_get_one_export(server, version):
    answers = []
    ask = lambda: answers.append(export(server, version, "slow"))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["created_at"] for answer in answers}) == 1


def test_an_export_that_stops_itself_is_told_and_keeps_no_other_one_waiting(server, version):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(export(server, version, "stop")))
    thread.start()
    wait_until(lambda: server.children("serving.task_process"))
    after = export(server, version, "pair")  # waits for its turn, and gets it
    thread.join()
    assert after.ok, after.text
    assert answers[0].status_code == 500, answers[0].text
    assert "stopped by a signal (SIGSTOP)" in answers[0].json()["message"]
    assert not server.children("serving.task_process")


def test_an_export_that_hangs_ends_with_the_time_of_its_request(server, version):
    for wrong in ("0.5", "86401", "soon"):
        refused = export(server, version, "hang", wrong)
        assert refused.status_code == 422 and "X-Request-Timeout" in refused.json(), refused.text
    begun = []
    for limit in (2, 10, 50):  # counts the start too, which a busy machine makes long
        answers = []
        asking = threading.Thread(
            target=lambda t=limit, a=answers: a.append(export(server, version, "hang", str(t)))
        )
        asking.start()
        while asking.is_alive():
            begun = begun or server.children("serving.task_process")
            time.sleep(0.05)
        assert answers[0].status_code == 504, answers[0].text
        assert "the request's X-Request-Timeout" in answers[0].json()["message"]
        if begun:
            break
    assert begun
    wait_until(lambda: not server.children("serving.task_process"))
    folder = server.home / "weights" / version / "exports"
    wait_until(lambda: not (folder / ".new-hang").exists())
    assert not (folder / "hang").exists()


def test_an_export_of_vast_files_ends_with_its_request_and_with_the_server(start_server):
    """A terabyte of holes takes no place on the disk, and very long to be read."""
    server = start_server("--model-name", "kin", "--no-warm-start")
    server.wait_ready("kin")
    version = server.wait_run(server.train("kin", count=3))["weights"]
    folder = server.home / "weights" / version / "exports"
    refused = export(server, version, "vast", "8")
    assert refused.status_code == 504, refused.text
    wait_until(lambda: not (folder / ".new-vast").exists())
    asking = threading.Thread(target=_quietly, args=(export, server, version, "vast"))
    asking.start()
    wait_until(lambda: (folder / ".new-vast" / "holes").exists())
    wait_until(lambda: not server.children("serving.task_process"))
    assert server.stop(timeout=30) == 0
    asking.join()
    assert not (folder / ".new-vast").exists()


def test_an_export_that_hangs_holds_up_nothing_but_its_own_model(server, version):
    other = server.wait_run(server.train("kin-too", count=1))["weights"]
    hanging = lambda: _quietly(export, server, other, "hang", model="kin-too")  # noqa: E731
    asking = threading.Thread(target=hanging, daemon=True)  # until the server ends
    asking.start()
    wait_until(lambda: server.children("serving.task_process"))
    joined = export(server, other, "hang", "1", "kin-too")  # its own time, not that of the first
    assert joined.status_code == 504 and "X-Request-Timeout" in joined.json()["message"]
    assert export(server, other, "safetensors", model="kin-too").ok, "no work of the model's"
    assert export(server, version, "slow").ok
    assert asking.is_alive() and server.children("serving.task_process")


def test_the_time_of_an_export_is_documented(server):
    document = server.get("/openapi.json").json()
    operation = document["paths"]["/v2/models/{model}/weights/{id}/exports/"]["post"]
    (header,) = [p for p in operation["parameters"] if p["name"] == "X-Request-Timeout"]
    assert (header["schema"]["minimum"], header["schema"]["maximum"]) == (1, 86400)
    assert "600 s" in header["description"] and "Idempotency-Key" in str(operation["parameters"])


def test_what_there_is_not_is_told_with_what_there_is(server, version):
    answer = export(server, version, "onnx")
    assert answer.status_code == 422
    assert "safetensors, text, pair" in answer.json()["format"][0]
    assert server.get(path(version) + "onnx").status_code == 404
    assert server.get(path("0" * 32)).status_code == 404
    assert server.post(path(version), json={}).status_code == 422
    assert server.post(path(version), json={"format": "../x"}).status_code == 422


def test_an_export_is_no_part_of_the_version_and_is_made_anew_if_it_is_damaged(server, version):
    told = export(server, version, "text").json()
    kept = server.home / "weights" / version / "exports" / "text" / told["file"]
    kept.write_text("cut")
    assert server.get(path(version) + "text").status_code == 404
    again = export(server, version, "text")
    assert again.status_code == 201 and again.json()["sha256"] == told["sha256"]


@pytest.mark.slow
def test_a_kill_of_the_server_during_an_export_leaves_nothing_half(start_server):
    server = start_server("--model-name", "kin")
    server.wait_ready("kin")
    version = server.wait_run(server.train("kin"))["weights"]
    folder = server.home / "weights" / version / "exports"
    asking = threading.Thread(target=lambda: _quietly(export, server, version, "slow"))
    asking.start()
    while not (folder / ".new-slow").exists():
        pass
    server.kill()
    asking.join()
    assert not (folder / "slow").exists()
    server.start()
    server.wait_ready("kin")
    assert server.get(path(version)).json()["exports"] == []
    assert export(server, version, "slow").status_code == 201
    assert sorted(found.name for found in folder.iterdir()) == ["slow"]


def _quietly(action, *arguments, **more):
    with contextlib.suppress(OSError):  # the server was killed: a reset connection
        action(*arguments, **more)
