"""Signing in from the command line and from Python: a real server, a real issuer, a file."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from yard_issuer import AUDIENCE, CLIENT, Issuer
from yard_keys import make_key
from yard_waiting import wait_until

from modelyard.client import AsyncClient, Client, ClientError, NotPermitted, TimedOut
from modelyard.client.credentials import PLACE, Credential, CredentialStore, server_name
from modelyard.client.sign_in import sign_in


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def as_it_was(issuer):
    yield
    issuer.answers, issuer.metadata, issuer.pauses_s = {}, {}, {}
    issuer.device.clear()
    issuer.token_lasts_s, issuer.interval_s = 300, 1


@pytest.fixture(scope="module")
def server(serve_module, issuer):
    return serve_module(
        *("--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE),
        *("--oidc-permissions", "group:readers=read", "--oidc-client-id", CLIENT),
        *("--model-name", "bare", "--no-warm-start"),
    )


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(PLACE, str(tmp_path / "own" / "credentials.json"))
    monkeypatch.delenv("MODELYARD_TOKEN", raising=False)
    return tmp_path / "own" / "credentials.json"


def command(*words, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "modelyard", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


def ran(*words, said=""):
    process = command(*words)
    told, _ = process.communicate(said, timeout=60)
    return process.returncode, told


def pending(issuer):
    return any(told.get("error") for told in issuer.device.values())


def test_a_person_signs_in_by_a_code_and_the_commands_work_until_they_sign_out(
    server, issuer, place
):
    code, told = ran("models", "--url", server.url)
    assert code == 1 and "key" in told
    process = command("login", "--url", server.url)
    wait_until(lambda: pending(issuer))
    issuer.approve()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "WDJB-MJHT" in told and issuer.url + "/activate" in told and "Signed in" in told
    kept = json.loads(place.read_text())["servers"][server_name(server.url)]
    assert kept["token"].count(".") == 2 and kept["refresh_token"] == issuer.refreshed[-1]
    assert kept["token"] not in told and kept["refresh_token"] not in told
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700

    code, told = ran("models", "--url", server.url)
    assert code == 0 and "bare" in told
    with Client(server.url) as client:
        assert [model.name for model in client.models()] == ["bare"]

    code, told = ran("logout", "--url", server.url)
    assert code == 0 and "Signed out" in told
    assert issuer.device["revoked"]["token"] == kept["refresh_token"]
    assert kept["token"] not in place.read_text()
    assert ran("models", "--url", server.url)[0] == 1
    assert "Nothing was kept" in ran("logout", "--url", server.url)[1]


def test_a_key_may_be_kept_instead_and_a_variable_wins(server, issuer, place):
    key = make_key(server.home, "carl", "read")["Authorization"].removeprefix("Bearer ")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    code, told = ran("login", "--key", "--url", server.url, said=key[:-1] + "\n")
    assert code == 1 and "does not take this key" in told and key[:-1] not in told
    code, told = ran("login", "--key", "--url", "http://127.0.0.1:1", said=key + "\n")
    assert code == 1 and "127.0.0.1:1" in told
    assert not place.exists() or key not in place.read_text()
    predictor = make_key(server.home, "dora", "predict")["Authorization"].removeprefix("Bearer ")
    for known in (predictor, key):
        code, told = ran("login", "--key", "--url", server.url, said=known + "\n")
        assert code == 0 and known not in told
    assert ran("models", "--url", server.url)[0] == 0
    process = command("models", "--url", server.url, env={**os.environ, "MODELYARD_TOKEN": "wrong"})
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "not valid" in told
    with Client(server.url, token="") as client, pytest.raises(NotPermitted):
        client.models()
    with Client(server.url, token=key) as client:
        assert client.models()
    with Client(server.url, headers={"authorization": f"Bearer {key}"}) as client:
        assert client.models(), "what is said by hand is not sent beside what is kept"


def test_what_is_kept_for_one_server_is_shown_to_no_other(server, issuer, place):
    shown = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            shown.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.send_header("Content-Length", "14")
            self.end_headers()
            self.wfile.write(b'{"models": []}')

        def log_message(self, *args):
            return None

    class Moved(Other):
        def do_GET(self):
            shown.append(self.headers.get("Authorization"))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{other.server_address[1]}/x")
            self.send_header("Content-Length", "0")
            self.end_headers()

    other, moved = (ThreadingHTTPServer(("127.0.0.1", 0), one) for one in (Other, Moved))
    for one in (other, moved):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{moved.server_address[1]}"
    with Client(url) as client:
        client.keep_key("my_key")
        client.models()
    with Client(f"http://127.0.0.1:{other.server_address[1]}") as client:
        client.models()
    for one in (other, moved):
        one.shutdown()
        one.server_close()
    assert shown == ["Bearer my_key", None, None]


def test_a_token_is_renewed_before_it_expires_once_for_all_who_have_it(server, issuer, place):
    store = CredentialStore()
    issuer.token_lasts_s = 300
    issuer.refreshed.append("the first")
    store.put(
        server.url,
        Credential(
            issuer.token(exp=int(time.time()) - 3600),
            expires_at=time.time() - 3600,
            refresh_token="the first",
            token_endpoint=issuer.url + "/token",
            client_id=CLIENT,
        ),
    )
    issuer.pauses_s["token"] = 0.5
    before = issuer.asked["token"]
    both = [command("models", "--url", server.url) for _ in range(3)]
    for process in both:
        told, _ = process.communicate(timeout=90)
        assert process.returncode == 0 and "bare" in told, told
    assert issuer.asked["token"] - before == 1
    assert store.find(server.url).refresh_token == issuer.refreshed[-1]
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_sign_in_that_has_ended_at_the_issuer_is_told_with_the_remedy(server, issuer, place):
    old = Credential("x", time.time() - 1, "gone", issuer.url + "/token", client_id=CLIENT)
    CredentialStore().put(server.url, old)
    with Client(server.url) as client, pytest.raises(NotPermitted, match="modelyard login"):
        client.models()
    code, told = ran("models", "--url", server.url)
    assert code == 1 and "modelyard login" in told and "gone" not in told


def resource(issuer, **changed):
    return {
        "authorization_servers": [issuer.url],
        "modelyard_client_id": CLIENT,
        "modelyard_scopes": "openid profile",
        **changed,
    }


async def signing(issuer, told, then):
    """Signs in, and does `then` when the code was shown."""
    return await sign_in(told, lambda challenge: then())


async def test_the_issuer_may_ask_for_slower_questions(issuer):
    times = []
    issuer.interval_s = 0.2

    def then():
        issuer.refuse("slow_down")

    async def approve_when_asked_twice():
        before = issuer.asked["token"]
        while issuer.asked["token"] < before + 1:
            await asyncio.sleep(0.02)
        times.append(time.monotonic())
        issuer.approve()

    approving = asyncio.create_task(approve_when_asked_twice())
    found = await signing(issuer, resource(issuer), then)
    await approving
    assert time.monotonic() - times[0] > 4.5, "five seconds more (RFC 8628 section 3.5)"
    assert found.token.count(".") == 2 and found.issuer == issuer.url


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        ("access_denied", NotPermitted, "refused"),
        ("expired_token", TimedOut, "expired"),
        ("invalid_grant", ClientError, "invalid_grant"),
        ("a\x1b[2Jb", ClientError, r"a\?\[2Jb"),
    ],
)
async def test_each_end_of_a_sign_in_is_told(issuer, error, kind, why):
    issuer.interval_s = 0.1
    with pytest.raises(kind, match=why):
        await signing(issuer, resource(issuer), lambda: issuer.refuse(error))


async def test_a_code_that_nobody_types_expires_by_itself(issuer):
    told = {"device_code": "x", "user_code": "A", "verification_uri": "https://id.example",
            "expires_in": 1, "interval": 0.2}  # fmt: skip
    issuer.answers["device"] = (200, {}, json.dumps(told).encode())
    issuer.answers["token"] = (400, {}, b'{"error": "authorization_pending"}')
    with pytest.raises(TimedOut):
        await sign_in(resource(issuer), print)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"authorization_servers": []}, "keys only"),
        ({"authorization_servers": None}, "keys only"),
        ({"authorization_servers": ["http://id.example"]}, "safe address"),
        ({"modelyard_client_id": None}, "--client-id"),
        ({"modelyard_client_id": "another"}, "invalid_client"),
    ],
    ids=str,
)
async def test_a_server_that_cannot_be_signed_in_to_says_what_to_do(issuer, changed, why):
    with pytest.raises(ClientError, match=why):
        await sign_in(resource(issuer, **changed), print)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://example.com/token"},
        {"device_authorization_endpoint": "ftp://127.0.0.1/"},
        {"device_authorization_endpoint": None},
    ],
    ids=str,
)
async def test_an_issuer_that_points_at_an_unsafe_place_is_not_followed(issuer, metadata):
    issuer.metadata = metadata
    issuer.answers["token"] = (200, {}, b"{}")
    issuer.interval_s = 0.1
    with pytest.raises(ClientError):
        await sign_in(resource(issuer), lambda challenge: issuer.approve())


async def test_an_address_that_a_terminal_would_obey_is_not_shown(issuer):
    shown = []
    for told in [
        {"verification_uri": "https://id.example/\x1b]0;x\x07"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "http://id.example"},
        {"user_code": "A\nB"},
    ]:
        whole = {"device_code": "x", "user_code": "A", "verification_uri": "https://id.example"}
        issuer.answers["device"] = (200, {}, json.dumps({**whole, **told}).encode())
        with pytest.raises(ClientError):
            await sign_in(resource(issuer), shown.append)
    assert shown == []


async def test_signing_in_works_in_a_program_with_a_loop(server, issuer, place):
    async with AsyncClient(server.url) as client:
        await client.sign_in(lambda challenge: issuer.approve())
        assert [model.name for model in await client.models()] == ["bare"]
        assert await client.sign_out()
        with pytest.raises(NotPermitted):
            await client.models()


def test_a_file_that_is_damaged_is_named_and_one_that_cannot_be_had_is_none(place, monkeypatch):
    place.parent.mkdir()
    place.write_text("{")
    with pytest.raises(ClientError, match=r"credentials\.json"):
        CredentialStore().find("http://127.0.0.1:1")
    monkeypatch.setenv(PLACE, "/dev/null/credentials.json")
    assert CredentialStore().find("http://127.0.0.1:1") is None
    with pytest.raises(ClientError, match="cannot be written"):
        CredentialStore().put("http://127.0.0.1:1", Credential("x"))


def test_one_server_has_one_name():
    names = {server_name(f"http://LocalHost{end}") for end in ("", "/", ":80", ":80/")}
    assert names == {"http://localhost:80"}
    assert server_name("https://a") != server_name("http://a:443")
    assert server_name("http://a/x/") == server_name("http://a/x") != server_name("http://a/y")
