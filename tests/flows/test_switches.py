"""Flags that change what a server answers, on real servers."""

import socket

import pytest
import requests

RUN = "0" * 32
TRAIN = "/v2/models/counter/train"


def ask(server, method, path, **more):
    return requests.request(method, server.url + path, timeout=30, **more)


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter,bare", "--base-path", "/yard/")
    server.wait_ready("counter")
    return server


@pytest.fixture(scope="module")
def reduced(serve_module):
    """Everything off that can be off."""
    server = serve_module(
        "--model-name", "counter,bare", "--notrain-endpoint", "--no-predict-endpoint",
        "--nodoc-endpoint", "--nodebug-endpoint",
    )  # fmt: skip
    server.wait_ready("counter")
    return server


# -- 402 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{TRAIN}/"),
        ("POST", TRAIN),
        ("GET", f"{TRAIN}/"),
        ("GET", f"{TRAIN}/?limit=nonsense"),
        ("GET", f"{TRAIN}/{RUN}"),
        ("DELETE", f"{TRAIN}/{RUN}"),
        *(("GET", f"{TRAIN}/{RUN}/{part}") for part in ("log", "metrics", "events", "checkpoints")),
        ("POST", "/v2/models/counter/predict/"),
        ("POST", "/v2/models/bare/predict"),
    ],
)
def test_a_route_that_is_switched_off_answers_402(reduced, method, path):
    answer = ask(reduced, method, path)
    assert answer.status_code == 402
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["message"] == "This server was started without this endpoint."


def test_a_model_that_nobody_knows_is_404_also_where_routes_are_switched_off(reduced):
    for method, path in (("POST", "predict/"), ("GET", "train/"), ("DELETE", f"train/{RUN}")):
        assert ask(reduced, method, f"/v2/models/nobody/{path}").status_code == 404


def test_the_documents_tell_402_and_leave_out_what_is_switched_off(server, reduced):
    for document in ("/openapi.json", "/swagger.json"):
        paths = server.get(document).json()["paths"]
        prefix = "" if "/v2/" in paths else "/yard"
        for operation in (
            paths[f"{prefix}/v2/models/counter/predict/"]["post"],
            paths[f"{prefix}/v2/models/counter/train/"]["post"],
        ):
            assert "402" in operation["responses"]
        assert [p for p in paths if "/train/" in p or "predict" in p]
        left = reduced.get(document).json()["paths"]
        assert not [path for path in left if "/train/" in path or "predict" in path]
        assert "/v2/models/" in left


# -- documentation ---------------------------------------------------------------------------------


def test_without_documentation_the_pages_are_gone_and_the_documents_stay(reduced):
    for path in ("/api", "/api/", "/ui", "/ui/", "/ui/swagger-ui.css", "/api/initializer.js"):
        assert reduced.get(path).status_code == 404, path
    for path in ("/openapi.json", "/swagger.json"):
        assert reduced.get(path).status_code == 200
    browser = reduced.get("/", headers={"Accept": "text/html"})
    assert browser.history == [] and browser.status_code == 200
    assert [link["href"] for link in browser.json()["links"]] == ["/swagger.json", "/openapi.json"]
    assert "Swagger UI" not in "".join(reduced.lines)


def test_the_versions_document_links_as_deepaas_does_with_the_prefix(server):
    for path in ("", "/"):
        answer = server.get(path, allow_redirects=False)
        assert answer.status_code == 200, path
        links = answer.json()["links"]
        assert links[0] == {"rel": "help", "type": "text/html", "href": "/yard/api"}
        described = {"rel": "describedby", "type": "application/json", "href": "/yard/swagger.json"}
        assert described in links
    version = server.get("/v2/").json()
    assert (version["version"], version["id"]) == ("stable", "v2")
    own = {"rel": "self", "type": "application/json", "href": "/yard/v2/"}
    assert version["links"] == [own]


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v2", "/v2/", "/v2/debug/", "/v2/models/", "/v2/models/bare/", "/openapi.json",
     "/swagger.json", "/api", "/api/", "/ui", "/ui/", "/ui/swagger-ui.css", "/healthz",
     "/v2/models/counter/train/"],
)  # fmt: skip
def test_head_answers_on_every_document_like_get_without_the_body(server, path):
    head = ask(server, "HEAD", path, allow_redirects=False)
    get = server.get(path, allow_redirects=False)
    assert head.status_code == get.status_code == (204 if "debug" in path else 200)
    assert head.headers.get("Content-Type") == get.headers.get("Content-Type")
    assert head.content == b""


# -- what was printed ------------------------------------------------------------------------------


def test_the_debug_endpoint_is_empty_unless_it_was_switched_on(reduced):
    answer = reduced.get("/v2/debug/")
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_debug_endpoint_shows_what_the_server_and_the_models_print(start_server):
    server = start_server("--model-name", "hostile,counter", "--debug-endpoint")
    server.wait_ready("hostile")
    server.predict("hostile", json={"do": "print"})
    (server.home / "logs" / "counter.log").write_bytes(b"old\n" * 100_000 + b"new \xff line")
    answer = server.get("/v2/debug")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    text = answer.text
    assert "=== the server" in text and "/v2/models/{model}/predict" in text
    assert "=== the model hostile" in text and "x" * 10_000 in text
    assert text.endswith("new \ufffd line\n")
    assert len(answer.content) < 3 * 66_000
    assert "the debug endpoint is on" in "".join(server.lines)


def test_the_log_goes_to_a_file_that_may_be_moved_away(start_server, tmp_path):
    log = tmp_path / "logs" / "server.log"
    server = start_server("--model-name", "bare", "--log-file", str(log), "-d")
    server.get("/v2/")
    log.rename(tmp_path / "old.log")
    server.get("/v2/models/")
    assert '"route":"/v2"' in (tmp_path / "old.log").read_text()
    assert '"route":"/v2/models"' in log.read_text()
    assert '"event"' not in "".join(server.lines)


def test_a_log_file_that_cannot_be_written_is_told(start_server, tmp_path):
    server = start_server("--log-file", str(tmp_path), wait=False)
    assert server.process.wait(30) == 1
    assert "log file" in "".join(server.lines)


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "location"),
    [
        ("GET", "//yard//v2//models/", "/yard/v2/models/"),
        ("GET", "/yard//v2/models//bare?a=%2F%2Fb&c", "/yard/v2/models/bare?a=%2F%2Fb&c"),
        ("POST", "/yard/v2/models//bare/predict/", "/yard/v2/models/bare/predict/"),
        ("DELETE", "/yard/v2//models/", None),
        ("GET", "//evil.example/yard/v2/", None),
        ("GET", "//evil.example//", None),
        ("GET", "/yard//nowhere", None),
        ("GET", "////", None),
    ],
)
def test_doubled_slashes_lead_to_the_merged_address_of_this_server(server, method, path, location):
    answer = raw(server, method, path)
    if location is None:
        assert answer.startswith("HTTP/1.1 404 ")
        assert "\r\nLocation:" not in answer
    else:
        assert answer.startswith("HTTP/1.1 308 ")
        assert f"\r\nLocation: {location}\r\n" in answer


def test_a_wrong_method_is_told_with_the_right_ones(server):
    answer = ask(server, "DELETE", "/v2/models/")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert answer.json()["message"] == answer.json()["detail"]
    assert ask(server, "PUT", "/v2/models/bare/predict/").headers["Allow"] == "POST"


def raw(server, method: str, target: str) -> str:
    """The answer to a request line as it is: a client library would tidy the path."""
    host, port = server.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        connection.sendall(f"{request}Content-Length: 0\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode()


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_request_may_be_of_any_size_where_the_limit_is_0(start_server, tmp_path):
    file = tmp_path / "large.bin"
    with file.open("wb") as sparse:
        sparse.truncate(80 * 1024**2)
    for limit, status in (("1M", 413), ("0", 200)):
        server = start_server(
            "--model-name", "files", "--client-max-size", limit, home=tmp_path / limit
        )
        server.wait_ready("files")
        with file.open("rb") as body:
            answer = server.predict("files", files={"upload": ("a.png", body, "image/png")})
        assert answer.status_code == status, answer.text
