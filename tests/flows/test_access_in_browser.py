"""A real browser on a server that asks who calls: sign-in by key and at the issuer, Swagger UI.

The browser calls the server `localhost`, and the issuer is on 127.0.0.1: two sites, so that cookies
go where they go between two hosts.
"""

from urllib.parse import urlsplit

import pytest
from yard_browser import chromium, needs_chromium
from yard_issuer import AUDIENCE, WEB_CLIENT, Issuer
from yard_keys import end_key, id_of, put_key
from yard_waiting import wait_until

SETTINGS = """
oidc_issuer = "{issuer}"
oidc_audience = ["{audience}"]
oidc_web_client_id = "{client}"
[oidc_permissions]
"group:readers" = "read predict"
"""
KINDS = "/v2/models/kinds/predict/"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(serve_module, issuer, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "modelyard.toml"
    file.write_text(SETTINGS.format(issuer=issuer.url, audience=AUDIENCE, client=WEB_CLIENT))
    server = serve_module(*("--config-file", str(file), "--model-name", "kinds", "--no-warm-start"))
    server.key = put_key(server.home, "ann", "read", "predict")
    server.reader = put_key(server.home, "reader", "read")
    wait_until(
        lambda: server.get("/v2/models/kinds/", headers=server.key).json().get("state") == "ready"
    )
    server.site = f"http://localhost:{urlsplit(server.url).port}"
    return server


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser):
    """A page of a person who is not signed in, which knows what it complained about."""
    context = browser.new_context()
    page = context.new_page()
    page.complaints, page.sent = [], []
    page.on("console", lambda m: m.type == "error" and page.complaints.append(m.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.sent.append(request))
    page.set_default_timeout(180_000)
    yield page
    context.close()


def text_of(key):
    return key["Authorization"].removeprefix("Bearer ")


def sign_in(page, server, key):
    page.goto(server.site + "/ui/")
    assert urlsplit(page.url).path == "/sign-in", "who has no session is sent to sign in"
    page.fill("#key", text_of(key))
    page.click("form button")
    page.wait_for_url(server.site + "/ui/")


def predicted(page):
    """Status and text of a prediction by "Try it out"."""
    block = page.locator(".opblock-post").filter(
        has=page.locator(f'.opblock-summary-path[data-path="{KINDS}"]')
    )
    execute = block.locator("button.execute")
    if not execute.count():
        block.locator(".opblock-summary-control").first.click()
    with page.expect_response(server_path) as answer:
        execute.click()
    return answer.value


def server_path(response):
    return urlsplit(response.url).path == KINDS


def test_a_person_signs_in_with_a_key_uses_swagger_ui_and_signs_out(server, page):
    sign_in(page, server, server.key)
    assert predicted(page).status == 200
    assert "authorization" not in page.sent[-1].all_headers(), "the session is enough"
    assert page.complaints == [], "nothing of the page meets its policy"
    (cookie,) = [one for one in page.context.cookies() if one["name"] == "modelyard_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == "", "no script sees it"
    page.goto(server.site + "/sign-in")
    assert "ann" in page.inner_text("main")
    page.click("form button")
    page.wait_for_selector("#key")
    page.goto(server.site + "/ui/")
    assert urlsplit(page.url).path == "/sign-in"


@pytest.mark.slow
def test_the_key_of_authorize_goes_before_the_session(server, page):
    sign_in(page, server, server.reader)
    assert predicted(page).status == 403
    page.locator("button.authorize").first.click()
    page.locator(".modal-ux input").first.fill(text_of(server.key))
    page.locator(".modal-ux button.authorize").click()
    page.locator(".modal-ux button.btn-done").click()
    answer = predicted(page)
    assert answer.status == 200
    assert answer.request.all_headers()["authorization"] == server.key["Authorization"]
    assert [one for one in page.complaints if "403" not in one] == []


def test_a_person_signs_in_at_the_issuer_and_is_back_with_a_session(server, page):
    """The cookie is `SameSite=Strict`, and the browser comes from another site."""
    page.goto(server.site + "/sign-in?next=/sign-in")
    page.click("#issuer")
    page.wait_for_url(server.site + "/sign-in")
    assert "alice" in page.inner_text("main")
    assert page.complaints == []
    assert not any("code=" in one.all_headers().get("referer", "") for one in page.sent)


def test_a_page_of_another_site_gets_nothing_of_a_session(server, page, issuer):
    page.goto(server.site + "/sign-in?next=/sign-in")
    page.fill("#key", text_of(server.key))
    page.click("form button")
    page.wait_for_url(server.site + "/sign-in")
    page.goto(issuer.url + "/.well-known/openid-configuration")  # a page of another site
    asked = """async ([address, method]) => {
        try {
            const answer = await fetch(address, {method, credentials: "include", mode: "cors"})
            return answer.status
        } catch (error) { return "not read" }
    }"""
    for path, method in (("/v2/models/", "GET"), (KINDS, "POST"), ("/sign-out", "POST")):
        assert page.evaluate(asked, [server.site + path, method]) == "not read", path
    page.goto(server.site + "/sign-in")
    assert "ann" in page.inner_text("main"), "nor could it end the session"


@pytest.mark.slow
def test_a_browser_whose_key_was_revoked_is_sent_to_sign_in(server, page):
    key = put_key(server.home, "leaver", "read", "predict")
    sign_in(page, server, key)
    assert end_key(server.home, id_of(key))
    wait_until(lambda: server.get("/v2/models/", headers=key).status_code == 401)
    assert predicted(page).status == 401
    page.goto(server.site + "/ui/")
    assert urlsplit(page.url).path == "/sign-in"


@pytest.mark.slow
def test_tensorboard_works_for_who_has_signed_in(server, page):
    page.goto(server.site + "/tensorboard/")
    page.fill("#key", text_of(server.key))
    statuses = []
    page.on("response", lambda answer: statuses.append((answer.status, answer.url)))
    page.click("form button")
    page.wait_for_url(server.site + "/tensorboard/**")
    page.wait_for_selector("tb-webapp")
    wait_until(lambda: page.evaluate("document.readyState") == "complete")
    page.wait_for_load_state("networkidle")
    assert len(statuses) > 3
    assert [one for one in statuses if one[0] in (401, 403) or one[0] >= 500] == []
