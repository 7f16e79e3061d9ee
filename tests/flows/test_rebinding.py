"""DNS rebinding of a server with open access: to programs it answers by any name, to pages not."""

from urllib.parse import urlsplit

import pytest
from talk import Talk, post
from yard_browser import chromium, needs_chromium

NAME = "rebound.example"
KINDS = "/v2/models/kinds/predict/"
ASK = """async ([path, options]) => {
  const answer = await fetch(path, options);
  return [answer.status, await answer.text()];
}"""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start", "--access", "open")
    server.wait_ready("kinds")
    return server


def test_a_program_may_call_an_open_server_by_any_name_and_a_browser_may_not(server):
    named = {"Host": f"{NAME}:5000"}
    assert server.get("/v2/models/", headers=named).status_code == 200
    for name, value in (
        ("Origin", f"http://{NAME}:5000"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Cookie", "a=b"),
        ("Accept-Language", "de"),
        ("Accept-Language", ""),
    ):
        for path in ("/v2/models/", "/tensorboard/", "/nothing"):
            refused = server.get(path, headers={**named, name: value})
            assert refused.status_code == 421 and "--allowed-hosts" in refused.text, (name, path)


def test_it_is_so_by_the_short_way_too(server):
    for more, expected in (([], 200), (["Accept-Language: de"], 421)):
        with Talk(server) as talk:
            talk.send(post(KINDS, b"{}", *more, host=NAME))
            assert talk.answer()[0] == expected


@needs_chromium
def test_a_page_whose_name_leads_here_all_of_a_sudden_reads_nothing(server):
    """A real browser, over plain http, whose page does what it can to look like a program."""
    port = urlsplit(server.url).port
    flags = (
        f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
        # Newest ones ask the person first, where they can tell; others do not.
        "--disable-features=LocalNetworkAccessChecks",
    )
    with chromium(*flags) as browser:
        page = browser.new_page()
        page.route(f"http://{NAME}:{port}/own", lambda route: route.fulfill(body="a page of its"))
        page.goto(f"http://{NAME}:{port}/own")
        hidden = {
            "headers": {"Accept-Language": "", "User-Agent": "curl/8"},
            "credentials": "omit",
            "referrerPolicy": "no-referrer",
        }
        for options in ({}, hidden, {**hidden, "method": "HEAD"}, {**hidden, "method": "POST"}):
            for path in ("/v2/models/", "/tensorboard/", "/openapi.json"):
                status, text = page.evaluate(ASK, [path, options])
                assert status == 421 and "kinds" not in text, (path, options)
