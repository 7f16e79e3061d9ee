"""URLs of clients lead old modules to the public internet, and where the operator says."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelyard.addresses import UrlRule, address_of

INSIDE, OPEN = "127.0.0.1", "127.0.0.2"
"""Two addresses of this machine: one that nobody may reach, and one that the operator has named."""
PRIVATE = [f"{head}.2.3" for head in ("10.1", "172.16", "192.168")]
REACHED = (OPEN, "127.0.0.3", "127.0.0.5")


class Sent(BaseHTTPRequestHandler):
    """Answers "secret"; `/to/ADDRESS` sends on to that address, `/away/ADDRESS` for good."""

    def do_GET(self):
        _, kind, *rest = self.path.split("/")
        self.server.asked.append(self.path)
        self.send_response(302 if kind == "to" else 200)
        if kind == "to":
            self.send_header("Location", f"http://{rest[0]}/secret")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secret")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def inside():
    """Servers on some addresses of this machine, with one port, which note who asked."""
    first = ThreadingHTTPServer((INSIDE, 0), Sent)
    others = [ThreadingHTTPServer((host, first.server_port), Sent) for host in REACHED]
    asked = []
    for server in (first, *others):
        server.asked = asked
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield first
    for server in (first, *others):
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server(serve_old, tmp_path_factory):
    config = tmp_path_factory.mktemp("settings") / "yard.toml"
    config.write_text(
        f'[models.old-fetcher-inside]\nurls = "public, {OPEN}, 127.0.0.3/32"\n'
        '[models.old-fetcher-shut]\nurls = "none"\n'
        '[models.scratch]\nurls = "public"\n'
    )
    models = ("old-fetcher", "old-fetcher-inside", "old-fetcher-shut", "scratch")
    environ = {"TRACKER": "http://127.0.0.4:1/", "no_proxy": "*"}
    return serve_old(*models, flags=("--config-file", str(config)), env=environ)


@pytest.mark.parametrize("argument", ["urls", "image_url", "text"])
@pytest.mark.parametrize("host", [INSIDE, "localhost", "[::1]", "169.254.169.254", PRIVATE[0]])
def test_an_inner_address_is_refused_by_the_arguments_name_and_with_the_remedy(
    server, inside, argument, host
):
    inside.asked.clear()
    url = f"http://{host}:{inside.server_port}/x"
    answer = server.predict("old-fetcher", data={argument: url})
    assert answer.status_code == 422, answer.text
    assert "[models.old-fetcher] urls" in str(answer.json()[argument])
    assert inside.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0"])
def test_other_spellings_of_this_machine_are_this_machine(server, inside, host):
    inside.asked.clear()
    url = f"http://{host}:{inside.server_port}/x"
    answer = server.predict("old-fetcher", data={"image_url": url})
    assert (answer.status_code, inside.asked) == (422, []), answer.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "file:/etc/passwd", "ftp://example.org/x"])
def test_only_http_is_fetched(server, url):
    answer = server.predict("old-fetcher", data={"image_url": url, "by": "urllib"})
    assert answer.status_code == 422, answer.text
    assert "http" in str(answer.json()["image_url"])


@pytest.mark.parametrize("argument", ["image_url", "text"])
@pytest.mark.parametrize(
    "spelling",
    ["<{}>", "URL:{}", "<URL:{}>", " <{} >", "\x01{}", "{}\n", "x{}", "{0},{0}", "'{}'"],
)
def test_what_only_a_library_reads_as_a_url_meets_the_same_rule(server, inside, argument, spelling):
    """urllib takes brackets and `URL:` off."""
    inside.asked.clear()
    place = f"http://{INSIDE}:{inside.server_port}/x"
    for url in (place, "file:///etc/passwd", "FILE:/etc/passwd"):
        sent = {argument: spelling.format(url), "by": "urllib"}
        answer = server.predict("old-fetcher", data=sent)
        assert answer.status_code >= 400 and "root:" not in answer.text, answer.text
        if spelling.startswith(("<", "URL:", " <")):
            assert answer.status_code == 422, answer.text
    assert inside.asked == []


def test_a_text_without_a_scheme_of_which_a_module_makes_a_url_meets_the_rule(server, inside):
    inside.asked.clear()
    place = f"{INSIDE}:{inside.server_port}/x"
    answer = server.predict("old-fetcher", data={"image_url": place, "by": "prefixed"})
    assert answer.status_code == 422, answer.text
    assert "[models.old-fetcher] urls" in str(answer.json()["image_url"])
    assert inside.asked == []


@pytest.mark.parametrize("text", ["file: what it is about", "note: one, two", "urn:x", "a: b"])
def test_a_text_with_a_colon_is_a_text(server, text):
    answer = server.predict("old-fetcher", data={"text": text, "by": "nothing"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("by", ["requests", "urllib"])
def test_a_redirect_meets_the_same_rule(server, inside, by):
    inside.asked.clear()
    port = inside.server_port
    url = f"http://{OPEN}:{port}/to/{INSIDE}:{port}"
    answer = server.predict("old-fetcher-inside", data={"image_url": url, "by": by})
    assert answer.status_code == 422, answer.text
    assert INSIDE in str(answer.json()["image_url"])
    assert inside.asked == [f"/to/{INSIDE}:{port}"]
    url = f"http://{OPEN}:{port}/to/127.0.0.3:{port}"
    answer = server.predict("old-fetcher-inside", data={"image_url": url, "by": by})
    assert answer.json()["predictions"] == {"got": ["secret"]}, answer.text


def test_what_the_operator_names_is_fetched_and_public_addresses_are_let_through(server, inside):
    url = f"http://{OPEN}:{inside.server_port}/x"
    answer = server.predict("old-fetcher-inside", json={"urls": [url, url]})
    assert answer.json()["predictions"] == {"got": ["secret", "secret"]}, answer.text
    for public in ("http://8.8.8.8/x", "https://[2001:4860:4860::8888]/x", "data:text/plain,x"):
        answer = server.predict("old-fetcher", json={"image_url": public, "by": "nothing"})
        assert answer.json()["predictions"] == {"got": ["not fetched"]}, answer.text
    answer = server.predict("old-fetcher-shut", json={"image_url": "http://8.8.8.8/"})
    assert answer.status_code == 422, answer.text


def test_a_native_model_has_the_rule_that_its_table_names(server):
    answer = server.predict("scratch", json={"do": "places", "path": f"http://{INSIDE}/x"})
    assert answer.status_code == 422 and "[models.scratch] urls" in answer.text
    assert server.predict("scratch", json={"do": "places", "path": "x"}).status_code == 200


def test_without_urls_of_a_client_nothing_is_looked_at(server):
    """The module's own default leads to this machine."""
    assert server.predict("old-fetcher").json()["predictions"] == {"got": []}


def test_a_training_is_not_begun_with_an_inner_address_and_ends_at_a_redirect(server, inside):
    inside.asked.clear()
    port = inside.server_port
    answer = server.post(
        "/v2/models/old-fetcher/train/", params={"data_url": f"http://{INSIDE}:{port}/x"}
    )
    assert answer.status_code == 422, answer.text
    assert inside.asked == []
    url = f"http://{OPEN}:{port}/to/{INSIDE}:{port}"
    record = server.wait_run(server.train("old-fetcher-inside", data_url=url))
    assert record["status"] == "error"
    assert INSIDE in record["message"] and "urls" in record["message"], record
    assert inside.asked == [f"/to/{INSIDE}:{port}"]


GUARDED = """
import json, os, socket, sys
from marshmallow import fields
from modelyard.addresses import UrlRule
from modelyard.errors import InvalidArguments
from modelyard.models_plugin import fetching

port = int(sys.argv[1])
os.environ["STORE"] = f"http://127.0.0.5:{port}/bucket"
looked_up = []

def resolve(host, port, *args, **more):
    '''A name that leads somewhere else the second time.'''
    looked_up.append(host)
    address = "8.8.8.8" if len(looked_up) == 1 else "127.0.0.1"
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))]

one = fetching.Fetching("one", "public")
declared = {"url": fields.String()}
declared["url"].name = "url"
real, socket.getaddrinfo = socket.getaddrinfo, resolve
one.check(declared, {"url": "http://rebound.example/"})
told = {"names": one.names(declared, {"url": "http://rebound.example/"})}
try:
    with one.guard(["url"]):
        socket.create_connection(("rebound.example", port), timeout=20)
except InvalidArguments as error:
    told["rebound"] = error.errors
socket.getaddrinfo = real

def reached(address):
    try:
        with one.guard(["url"]):
            socket.create_connection((address, port), timeout=20).close()
        return True
    except InvalidArguments:
        return False

told["mapped"] = reached("::ffff:127.0.0.1")
told["named by the operator"] = reached("127.0.0.5")
with socket.socket() as plain:
    try:
        with one.guard(["url"]):
            plain.connect(("localhost", port))
        told["by name"] = True
    except InvalidArguments:
        told["by name"] = False
socket.create_connection(("127.0.0.1", port), timeout=20).close()
told["afterwards"] = True
print(json.dumps(told))
"""


def test_a_name_that_is_rebound_meets_the_rule_when_it_is_connected_to(inside):
    command = [sys.executable, "-c", GUARDED, str(inside.server_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "127.0.0.1 may not be fetched from" in str(told.pop("rebound"))
    assert told == {
        "names": ["url"],
        "mapped": False,
        "named by the operator": True,
        "by name": False,
        "afterwards": True,
    }


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", *PRIVATE, "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0"),
        *(
            "fd00::1",
            "fec0::1",
            "ff02::1",
            f"::ffff:{PRIVATE[0]}",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ),
    ],
)
def test_these_addresses_are_not_public(address):
    assert not UrlRule.parse("public").allows_address(address_of(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_these_are(address):
    assert UrlRule.parse("public").allows_address(address_of(address))


@pytest.mark.parametrize(
    "text", ["", "any, public", "none, 192.0.2.0/24", "http://x", "192.0.2.0/40"]
)
def test_a_rule_that_cannot_be_meant_is_refused_with_what_can(text):
    with pytest.raises(ValueError, match="public"):
        UrlRule.parse(text)


def test_hosts_may_be_named_with_all_below_them():
    rule = UrlRule.parse("data.example.org, *.inside.example, 127.1.0.0/16")
    assert rule.allows_host("DATA.example.org.") and rule.allows_host("a.b.inside.example")
    assert not rule.allows_host("inside.example") and not rule.allows_host("xdata.example.org")
    assert rule.allows_address(address_of("127.1.2.3"))
    assert not rule.allows_address(address_of("8.8.8.8"))
