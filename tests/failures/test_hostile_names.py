"""Names that strangers choose, in every place that takes one: no server error, no file touched that
is not the server's, nothing shown as a page, no line of a log forged."""

import json
import re
import socket
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yard_examples import examples

from modelyard.api.routes import ROUTES

MARK = "<img src=x onerror=canary()>"
OUTSIDE = "what lies outside of the home"

PIECES = [
    *("..", ".", "", "/", "\\", "~", "*", "?", "#", "%", "$HOME", "`id`", "$(id)", "|id", "-rf"),
    *("..%2f", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "%2e", "%2f", "%5c", "..;/", "..%00/"),
    *("%c0%ae%c0%ae/", "%u002e%u002e/", "%ff", "%00", "%0d%0aX-Forged: 1", "%1b[2J%0a", "%zz"),
    *(
        "\0",
        "\n",
        "\r\nX-Forged: 1",
        "\x1b[2J",
        "\x7f",
        "\u202e",
        "\u2028",
        "é",
        "e\u0301",
        "\udcff",
    ),
    *("C:", "C:\\", "\\\\host\\share", "//host/share", "/etc/passwd", "file:///etc/passwd", "CON"),
    *("NUL.txt", "aux", "secret.txt", "home", "records.db", "link.key", "manifest.json", "aliases"),
    *(
        "latest",
        "best",
        "archive",
        "uploads",
        "counter",
        "__proto__",
        "{{7*7}}",
        "%s%n",
        "' OR 1",
    ),
    *("a" * 300, "é" * 200, "../" * 40, MARK, "<script>", "&lt;", "0", "-1", "1e999", "9" * 400),
]
NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=2, max_size=5).map("/".join),
    st.text(max_size=40),
)
SAFE = "/%:;?#~*$()-._"
SPELT = st.sampled_from(["", "%", SAFE])
"""How a name is written into an address: each byte as it is, what is special quoted, or some."""

_PAGES = [
    ("GET", "/tensorboard/{x}"),
    ("GET", "/tensorboard/data/plugin/scalars/scalars?run={x}&tag={x}"),
    ("GET", "/tensorboard/data/plugin_entry.html?name={x}"),
    ("GET", "/ui/{x}"),
    ("GET", "/api/{x}"),
    ("GET", "/sign-in?next={x}"),
    ("GET", "/{x}"),
    ("GET", "/v2/{x}"),
    ("GET", "/v2/datasets/?name={x}&cursor={x}"),
    ("GET", "/v2/models/counter/weights/?tag={x}&cursor={x}&limit=2"),
    ("GET", "/v2/models/counter/train/?status={x}"),
    ("GET", "/v2/models/counter/train/?limit=3&cursor={x}"),
    ("GET", "/readyz?model={x}"),
    ("POST", "/v2/models/counter/predict/?weights={x}"),
    ("POST", "/v2/models/counter/train/?like={x}&dataset={x}"),
    ("POST", "/v2/datasets/?name={x}&model={x}"),
]


def addresses():
    """Every route once for each of its parameters, and the pages that stand in no document."""
    found = list(_PAGES)
    for route in ROUTES:
        names = re.findall(r"{(\w+)}", route.doc.path)
        for chosen in names:
            path = route.doc.path
            for name in names:
                path = path.replace(f"{{{name}}}", "{x}" if name == chosen else f"{{{name}!}}")
            found.append((route.doc.method, path))
    return sorted(set(found))


ADDRESSES = addresses()
HEADERS = [
    *("X-Modelyard-Weights", "X-Modelyard-Like", "X-Modelyard-Dataset", "X-Modelyard-Sticky"),
    *("X-Modelyard-Max-Seconds", "X-Modelyard-Restart-On-Failure", "X-Request-Timeout"),
    *("Idempotency-Key", "traceparent", "Last-Event-ID", "If-None-Match", "Range", "Accept"),
    *("Content-Digest", "Content-Disposition", "Authorization", "Cookie", "Origin", "Content-Type"),
    *("Inference-Header-Content-Length", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded"),
    *("Accept-Encoding", "Content-Encoding", "User-Agent", "Referer", "X-Forwarded-Prefix"),
]


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter,files", "--log-level", "info")
    for model in ("counter", "files"):
        server.wait_ready(model)
    record = server.wait_run(server.train("counter"))
    server.ids = {"model": "counter", "id": record["uuid"], "version": record["weights"]}
    server.ids |= {"name": "best", "number": "1", "token": "x", "alias": "old", "format": "onnx"}
    assert server.get("/tensorboard/").status_code == 200  # it is started by the first request
    link = server.post("/v2/models/counter/weights/latest/link", json={})
    assert link.status_code == 201  # the first makes the key
    (server.home.parent / "secret.txt").write_text(OUTSIDE)
    (server.home / "secret.txt").write_text(OUTSIDE)
    server.rooms = rooms(server)
    return server


def rooms(server):
    """What lies beside the home and at its top."""
    home = server.home
    around = {path for path in home.parent.rglob("*") if home not in path.parents}
    top = {path for path in home.iterdir() if not path.name.startswith("records.db")}
    return around | top


@pytest.fixture(autouse=True)
def nothing_was_touched(server):
    yield
    assert rooms(server) == server.rooms
    for room in ("runs", "weights", "datasets", "uploads"):  # ids, and nothing but ids
        folder = server.home / room
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names), (room, names)
    for line in server.lines:
        # Each line of the log is one of ours: JSON, or what is printed at the start.
        assert line.startswith(("{", "Modelyard is", "  ")), line
        if line.startswith("{"):
            json.loads(line)
            assert "a fault of the server" not in line, line
            assert "\x1b" not in line and "\x7f[" not in line


def ask(server, method, target, headers=(), body=b""):
    """One request, byte by byte. Gives status, head and body of the answer; 0 for none."""
    port = urlsplit(server.url).port
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: localhost"]
    lines += [b"%s: %s" % header for header in headers]
    lines += [b"Content-Length: %d" % len(body), b"Connection: close", b"", body]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        got = b""
        with suppress(ConnectionError):  # refused before all was sent
            connection.sendall(b"\r\n".join(lines))
        with suppress(ConnectionError):
            while more := connection.recv(1 << 16):
                got += more
    head, _, text = got.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), head, text


def check(answer):
    """Whatever was sent: an answer of ours that harms nobody who looks at it."""
    status, head, text = answer
    assert 200 <= status < 500 or status in (501, 503), (head, text[:500])
    assert b"\r\nX-Forged" not in head and b"\x1b" not in head
    assert OUTSIDE.encode() not in text
    if b"text/html" in head.lower():
        assert MARK.encode() not in text and b"<script>canary" not in text
    assert b"Traceback" not in text
    assert b"nosniff" in head or status == 400  # of HTTP that is none


def spelt(name, how):
    """A name as part of an address: no space or control may stand there as it is."""
    raw = name.encode("utf-8", "surrogateescape" if "\udcff" in name else "replace")
    if how == "":
        return re.sub(rb"[\x00-\x20\x7f]", lambda found: b"%%%02X" % found[0][0], raw)
    return quote(raw, safe="" if how == "%" else SAFE).encode()


def filled(server, path, name):
    for key, value in server.ids.items():
        path = path.replace(f"{{{key}!}}", value)
    before, *after = path.split("{x}")
    return before.encode() + name + name.join([b"", *(part.encode() for part in after)])


ADDRESS_ARGUMENTS = {"place": st.sampled_from(ADDRESSES), "name": NAMES, "how": SPELT}


@examples(120)
@given(**ADDRESS_ARGUMENTS)
def test_any_name_in_an_address_is_only_a_name(server, place, name, how):
    method, path = place
    check(ask(server, method, filled(server, path, spelt(name, how))))


@pytest.mark.slow
@examples(4000)
@given(**ADDRESS_ARGUMENTS)
def test_every_name_in_every_address_is_only_a_name(server, place, name, how):
    method, path = place
    check(ask(server, method, filled(server, path, spelt(name, how))))


@examples(60)
@given(header=st.sampled_from(HEADERS), value=NAMES, which=st.sampled_from(["predict", "train"]))
def test_any_text_in_a_header_is_only_a_text(server, header, value, which):
    raw = value.encode("utf-8", "surrogateescape" if "\udcff" in value else "replace")
    raw = re.sub(rb"[\r\n]", b"", raw)
    headers = [(header.encode(), raw)]
    if header != "Content-Type":
        headers.append((b"Content-Type", b"application/json"))
    body = b'{"plus": 1}' if which == "predict" else b'{"steps": 0}'  # refused: no run is made
    check(ask(server, "POST", f"/v2/models/counter/{which}/".encode(), headers, body))


BODIES = [
    ("PUT", "/v2/models/counter/weights/aliases/old", lambda x: {"version": x}),
    ("PUT", "/v2/models/counter/weights/aliases/old", lambda x: {"versions": [{"version": x}]}),
    ("PATCH", "/v2/models/counter/weights/latest", lambda x: {"tags": [x], "notes": x}),
    ("PATCH", "/v2/models/counter/weights/latest", lambda x: {x: x}),
    ("POST", "/v2/models/counter/weights/latest/exports/", lambda x: {"format": x}),
    ("POST", "/v2/models/counter/weights/latest/link", lambda x: {"format": x}),
    ("POST", "/v2/datasets/", lambda x: {"address": x, "name": x}),
    ("POST", "/v2/datasets/", lambda x: {"address": f"s3://{x}/{x}"}),
    ("POST", "/v2/datasets/uploads/", lambda x: {"filename": x, "size": 3}),
    ("POST", "/v2/datasets/uploads/", lambda x: {"filename": "a", "size": 3, "name": x}),
    ("POST", "/v2/datasets/uploads/", lambda x: {"filename": "a", "size": 3, "sha256": x}),
    ("POST", "/v2/models/counter/train/", lambda x: {"end": x, "steps": 0, x: 1}),
    ("POST", "/v2/models/counter/predict/", lambda x: {x: x, "plus": x}),
    ("POST", "/v2/models/counter/infer", lambda x: {"id": x, "inputs": [{"name": x}]}),
]


@examples(60)
@given(place=st.sampled_from(BODIES), name=NAMES)
def test_any_name_in_a_body_is_only_a_name(server, place, name):
    method, path, make = place
    body = json.dumps(make(name)).encode()
    check(ask(server, method, path.encode(), [(b"Content-Type", b"application/json")], body))


UPLOADS = [
    ("/v2/models/files/predict/", "upload"),
    ("/v2/datasets/?name=strange", "file"),
    ("/v2/datasets/", "file"),
    ("/v2/models/counter/weights/", "file"),
]


@examples(40)
@given(place=st.sampled_from(UPLOADS), name=NAMES, field=st.one_of(st.none(), NAMES))
def test_any_name_of_a_file_that_is_sent_is_only_a_name(server, place, name, field):
    path, usual = place

    def quoted(text):
        raw = text.encode("utf-8", "surrogateescape" if "\udcff" in text else "replace")
        return re.sub(rb'[\r\n"\\]', lambda found: b"%%%02X" % found[0][0], raw)

    part = (
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\ncontent\r\n--b--'
    )
    body = part % (quoted(usual if field is None else field), quoted(name))
    headers = [(b"Content-Type", b"multipart/form-data; boundary=b")]
    answer = ask(server, "POST", path.encode(), headers, body)
    check(answer)
    if answer[0] == 200 and "predict" in path:
        told = json.loads(answer[2])["predictions"]
        assert told["bytes"] == 7
        assert re.fullmatch(r"[A-Za-z0-9._/-]*", told["path"]), told["path"]
        assert told["path"].startswith(str(server.home))


def test_an_address_in_full_is_the_same_address(server):
    """RFC 9112, section 3.2.2. (TensorBoard's was not found.)"""
    for path in ("/v2/models/counter/", "/tensorboard/", "/ui/"):
        told = [ask(server, "GET", start + path.encode()) for start in (b"", b"http://localhost")]
        assert [status for status, _, _ in told] == [200, 200], path
    assert ask(server, "GET", b"http://elsewhere.example/tensorboard/")[0] == 400
