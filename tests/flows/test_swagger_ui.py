"""Swagger UI in a real browser: a person uploads an image and predicts, and starts a training."""

import pytest
from yard_browser import chromium, needs_chromium

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "files,counter,old-keywords")
    for model in ("files", "counter", "old-keywords"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, server):
    """A page that knows where it asked and what it complained about."""
    page = browser.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda m: m.type == "error" and page.complaints.append(m.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.set_default_timeout(90_000)
    yield page
    page.close()


def operation(page, server, address, path):
    page.goto(server.url + address)
    block = page.locator(".opblock-post").filter(
        has=page.locator(f'.opblock-summary-path[data-path="{path}"]')
    )
    block.locator(".opblock-summary-control").first.click()
    return block


def response_of(block):
    live = block.locator(".live-responses-table .response").first
    live.wait_for()
    return live.locator(".response-col_status").inner_text(), live.inner_text()


@pytest.mark.parametrize("address", ["/ui", "/api"])
def test_the_page_shows_every_model_and_asks_nobody_else(server, page, address):
    page.goto(server.url + address)
    page.locator(".opblock-post .opblock-summary-path").first.wait_for()
    for path in ("/v2/models/counter/train/", "/v2/models/files/predict/"):
        assert page.locator(f'.opblock-post [data-path="{path}"]').count() == 1
    assert [url for url in page.asked if not url.startswith((server.url, "data:", "blob:"))] == []
    assert page.complaints == []


def test_a_person_uploads_an_image_and_gets_a_prediction(server, page, tmp_path):
    image = tmp_path / "scan.png"
    image.write_bytes(b"\x89PNG not really")
    block = operation(page, server, "/ui", "/v2/models/files/predict/")
    block.locator('input[type="file"]').first.set_input_files(image)
    block.locator("button.execute").click()
    status, text = response_of(block)
    assert status.split()[0] == "200", text
    assert "scan.png" in text
    assert page.complaints == []


@pytest.mark.slow
def test_a_person_starts_a_training(server, page):
    block = operation(page, server, "/ui", "/v2/models/counter/train/")
    block.locator("button.execute").click()
    status, text = response_of(block)
    assert status.split()[0] == "200", text
    assert '"status": "running"' in text
    runs = server.get("/v2/models/counter/train/").json()
    assert server.wait_run(runs[-1])["status"] == "done"


def enter(block, name, text):
    """Types into the form field of an argument."""
    row = block.locator(f'tr[data-property-name="{name}"]')
    field = row.locator("textarea, input[type=text]").first
    field.fill(text)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        pytest.param("application/x-www-form-urlencoded", marks=pytest.mark.slow),
    ],
)
def test_a_person_enters_a_dict_a_list_nested_values_and_null_for_a_deepaas_module(
    server, page, content_type
):
    block = operation(page, server, "/ui", "/v2/models/old-keywords/predict/")
    block.locator("select.content-type").first.select_option(content_type)
    for name, text in {
        "mapping": '{"b": [1, null]}',
        "box": '{"left": 3}',
        "boxes": '[{"left": 1}, {"left": 2}]',
        "none": "null",
        "allowed": "null",
    }.items():
        enter(block, name, text)
    block.locator("button.execute").click()
    status, text = response_of(block)
    assert status.split()[0] == "200", text
    squeezed = "".join(text.split())
    # The module tells the type and the text of each value that it got.
    assert """"mapping":["dict","{'b':[1,None]}"]""" in squeezed
    assert """"box":["dict","{'left':3,'label':'none'}"]""" in squeezed
    assert (
        """"boxes":["list","[{'left':1,'label':'none'},{'left':2,'label':'none'}]"]""" in squeezed
    )
    assert """"allowed":["NoneType","None"]""" in squeezed
    assert page.complaints == []
