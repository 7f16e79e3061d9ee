"""A person signs in at the issuer, and the browser has a session: the authorization code flow."""

import html
import json
import re
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from talk import Talk
from yard_callers import audit
from yard_issuer import AUDIENCE, WEB_CLIENT, WEB_SECRET, Issuer
from yard_keys import put_key
from yard_waiting import wait_until

SETTINGS = """
oidc_issuer = "{issuer}"
oidc_audience = ["{audience}"]
oidc_web_client_id = "{client}"
oidc_web_secret_file = "{secret}"
[oidc_permissions]
"group:readers" = "read"
"scope:yard" = "predict train"
"""
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def as_ever(issuer):
    yield
    issuer.says_no, issuer.id_changes, issuer.token_changes, issuer.gives = None, {}, {}, {}
    issuer.token_lasts_s = 300


@pytest.fixture(scope="module")
def server(serve_module, issuer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    secret = folder / "secret"
    secret.write_text(WEB_SECRET + "\n")
    file = folder / "modelyard.toml"
    file.write_text(
        SETTINGS.format(issuer=issuer.url, audience=AUDIENCE, client=WEB_CLIENT, secret=secret)
    )
    server = serve_module(
        *("--config-file", str(file), "--model-name", "kinds,counter", "--no-warm-start")
    )
    server.wait = wait_until(
        lambda: server.get("/v2/models/", headers=issuer.bearer()).status_code == 200
    )
    return server


class Person:
    """Their browser, as far as it follows what it is sent."""

    def __init__(self, server, after="/ui/"):
        self.server, self.session = server, requests.Session()
        self.after = after

    def get(self, address, **more):
        address = address if "://" in address else self.server.url + address
        return self.session.get(address, headers=PAGE, allow_redirects=False, timeout=60, **more)

    def begin(self):
        """At the issuer: its address with all that it was asked."""
        page = self.get(f"/sign-in?{urlencode({'next': self.after})}")
        link = html.unescape(re.search(r'id="issuer" href="([^"]*)"', page.text)[1])
        self.began = self.get(link)
        assert self.began.status_code == 303, self.began.text
        return self.began.headers["Location"]

    def come_back(self, address):
        """The address that the issuer sends to, without going there."""
        sent = requests.get(address, allow_redirects=False, timeout=60)
        assert sent.status_code == 302, sent.text
        return sent.headers["Location"]

    def sign_in(self):
        """What the browser is shown in the end."""
        return self.get(self.come_back(self.begin()))


def refused(answer, *told, status=403):
    assert answer.status_code == status and "modelyard_session" not in answer.cookies, answer.text
    alert = html.unescape(re.search(r'role="alert">([^<]*)<', answer.text)[1])
    assert all(word in alert for word in told), alert
    assert 'name="key"' in answer.text, "another way is offered beside it"
    return alert


def test_a_person_signs_in_at_the_issuer_and_comes_back_to_where_they_were(server, issuer):
    person = Person(server, "/tensorboard/?darkMode=true")
    asked = parse_qs(urlsplit(person.begin()).query)
    assert asked["redirect_uri"] == [server.url + "/sign-in/callback"]
    assert asked["response_type"] == ["code"] and asked["code_challenge_method"] == ["S256"]
    began = person.began.headers["Set-Cookie"]
    assert "HttpOnly" in began and "SameSite=Lax" in began and "Path=/sign-in" in began
    done = person.sign_in()
    assert done.status_code == 200, done.text
    assert 'content="0; url=/tensorboard/?darkMode=true"' in done.text and "alice" in done.text
    assert "script" not in done.text and done.headers["Cache-Control"] == "no-store"
    cookies = done.raw.headers.getlist("Set-Cookie")
    kept = next(one for one in cookies if one.startswith("modelyard_session="))
    assert "HttpOnly" in kept and "SameSite=Strict" in kept
    assert any(one.startswith('modelyard_signing_in="";') for one in cookies), "it is of no use now"
    form = issuer.token_forms[-1]
    assert form["Authorization"].startswith("Basic ") and "client_secret" not in form
    assert person.get("/v2/models/").status_code == 200
    own = {"Origin": server.url}
    run = person.session.post(
        server.url + "/v2/models/counter/train/", json={"steps": 1}, headers=own, timeout=60
    )
    who = f"oidc:alice-1@{issuer.url.removeprefix('http://')}"
    assert run.json()["started_by"] == who
    denied = person.session.get(server.url + "/v2/debug/", timeout=60)
    assert denied.json()["permission"] == "manage"
    signed = [one for one in audit(server, "changes.jsonl") if one["route"] == "/sign-in/callback"]
    assert (signed[-1]["principal"], signed[-1]["label"]) == (who, "alice")
    assert "alice" in person.get("/sign-in").text


def test_every_sign_in_has_secrets_of_its_own_and_none_is_logged(server, issuer):
    person, seen = Person(server), set()
    for _ in range(2):
        asked = parse_qs(urlsplit(person.begin()).query)
        values = {asked[name][0] for name in ("state", "nonce", "code_challenge")}
        assert len(values) == 3 and not values & seen
        assert all(len(value) >= 43 for value in values)
        seen |= values
    back = person.come_back(person.begin())
    assert person.get(back).status_code == 200
    code = parse_qs(urlsplit(back).query)["code"][0]
    written = "".join(server.lines) + json.dumps(audit(server, "changes.jsonl"))
    assert code not in written and not any(value in written for value in seen)
    assert issuer.refreshed[-1] not in written


def test_another_browser_cannot_end_what_it_has_not_begun(server):
    """Else somebody could have others work under a name that is not theirs."""
    attacker, victim = Person(server), Person(server)
    back = attacker.come_back(attacker.begin())
    refused(victim.get(back), "not begun in this browser")
    victim.begin()
    refused(victim.get(back), "not begun in this browser")
    assert attacker.get(back).status_code == 200
    refused(attacker.get(back), "not begun in this browser"), "once"


def changed(address, **changes):
    parts = urlsplit(address)
    sent = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    sent = {name: value for name, value in sent.items() if value is not None}
    return parts._replace(query=urlencode(sent)).geturl()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": "x"}, "not begun in this browser"),
        ({"state": None}, "not begun in this browser"),
        ({"state": "\u00e9"}, "not begun in this browser"),
        ({"code": "x"}, "invalid_grant"),
        ({"code": None}, "invalid_grant"),
        ({"iss": "https://evil.example"}, "not from the issuer"),
        ({"error": "access_denied"}, "access_denied"),
    ],
)
def test_an_answer_that_was_tampered_with_begins_no_session(server, changes, told):
    person = Person(server)
    refused(person.get(changed(person.come_back(person.begin()), **changes)), told)
    assert person.get("/v2/models/").status_code == 401


def test_a_cookie_that_was_tampered_with_or_an_answer_told_twice_begins_none(server):
    person = Person(server)
    back = person.come_back(person.begin())
    (cookie,) = [one for one in person.session.cookies if one.name == "modelyard_signing_in"]
    for value in ("", "x", cookie.value[:-1], "A" + cookie.value, cookie.value.swapcase(), "a.b.c"):
        answer = requests.get(back, cookies={cookie.name: value}, timeout=60)
        refused(answer, "not begun in this browser")
    refused(person.get(back + "&code=other"), "twice")
    assert person.get(back).status_code == 200


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        ("another client", {"aud": "somebody-else"}),
        ("another client", {"aud": [WEB_CLIENT, "other"]}),
        ("another client", {"azp": "other"}),
        ("another sign-in", {"nonce": "other"}),
        ("another sign-in", {"nonce": None}),
        ("another issuer", {"iss": "https://evil.example"}),
        ("expired", {"exp": 1}),
        ("expired", {"exp": None}),
        ("expired", {"iat": int(time.time()) + 86_400}),
        ("two people", {"sub": "bob"}),
        ("whose it is", {"sub": None}),
    ],
)
def test_an_id_token_that_is_not_of_this_sign_in_is_refused(server, issuer, told, changes):
    issuer.id_changes = changes
    refused(Person(server).sign_in(), told)


def test_no_id_token_a_forged_one_and_a_token_for_others_begin_no_session(server, issuer):
    token = issuer.token(aud=WEB_CLIENT)
    for gives, told in [
        ({"id_token": None}, "id_token"),
        ({"id_token": token[:-8] + "AAAAAAAA"}, "not valid"),
        ({"id_token": "x"}, "not valid"),
        ({"access_token": "opaque"}, "no token that opens this server"),
        ({"access_token": None}, "no token that opens this server"),
        ({"token_type": "mac"}, "no token that can be used"),
    ]:
        issuer.gives = gives
        refused(Person(server).sign_in(), told)
    issuer.gives, issuer.token_changes = {}, {"aud": "somebody-else"}
    refused(Person(server).sign_in(), "another audience")
    issuer.token_changes, issuer.id_changes = {"sub": "alice@lab"}, {"sub": "alice"}
    refused(Person(server).sign_in(), "two people")


def test_who_says_no_is_told_and_what_an_issuer_says_is_no_page_of_ours(server, issuer):
    issuer.says_no = "<script>alert(1)</script>"
    answer = Person(server).sign_in()
    assert "<script>" not in answer.text
    refused(answer, "The issuer refused: <script>")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil", "x"])
def test_after_it_a_browser_stays_on_this_server(server, elsewhere):
    done = Person(server, elsewhere).sign_in()
    assert done.status_code == 200 and 'content="0; url=/ui/"' in done.text
    assert "evil" not in done.text


def test_a_foreign_host_is_no_place_to_come_back_to(server):
    answer = server.get("/sign-in/start", headers={**PAGE, "Host": "evil.example"})
    assert answer.status_code == 421


def test_a_session_is_renewed_with_its_token_and_ends_when_the_issuer_renews_it_no_more(
    server, issuer
):
    issuer.token_lasts_s = -27  # of the 30 s by which clocks may differ three are left
    person = Person(server)
    wait_until(lambda: person.sign_in().status_code == 200)  # a slow machine may need a second try
    issuer.token_lasts_s = 300
    asked = len(issuer.refreshed)
    wait_until(
        lambda: person.get("/v2/models/").status_code == 200 and len(issuer.refreshed) > asked
    )
    assert person.get("/v2/models/").status_code == 200
    issuer.token_lasts_s = -27
    other = Person(server)
    wait_until(lambda: other.sign_in().status_code == 200)
    issuer.refreshed.append("another")  # whoever was signed in has been signed out there
    wait_until(lambda: other.get("/v2/models/").status_code == 401)
    assert person.get("/v2/models/").status_code == 200


def test_while_the_issuer_is_down_it_says_so_and_keys_still_open(server, issuer):
    issuer.answers["token"] = (503, {}, b"")
    refused(Person(server).sign_in(), "503", status=503)
    del issuer.answers["token"]
    key = put_key(server.home, "beside", "read")
    wait_until(lambda: server.get("/v2/models/", headers=key).status_code == 200)
    with requests.Session() as session:
        text = key["Authorization"].removeprefix("Bearer ")
        form, own = {"key": text, "next": "/ui/"}, {"Origin": server.url}
        session.post(server.url + "/sign-in", data=form, headers=own, timeout=60)
        assert session.get(server.url + "/v2/models/", timeout=60).status_code == 200


def test_without_a_client_for_browsers_there_is_no_such_way(start_server, issuer):
    server = start_server(
        *("--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE, "--model-name", "bare"),
        *("--oidc-permissions", "anybody=read", "--no-warm-start"),
    )
    assert 'id="issuer"' not in server.get("/sign-in").text
    for path in ("/sign-in/start", "/sign-in/callback?code=x&state=y"):
        assert server.get(path).status_code == 404


def test_a_secret_that_cannot_be_read_ends_the_start(start_server, tmp_path):
    flags = ["--oidc-issuer", "https://id.example", "--oidc-audience", "x"]
    flags += ["--oidc-permissions", "anybody=read", "--oidc-web-secret-file", str(tmp_path / "no")]
    server = start_server(*flags, "--oidc-web-client-id", "web", wait=False)
    assert server.process.wait(60) == 2 and "--oidc-web-secret-file" in "".join(server.lines)


@pytest.mark.parametrize(
    "sent", [b"a.\xff", b"\xed\xa0\x80", b"a.b\x80;x=y", b'"a.b"', b"." * 3000]
)
def test_whatever_a_cookie_holds_is_no_fault_of_the_server(server, sent):
    for name in (b"modelyard_signing_in", b"modelyard_session"):
        for path in (b"/sign-in/callback?state=%FF&code=%ED%A0%80", b"/sign-in", b"/v2/models/"):
            with Talk(server) as talk:
                talk.send(
                    b"GET %s HTTP/1.1\r\nHost: localhost\r\nCookie: %s=%s\r\n\r\n"
                    % (path, name, sent)
                )
                assert talk.answer()[0] in (200, 400, 401, 403)
