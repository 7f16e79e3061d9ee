"""Large answers are packed for clients that take them so; packed requests are taken too."""

import gzip
import http.client
import json
import zlib
from urllib.parse import urlsplit

import brotli
import pytest
import requests

from modelyard.client import Client

GZIP = {"Content-Encoding": "gzip"}
UNPACKED = {"gzip": gzip.decompress, "br": brotli.decompress}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,files", "--no-warm-start")
    for model in ("kinds", "files"):
        server.wait_ready(model)
    return server


def raw(server, method, path, body=None, **headers):
    """The answer as it is sent: libraries unpack it."""
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


def predict(server, size, **headers):
    body = json.dumps({"text": "x" * size}).encode()
    headers = {"Content_Type": "application/json", **headers}
    return raw(server, "POST", "/v2/models/kinds/predict/", body, **headers)


@pytest.mark.parametrize("size", [50_000, 3_000_000])
@pytest.mark.parametrize(
    ("taken", "coding"),
    [
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=0.5, gzip;q=0.5", "br"),
        ("br;q=0.4, gzip;q=0.5", "gzip"),
        ("gzip;q=0, br", "br"),
        ("br;q=0, *", "gzip"),
        ("*", "gzip"),
        ("identity;q=0.5, gzip", "gzip"),
    ],
)
def test_a_large_answer_is_packed_as_the_client_likes_best(server, size, taken, coding):
    answer, body = predict(server, size, Accept_Encoding=taken)
    assert answer.headers["Content-Encoding"] == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert json.loads(UNPACKED[coding](body))["predictions"]["text"] == ["str", "x" * size]
    assert len(body) < size / 10


@pytest.mark.parametrize("size", [50_000, 3_000_000])
def test_common_clients_read_what_is_packed(server, size):
    answer = server.predict("kinds", json={"text": "x" * size})
    assert answer.headers["Content-Encoding"] == "br"  # requests takes it if it can read it
    assert answer.json()["predictions"]["text"][1] == "x" * size
    with Client(server.url) as client:
        answered = client.predict("kinds", {"text": "x" * size}).json()
    assert answered["predictions"]["text"][1] == "x" * size


@pytest.mark.parametrize("size", [50_000, 3_000_000])
@pytest.mark.parametrize(
    "taken",
    [
        {},
        {"Accept_Encoding": "gzip;q=0, *;q=0.5"},
        {"Accept_Encoding": "br;q=0, deflate"},
        {"Accept_Encoding": "gzip;q=0.5, identity"},
    ],
)
def test_it_is_sent_as_it_is_to_who_does_not(server, taken, size):
    answer, body = predict(server, size, **taken)
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert json.loads(body)["predictions"]["text"][1] == "x" * size


def test_a_small_answer_is_never_packed(server):
    answer, body = predict(server, 100, Accept_Encoding="gzip")
    assert "Content-Encoding" not in answer.headers
    assert "Vary" not in answer.headers
    assert json.loads(body)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_document_that_has_not_changed_is_known_by_its_packed_tag_too(server, coding):
    answer, _ = raw(server, "GET", "/openapi.json", Accept_Encoding=coding)
    assert answer.headers["Content-Encoding"] == coding
    again, _ = raw(server, "GET", "/openapi.json", If_None_Match=answer.headers["ETag"])
    assert again.status == 304


def test_a_packed_request_is_read(server):
    body = gzip.compress(json.dumps({"whole": 7}).encode())
    answer = server.predict(
        "kinds", data=body, headers={"Content-Type": "application/json", **GZIP}
    )
    assert answer.json()["predictions"]["whole"] == ["int", 7]


def test_packed_lines_and_packed_files_are_read(server):
    lines = gzip.compress(b'{"whole": 1}\n{"whole": 2}\n')
    answer = server.predict(
        "kinds", data=lines, headers={"Content-Type": "application/x-ndjson", **GZIP}
    )
    assert len(answer.text.splitlines()) == 2
    picture = gzip.compress(b"12345")
    answer = server.predict("files", data=picture, headers={"Content-Type": "image/png", **GZIP})
    assert answer.json()["predictions"]["bytes"] == 5


def test_a_request_that_swells_beyond_measure_is_refused(server):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1024**2)) for _ in range(200)), packer.flush()])
    assert len(bomb) < 300_000
    for kind in ("application/json", "image/png"):
        answer = server.predict("files", data=bomb, headers={"Content-Type": kind, **GZIP})
        assert answer.status_code == 413, answer.text
    lines = {"Content-Type": "application/x-ndjson", **GZIP}
    answer = server.predict("kinds", data=bomb, headers=lines)
    assert json.loads(answer.text.splitlines()[-1])["status"] == 413


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("deflate", zlib.compress(b"{}"), 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"not packed", 400),
    ],
)
def test_other_encodings_and_broken_ones_are_refused(server, encoding, body, status):
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    assert server.predict("kinds", data=body, headers=headers).status_code == status


def test_a_packed_request_without_a_length_is_refused(server):
    headers = {"Content-Type": "application/json", **GZIP}
    url = f"{server.url}/v2/models/kinds/predict/"
    answer = requests.post(url, data=iter([gzip.compress(b"{}")]), headers=headers, timeout=10)
    assert answer.status_code == 415
