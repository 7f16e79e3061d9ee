"""What every command says when something else than a Modelyard is at the address, or nothing:
one line, without a traceback, and the exit code that docs/cli.md names."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from modelyard.cli.failures import told
from modelyard.cli.main import cli

ID, OTHER = "a" * 32, "b" * 32
FILE = "FILE"  # stands for one that is there
COMMANDS = [
    *(["models"], ["models", "m"], ["train", "m"], ["train", "m", "--x", "1"]),
    *(["predict", "m"], ["predict", "m", "--file", FILE]),
    *(["runs"], ["runs", "m"], ["runs", f"m/{ID}"], ["runs", "m", "--purge", "--keep", "2"]),
    *(["runs", f"m/{ID}", f"--{how}"] for how in ("log", "follow", "cancel", "pause", "resume")),
    *(["weights", "m"], ["weights", "show", "m", ID], ["weights", "lineage", "m", ID]),
    *(["weights", "card", "m", ID], ["weights", "alias", "list", "m"]),
    ["weights", "alias", "set", "m", "best", ID],
    ["weights", "alias", "divide", "m", "best", f"{ID}=50", f"{OTHER}=50"],
    *(["weights", "alias", "remove", "m", "best"], ["weights", "rollback", "m"]),
    *(["weights", "tag", "m", ID, "t"], ["weights", "notes", "m", ID, "text"]),
    *(["weights", "promote", f"m/{ID}"], ["weights", "export", "m", ID, "-o", f"{FILE}.new"]),
    *(["weights", "import", "m", FILE], ["weights", "link", "m", ID]),
    *(["weights", "push", "m", ID], ["weights", "pull", "m", ID]),
    ["weights", "delete", "m", ID, "--yes"],
    *(["datasets", "list"], ["datasets", "add", FILE], ["datasets", "add", "s3://bucket/key"]),
    *(["datasets", "report", "d"], ["datasets", "remove", "d", "--yes"], ["login"]),
]
DEEP = b"[" * 100_000
HTML, JSON = "text/html", "application/json"
WRONG = (
    b'{"models": [1], "runs": 4, "weights": [[]], "datasets": "x", "versions": [1], "id": 4, '
    b'"aliases": {"a": 3}, "uuid": 5, "status": [], "name": {}, "exports": 1, "series": []}'
)
NEAR = (
    b'{"models": [{"id": "m"}], "weights": [{"id": "x", "files": 3}], "id": "x", "name": "n", '
    b'"uuid": "u", "status": "done", "files": 7, "parts": 1, "attempts": 2, "tags": 5, '
    b'"datasets": [{"id": "d"}], "aliases": [{"name": "a", "versions": 1}], "arguments": '
    b'{"train_arguments": [3], "predict_arguments": 4}}'
)
ANSWERS = {
    "a page": (200, HTML, b"<html>Welcome</html>"),
    "a page that says no": (403, HTML, b"<html>No</html>"),
    "no page": (404, HTML, b"<html>Nothing</html>"),
    "a fault": (500, HTML, b"<html>Oops</html>"),
    "422 without arguments": (422, HTML, b"<html>No</html>"),
    "a list": (200, JSON, b"[]"),
    "null": (200, JSON, b"null"),
    "an empty object": (200, JSON, b"{}"),
    "an empty object, made": (201, JSON, b"{}"),
    "things of other kinds": (200, JSON, WRONG),
    "nearly": (200, JSON, NEAR),
    "a list of others": (200, JSON, b'[{"uuid": 4, "status": []}, 3]'),
    "half": (200, JSON, b'{"models": ['),
    "no text": (200, JSON, b'"\xff\xfe"'),
    "without end": (200, JSON, DEEP),
    "an odd refusal": (400, JSON, b'{"detail": {"a": 1}, "errors": 3}'),
    "a deep refusal": (400, JSON, DEEP),
}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`command(words, url)`: the exit code and all that the command says, as `main` tells it."""
    monkeypatch.setenv("MODELYARD_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.delenv("MODELYARD_TOKEN", raising=False)
    (tmp_path / "file.bin").write_bytes(b"x")

    def run(words, url="http://127.0.0.1:1", **variables):
        words = [word.replace(FILE, str(tmp_path / "file.bin")) for word in words]
        done = CliRunner().invoke(cli, words, env={"MODELYARD_URL": url, **variables})
        if done.exception is None or isinstance(done.exception, SystemExit):
            return done.exit_code, done.output.strip()
        said, code = told(done.exception)  # raises what would be a traceback
        return code, f"modelyard: {said}"

    return run


@pytest.fixture
def foreign():
    """`foreign(status, content type, body)`: the address of what answers so to everything."""
    with contextlib.ExitStack() as stack:

        def start(status, kind, body):
            class Handler(BaseHTTPRequestHandler):
                def _answer(self):
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

                def log_message(self, *_):
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}"

        yield start


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_of_something_else_is_told_in_one_line(command, foreign, what):
    url = foreign(*ANSWERS[what])
    for words in COMMANDS:
        if what == "nearly" and words[0] in ("runs", "models"):
            continue  # a record of a run with hardly anything in it is one
        code, said = command(words, url)
        if code == 0 and what in ("nearly", "a list"):
            continue  # no runs, a version without files: nothing is wrong with that
        if words == ["weights", "card", "m", ID] and ANSWERS[what][0] < 300:
            continue  # a card is text: any is one
        assert code == 1, (words, said)
        line = said.splitlines()[-1]
        assert len(line) < 300 and not line.endswith("Traceback"), (words, said)
        assert "modelyard: " in line or "Error: " in line, (words, said)


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (b"", "was lost"),
        (b"SSH-2.0-OpenSSH_9\r\n", "no HTTP that can be read: is it a Modelyard server?"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "no HTTP that can be read"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "was lost"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n", "cannot be asked"),
    ],
    ids=["nothing", "ssh", "a long head", "half a body", "elsewhere"],
)
def test_what_is_no_http_is_told_in_one_line(command, bytes_, words):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(bytes_)

        threading.Thread(target=answer, daemon=True).start()
        code, said = command(["models"], f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
    assert code == 1 and words in said and said.count("\n") == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("https://127.0.0.1:1", "connection refused"),
        ("ftp://x", "write http://HOST:PORT"),
        ("localhost:5000", "write http://HOST:PORT"),
        ("http://", "write http://HOST:PORT"),
        ("http://[::1", "write http://HOST:PORT"),
        ("http://127.0.0.1:99999", "write http://HOST:PORT"),
        ("http://127.0.0.1:x", "write http://HOST:PORT"),
        ("http://127.0.0.1/a?b=c", "write http://HOST:PORT"),
        ("http://two words", "write http://HOST:PORT"),
        ("http://" + "a" * 300, "write http://HOST:PORT"),
        ("http://me:canary@127.0.0.1:1", "MODELYARD_TOKEN"),
    ],
)
def test_an_address_that_is_none_or_where_nobody_listens_is_told(command, url, words):
    code, said = command(["models"], url)
    assert (code, said.count("\n")) == (1, 0)
    assert words in said and "canary" not in said
    assert command(["--url", url, "models"])[1] == said


def test_variables_of_a_proxy_do_not_lead_away(command, foreign):
    away = foreign(200, HTML, b"the proxy")
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"), away)
    code, said = command(["models"], "http://127.0.0.1:1", **proxies)
    assert code == 1 and "connection refused" in said


def test_a_server_without_tls_is_told_as_such(command, foreign):
    url = foreign(200, JSON, b"{}").replace("http:", "https:")
    code, said = command(["models"], url)
    assert code == 1 and said.count("\n") == 0 and "does not speak TLS" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Remove it and sign in again"),
        ('{"servers": {"http://127.0.0.1:1": {"token": "a", "issuer": 3}}}', "is damaged"),
        ('{"servers": {"http://127.0.0.1:1": {"token": "a", "expires_at": "x"}}}', "refused"),
        ('{"servers": 5}', "refused"),
        ("[]", "refused"),
    ],
)
def test_damaged_credentials_are_told_with_their_file(command, tmp_path, content, words):
    (tmp_path / "credentials.json").write_text(content)
    code, said = command(["models"])
    assert code == 1 and words in said
    assert "credentials.json" in said or words == "refused"


@pytest.mark.parametrize("token", ["two\nlines", "\u00e9", "\x00"])
def test_a_token_that_is_none_is_told_without_it(command, token, monkeypatch):
    if "\0" in token:
        return  # no variable holds one
    code, said = command(["models"], MODELYARD_TOKEN=token)
    assert code == 1 and "MODELYARD_TOKEN" in said and token not in said


# -- words that are wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--url", "", "models"], 2, "--url"),
        (["models", "--no-such"], 2, "No such option"),
        (["no-such"], 2, "No such command"),
        (["datasets", "add", "/proc/nothing"], 1, "/proc/nothing: No such file"),
        (["datasets", "add", "/dev/null"], 1, "is no file"),
        (["datasets", "add", ""], 1, "An empty text is no path"),
        (["datasets", "list", "--limit", "0"], 2, "--limit"),
        (["datasets", "list", "--limit", "x"], 2, "--limit"),
        (["weights", "import", "m", "/proc/nothing"], 2, "does not exist"),
        (["weights", "import", "m", "/tmp"], 2, "is a directory"),
        (["weights", "link", "m", "--expires", "soon"], 2, "write 90m, 24h or 7d"),
        (["weights", "push", "m", "--timeout", "nan"], 2, "nan is no number of seconds"),
        (["weights", "push", "m", "--timeout", "inf"], 2, "--timeout"),
        (["weights", "push", "m", "--timeout", "-1"], 2, "--timeout"),
        (["weights", "alias", "divide", "m", "a", "x=many"], 2, "no number above 0"),
        (["weights", "alias", "divide", "m", "a", "x=nan"], 2, "no number above 0"),
        (["weights", "alias", "divide", "m", "a", "x=50", "y=-50"], 2, "no number above 0"),
        (["runs", "m", "--tail", "x"], 2, "--tail"),
        (["runs", "m", "--purge", "--keep", "-1"], 2, "--keep"),
        (["keys", "create", ""], 2, "NAME is letters"),
        (["keys", "create", "x", "--expires", "never"], 2, "--expires is a time such as"),
        (["keys", "create", "x", "--expires", "2001-01-01"], 2, "has passed"),
        (["keys", "create", "x", "--scope", "fly"], 2, "--scope"),
        (["keys", "create", "x", "--home", ""], 2, "home: It is empty"),
        (["keys", "create", "x", "--home", "/etc/passwd"], 1, "is a file"),
        (["keys", "list", "--home", "/proc/nothing"], 2, "is no home of a server"),
        (["backup", "/proc/nothing/x", "--home", "/proc/nothing"], 1, "is no home"),
        (["backup", "x", "--home", ""], 2, "home: It is empty"),
        (["doctor", "--quick", "--home", ""], 2, "home: It is empty"),
        (["doctor", "--quick", "--home", "/proc/nothing"], 1, "There is no home at /proc/nothing"),
        (["plugin", "check", "no-such"], 2, "no model and no module"),
        (["plugin", "check", "any-model", "--timeout", "0"], 2, "--timeout"),
        (["plugin", "check", "any-model", "--timeout", "nan"], 2, "nan is no number"),
        (["plugin", "check", "any-model", "--python", "/proc/nothing"], 1, "does not exist"),
        (["demo", "--epochs", "0"], 2, "--epochs"),
        (["demo", "--port", "99999"], 2, "--port"),
        (["demo", "--port", "-1"], 2, "--port"),
        (["demo", "--home", "/etc/passwd"], 2, "is a file"),
    ],
)
def test_words_that_are_wrong_are_told_and_nothing_is_asked(command, words, code, said):
    got, text = command(words)
    assert (got, said in text) == (code, True), text
