"""What odd clients, full disks and changed settings must not do."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "files,bare,counter,kinds")
    for model in ("files", "bare", "counter", "kinds"):
        server.wait_ready(model)
    return server


def raw(server, text: bytes) -> bytes:
    """One request as bytes, on a connection of its own; what came back."""
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text)
        return connection.recv(65536)


@pytest.mark.parametrize("path", ["predict", "train"])
def test_an_odd_byte_in_a_header_harms_no_other_call(server, path):
    model = "bare" if path == "predict" else "counter"
    head = f"POST /v2/models/{model}/{path}/ HTTP/1.1\r\nHost: localhost\r\n".encode()
    answer = raw(server, head + b"User-Agent: Zo\xeb\r\nX-Foo: \xeb\r\nContent-Length: 0\r\n\r\n")
    assert answer.split()[1] in (b"200", b"400")
    started = time.monotonic()
    assert server.predict("bare").status_code == 200
    assert time.monotonic() - started < 8


def test_an_odd_byte_in_a_file_name_harms_no_other_call(server):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="upload"; filename="\xff.png"\r\n\r\n'
        b"1\r\n--x--\r\n"
    )
    head = b"POST /v2/models/files/predict/ HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
    answer = raw(server, head % len(body) + body)
    assert answer.split()[1] in (b"200", b"400")
    assert server.predict("files", files={"upload": b"1"}).status_code == 200


@pytest.mark.parametrize(
    "id", ["5-9223372036854775807-0", "1_0-0-0", "٣-0-0", "-1-0-0", "1-2", "a-b-c"]
)
def test_an_event_id_that_was_never_sent_is_422(server, id):
    record = server.wait_run(server.train("counter", steps=1))
    answer = requests.get(
        server.url + record["links"]["events"],
        headers={"Last-Event-ID": id.encode()},
        timeout=10,
    )
    assert answer.status_code == 422


def test_a_parameter_of_the_server_given_twice_is_422(server):
    assert list(server.get("/readyz?model=kinds&model=nope").json()) == ["model"]
    answer = server.predict("counter", params=[("weights", "a"), ("weights", "b")])
    assert list(answer.json()) == ["weights"]


def test_every_answer_is_hardened_and_tells_no_version(server):
    for path in ("/healthz", "/nowhere", "/ui", "/v2/models/nobody/"):
        answer = requests.get(server.url + path, timeout=10, allow_redirects=False)
        assert answer.headers["Server"] == "modelyard"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_encoded_file_part_is_refused_and_not_stored_encoded(server):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="upload"; filename="a.png"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nYWJj\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert server.predict("files", data=body, headers=kind).status_code == 400


def test_runs_of_a_model_that_is_not_served_any_more_can_be_seen_and_cancelled(start_server):
    server = start_server("--model-name", "counter,bare")
    server.wait_ready("counter")
    running = server.train("counter", steps=100_000, seconds=0.01)
    server.wait_run(running, "training")
    server.kill()
    again = start_server("--model-name", "bare", home=server.home)
    assert [item["uuid"] for item in again.get("/v2/models/counter/train/").json()] == [
        running["uuid"]
    ]
    assert again.run(running)["status"] == "running"
    assert again.delete(running["links"]["self"]).json()["status"] == "cancelled"
    assert again.wait_run(running)["phase"] == "finished"
    assert again.get("/v2/models/nobody/train/").status_code == 404


@pytest.fixture
def small_disk(tmp_path):
    """A home of 24 MB; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_507_and_the_server_goes_on_when_there_is_room_again(
    start_server, small_disk
):
    flags = ("--model-name", "files,counter", "--min-free", "0")
    server = start_server(*flags, home=small_disk / "home")
    server.wait_ready("files")
    server.wait_ready("counter")
    upload = server.predict("files", data=bytes(40_000_000), headers={"Content-Type": "image/png"})
    assert upload.status_code == 507, upload.text
    assert list((server.home / "tmp" / "calls").iterdir()) == []
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(100_000))
                file.flush()
        except OSError:
            pass
    train = server.post("/v2/models/counter/train/", json={})
    assert train.status_code == 507, train.text
    assert train.json()["message"]
    filler.unlink()
    assert server.wait_run(server.train("counter"))["status"] == "done"
    assert Path(server.home).exists()
