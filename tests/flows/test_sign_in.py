"""A browser signs in with a key, and has a session: what it opens, and how it ends."""

import pytest
import requests
from yard_callers import audit
from yard_keys import id_of, keys, make_key, put_key
from yard_waiting import wait_until

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,counter", "--no-warm-start")
    for model in ("kinds", "counter"):
        server.wait_ready(model)
    server.key = make_key(server.home, "ann", "read", "predict", "train")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def own(server):
    return {"Origin": server.url}


def text_of(key):
    return key["Authorization"].removeprefix("Bearer ")


def browser(server, key=None, **form):
    """A browser that has signed in, and what it was answered."""
    session = requests.Session()
    answer = session.post(
        server.url + "/sign-in", data={"key": text_of(key or server.key), **form},
        headers=own(server), allow_redirects=False, timeout=30,
    )  # fmt: skip
    return session, answer


def test_swagger_ui_sends_a_browser_to_sign_in_and_back(server):
    sent = server.get("/ui/", headers=PAGE, allow_redirects=False)
    assert (sent.status_code, sent.headers["Location"]) == (303, "/sign-in?next=/ui/")
    page = server.get("/sign-in?next=/ui/", headers=PAGE)
    assert 'value="/ui/"' in page.text and "http" not in page.text.partition("<body>")[2]
    assert "script" not in page.text and "form-action 'self'" in page.headers[
        "Content-Security-Policy"
    ]  # fmt: skip
    session, answer = browser(server, next="/ui/")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
    assert session.get(server.url + "/ui/", headers=PAGE, timeout=30).status_code == 200
    assert session.get(server.url + "/openapi.json", timeout=30).status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil", "x"])
def test_after_signing_in_a_browser_stays_on_this_server(server, elsewhere):
    assert browser(server, next=elsewhere)[1].headers["Location"] == "/ui/"


def test_the_first_key_of_a_home_opens_a_session_at_once(start_server):
    """Until then everybody was let in: the server has not looked for keys since."""
    server = start_server("--model-name", "bare", "--no-warm-start")
    session, answer = browser(server, {"Authorization": f"Bearer my_{'0' * 12}_{'a' * 43}"})
    assert answer.status_code == 401 and not session.cookies
    session, answer = browser(server, put_key(server.home, "first", "read"))
    assert answer.status_code == 303, answer.text
    assert session.get(server.url + "/v2/models/", timeout=30).status_code == 200
    assert requests.get(server.url + "/v2/models/", timeout=30).status_code == 401


def test_who_signs_in_again_and_again_pushes_no_change_out_of_the_audit_log(server):
    eve, ben = (put_key(server.home, name, "read") for name in ("eve", "ben"))
    with requests.Session() as kept:
        for _ in range(300):
            answer = kept.post(
                server.url + "/sign-in", data={"key": text_of(eve)}, headers=own(server),
                allow_redirects=False, timeout=30,
            )  # fmt: skip
            assert answer.status_code == 303
    assert browser(server, ben)[1].status_code == 303
    lines = audit(server, "changes.jsonl")
    theirs = [one for one in lines if one.get("principal") == "key:eve"]
    assert 100 <= len(theirs) < 200
    told = [one for one in lines if one.get("principal") == "key:ben"]
    assert len(told) == 1 and len(theirs) + sum(one.get("left_out", 0) for one in lines) == 300


def test_a_wrong_key_begins_no_session_and_is_not_shown_again(server):
    for wrong in ("my_0123456789ab_" + "A" * 43, "", "<script>"):
        answer = server.post("/sign-in", data={"key": wrong}, headers=own(server))
        assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
        assert not wrong or wrong not in answer.text


def test_a_session_may_do_what_its_key_may(server):
    session, _ = browser(server)
    started = session.post(
        server.url + "/v2/models/counter/train/", json={"steps": 1}, headers=own(server), timeout=30
    )
    assert started.json()["started_by"] == "key:ann"
    denied = session.delete(
        server.url + f"/v2/models/kinds/weights/{'0' * 32}", headers=own(server), timeout=30
    )
    assert denied.json()["permission"] == "manage"


def test_another_site_can_do_nothing_with_a_session(server):
    session, _ = browser(server)
    path = server.url + "/v2/models/counter/train/"
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = session.post(path, json={"steps": 1}, headers=headers, timeout=30)
        assert answer.status_code == 403, headers
    signed = {"Origin": "https://evil.example"}
    other = server.post("/sign-in", data={"key": text_of(server.key)}, headers=signed)
    assert other.status_code == 403 and "Set-Cookie" not in other.headers


def test_a_session_ends_when_its_browser_signs_out(server):
    session, _ = browser(server)
    cookie = dict(session.cookies)
    session.post(server.url + "/sign-out", headers=own(server), timeout=30)
    assert not session.cookies
    assert server.get("/v2/models/", cookies=cookie).status_code == 401


def test_a_session_ends_with_its_key(server):
    key = make_key(server.home, "leaver", "read")
    session, _ = browser(server, key)
    assert session.get(server.url + "/v2/models/", timeout=30).status_code == 200
    assert keys(server.home, "revoke", id_of(key)).returncode == 0
    wait_until(lambda: session.get(server.url + "/v2/models/", timeout=30).status_code == 401)


def test_who_is_signed_in_is_told_and_a_guessed_cookie_opens_nothing(server):
    session, _ = browser(server)
    assert "<b>ann</b>" in session.get(server.url + "/sign-in", timeout=30).text
    for value in ("x", "", "A" * 43, id_of(server.key)):
        told = server.get("/v2/models/", cookies={"modelyard_session": value})
        assert told.status_code == 401


def test_tensorboard_sends_a_browser_to_sign_in_and_a_program_gets_401(server):
    path = "/tensorboard/?darkMode=true"
    sent = server.get(path, headers=PAGE, allow_redirects=False)
    assert sent.status_code == 303
    assert sent.headers["Location"] == "/sign-in?next=/tensorboard/?darkMode%3Dtrue"
    page = server.get(sent.headers["Location"], headers=PAGE)
    assert 'value="/tensorboard/?darkMode=true"' in page.text
    for headers in ({}, {"Accept": "application/json"}, {**PAGE, "Authorization": "Bearer x"}):
        told = server.get(path, headers=headers, allow_redirects=False)
        assert told.status_code == 401 and told.json()["type"] == "urn:modelyard:not-signed-in"
    assert server.post(path, headers=PAGE, allow_redirects=False).status_code == 401
    for path in ("/v2/models/", "/metrics", "/openapi.json", "/no/such"):
        assert server.get(path, headers=PAGE, allow_redirects=False).status_code == 401, path


def test_who_has_signed_in_without_the_permission_is_told_and_not_sent_round_in_circles(server):
    session, _ = browser(server, put_key(server.home, "for-kinds", "read", model="kinds"))
    told = session.get(server.url + "/tensorboard/", headers=PAGE, timeout=30)
    assert told.status_code == 403 and "only for: kinds" in told.json()["detail"]


def secure(server, **headers):
    """Whether the cookie of a session is for HTTPS alone."""
    scheme = headers.get("X-Forwarded-Proto", "http")
    headers["Origin"] = server.url.replace("http:", f"{scheme}:")
    answer = server.post(
        "/sign-in", data={"key": text_of(server.key)}, headers=headers, allow_redirects=False
    )
    assert answer.status_code == 303, answer.text
    return "; Secure" in answer.headers["Set-Cookie"]


def test_a_sessions_cookie_is_for_https_alone_where_that_is_how_browsers_come(server, start_server):
    assert not secure(server, **{"X-Forwarded-Proto": "https"}), "no trusted proxy says so"
    flags = ("--model-name", "bare", "--no-warm-start")
    behind = start_server(*flags, "--trusted-proxies", "127.0.0.1")
    behind.key = put_key(behind.home, "ann", "read")
    wait_until(lambda: behind.get("/v2/models/").status_code == 401)
    assert secure(behind, **{"X-Forwarded-Proto": "https"})
    assert not secure(behind, **{"X-Forwarded-Proto": "http"}) and not secure(behind)
    assert behind.stop() == 0
    public = start_server(*flags, "--public-url", "https://yard.example")
    public.key = behind.key
    assert secure(public)
