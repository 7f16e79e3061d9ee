"""Pages of other web sites: what they may not do, and what they may when that was said."""

import pytest
import requests
from talk import Talk, post

KINDS = "/v2/models/kinds/predict/"
FRIEND, STRANGER = "https://friend.example", "https://stranger.example"


@pytest.fixture(scope="module")
def closed(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start")
    server.wait_ready("kinds")
    return server


@pytest.fixture(scope="module")
def friendly(serve_module):
    server = serve_module(
        *("--model-name", "kinds", "--no-warm-start", "--allowed-origins", FRIEND),
        *("--public-url", "https://yard.example/a"),
    )
    server.wait_ready("kinds")
    return server


@pytest.fixture(scope="module")
def anybody(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start", "--allowed-origins", "*")
    server.wait_ready("kinds")
    return server


def ask(server, method, path="/healthz", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, server.url + path, headers=names, timeout=30)


def cors(answer):
    return {name for name in answer.headers if name.startswith("Access-Control-")}


UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "MKCOL"]
PATHS = ["/healthz", KINDS, "/v2/models/kinds/train/", "/tensorboard/", "/tensorboard/data/x", "/x"]


@pytest.mark.parametrize("path", PATHS)
def test_no_method_and_no_address_answers_to_a_foreign_name(closed, path):
    """DNS rebinding: a page's own name may lead here."""
    for method in ("GET", "HEAD", "OPTIONS", *UNSAFE):
        answer = ask(closed, method, path, Host="rebound.example")
        assert answer.status_code == 421 and answer.headers["Connection"] == "close", method


@pytest.mark.parametrize("path", PATHS)
def test_no_unsafe_method_is_taken_from_a_page_of_another_site(closed, path):
    for method in UNSAFE:
        refused_from_elsewhere(closed, method, path)


def refused_from_elsewhere(closed, method, path):
    for headers in (
        {"Origin": STRANGER},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-origin", "Origin": STRANGER},
        {"Sec_Fetch_Site": "whatever"},
    ):
        answer = ask(closed, method, path, **headers)
        assert answer.status_code == 403, headers
        assert "--allowed-origins" in answer.json()["detail"] and not cors(answer)


def test_an_origin_that_is_none_is_another_site(closed):
    """Malformed ones too, on both ways of HTTP: no fault of the server."""
    host = closed.url.partition("://")[2]
    for origin in (
        *("http://[", "http://\u2100", "http://[::1]x", "\xff", "", "x", host, f"//{host}"),
        *(f"http://{host}/path", f"http://{host}#x", f"http://a@{host}", f"ftp://{host}"),
        *(f"http://{host}.stranger.example", f"http://{host}, {STRANGER}", f"http://{host} x"),
    ):
        for path in (KINDS, "/healthz", "/tensorboard/x", "/sign-in"):
            with Talk(closed) as talk:
                lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Length: 2"]
                head = "\r\n".join([*lines, f"Origin: {origin}", "", ""])
                talk.send(head.encode() + b"{}")
                assert talk.answer()[0] == 403, origin


def test_a_page_of_our_own_and_a_program_may(closed):
    own = closed.url
    for headers in ({}, {"Origin": own}, {"Sec_Fetch_Site": "none"},
                    {"Sec_Fetch_Site": "same-origin", "Origin": own}):  # fmt: skip
        assert ask(closed, "POST", KINDS, **headers).status_code == 200


def test_without_the_setting_there_is_no_header_of_cors(closed):
    for method, headers in (
        ("GET", {"Origin": STRANGER}),
        ("OPTIONS", {"Origin": STRANGER, "Access_Control_Request_Method": "GET"}),
    ):
        answer = ask(closed, method, **headers)
        assert not cors(answer) and "Origin" not in answer.headers.get("Vary", "")
    assert answer.status_code == 405


def test_an_allowed_site_is_asked_answered_and_shown_what_it_needs(friendly):
    asked = ask(friendly, "OPTIONS", KINDS, Origin=FRIEND, Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="content-type,x-request-timeout")  # fmt: skip
    assert asked.status_code == 204
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    assert asked.headers["Access-Control-Allow-Headers"] == "content-type,x-request-timeout"
    answer = ask(friendly, "POST", KINDS, Origin=FRIEND, Sec_Fetch_Site="cross-site")
    assert answer.status_code == 200
    for one in (asked, answer, ask(friendly, "GET", "/nowhere", Origin=FRIEND)):
        assert one.headers["Access-Control-Allow-Origin"] == FRIEND
        assert one.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in one.headers["Vary"]
    assert "X-Modelyard-Weights" in answer.headers["Access-Control-Expose-Headers"]


def test_headers_that_are_asked_for_in_two_lines_are_all_allowed(friendly):
    lines = [f"OPTIONS {KINDS} HTTP/1.1", "Host: localhost", f"Origin: {FRIEND}"]
    lines += ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: a"]
    with Talk(friendly) as talk:
        head = "\r\n".join([*lines, "Access-Control-Request-Headers: b", "", ""])
        talk.send(head.encode())
        said = talk.socket.recv(1 << 16)
    assert b"Access-Control-Allow-Headers: a, b\r\n" in said


def test_another_site_is_not(friendly):
    asked = ask(friendly, "OPTIONS", KINDS, Origin=STRANGER, Access_Control_Request_Method="POST")
    assert not cors(asked)
    for origin in (STRANGER, FRIEND + ".stranger.example", "http://friend.example", "null"):
        answer = ask(friendly, "POST", KINDS, Origin=origin)
        assert answer.status_code == 403 and not cors(answer)
        assert not cors(ask(friendly, "GET", Origin=origin))
    assert "Origin" in ask(friendly, "GET").headers["Vary"]


def test_every_site_is_never_every_site_with_a_cookie(anybody):
    answer = ask(anybody, "POST", KINDS, Origin=STRANGER, Sec_Fetch_Site="cross-site")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert ask(anybody, "POST", KINDS, Origin=STRANGER, Cookie="a=b").status_code == 403


def test_the_public_name_is_one_of_ours_and_so_are_its_pages(friendly):
    answer = ask(friendly, "POST", KINDS, Host="yard.example", Origin="https://yard.example")
    assert answer.status_code == 200
    assert ask(friendly, "POST", KINDS, Host="other.example").status_code == 421


@pytest.mark.parametrize("more", [[], ["Cookie: a=b"]])
def test_no_answer_may_run_scripts_or_be_framed_by_others(closed, more):
    """Also those of the short way: a model may answer with a page."""
    with Talk(closed) as talk:
        talk.send(post(KINDS, b"{}", *more))
        _, headers, _ = talk.answer()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_pages_for_people_have_policies_that_name_who_may_frame_them(closed):
    for path in ("/ui", "/api/", "/tensorboard/"):
        answer = closed.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status_code == 200 and "script-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert answer.headers["Server"] == "modelyard"
