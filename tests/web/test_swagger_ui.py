"""Swagger UI in a real browser, over a document of a model with every kind of argument."""

import asyncio
import base64
import json
import shutil

import pytest
from aiohttp import web
from marshmallow import fields, validate

from modelyard.schemas.checking import check_schema
from modelyard.schemas.description import ModelDescription
from modelyard.schemas.fields import File, Files, Tensor
from modelyard.schemas.introspect import describe_schema
from modelyard.schemas.model_operations import ServedModel
from modelyard.schemas.openapi import openapi_document
from modelyard.schemas.routes import ResponseDoc, RouteDoc
from modelyard.web import static_file

playwright = pytest.importorskip("playwright.async_api")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'"
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
PREDICT = {
    "image": File(content_types=("image/*",), required=True),
    "more": Files(),
    "top_k": fields.Integer(load_default=3),
    "names": fields.List(fields.String(), load_default=["a", "b"]),
    "options": fields.Dict(load_default={"a": 1}),
    "mode": fields.String(load_default="x", validate=validate.OneOf(["x", "y"])),
    "choice": fields.String(validate=validate.OneOf(["x", "y"])),
    "key": fields.String(load_only=True),
    "count": fields.Integer(load_default=None),
    "flag": fields.Boolean(),
    "tensor": Tensor((3, None, None)),
}
TRAIN = {
    "epochs": fields.Integer(load_default=3),
    "note": fields.String(),
    "rate": fields.Float(required=True, validate=validate.Range(0, 1)),
}


def document():
    def described(arguments):
        return describe_schema(check_schema(arguments, "arguments"))

    model = ModelDescription(
        "m", predict_arguments=described(PREDICT), train_arguments=described(TRAIN)
    )
    routes = [
        RouteDoc("POST", f"/{which}/{{model}}/", which, which, which,
                 model_body=which, permission=None,
                 responses={200: ResponseDoc("Good.")})
        for which in ("predict", "train")
    ]  # fmt: skip
    return openapi_document(routes, [ServedModel("m", model, ["0" * 32])], "1", "/base")


@pytest.fixture
async def server(aiohttp_server):
    """A page as the real server gives it, and routes that keep what was sent to them."""
    sent = []

    async def page(request):
        path = static_file("swagger-ui", request.match_info.get("file", "index.html"))
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Security-Policy": POLICY})

    async def described(request):
        return web.json_response(document())

    async def call(request):
        if request.content_type == "multipart/form-data":
            parts = []
            async for part in await request.multipart():
                parts.append((part.name, part.filename or (await part.read()).decode()))
            sent.append(parts)
        else:
            sent.append(await request.json())
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/base/openapi.json", described)
    app.router.add_get("/base/api/", page)
    app.router.add_get("/base/api/{file}", page)
    app.router.add_post("/base/{which}/m/", call)
    started = await aiohttp_server(app)
    started.sent = sent
    return started


@pytest.fixture
async def page(server):
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        page.requested = []
        page.complaints = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and page.complaints.append(message.text),
        )
        await page.goto(str(server.make_url("/base/api/")))
        await page.wait_for_selector(".opblock")
        yield page
        await browser.close()


async def opened(page, path):
    operation = page.locator(f'.opblock:has([data-path="{path}"])')
    await operation.locator(".opblock-summary-control").first.click()
    await operation.locator("button.execute").wait_for()
    return operation


async def executed(server, operation):
    count = len(server.sent)
    await operation.locator("button.execute").click()
    async with asyncio.timeout(10):
        while len(server.sent) == count:
            await asyncio.sleep(0.05)
    return server.sent[-1]


async def test_a_person_uploads_an_image_and_only_what_was_filled_in_is_sent(
    server, page, tmp_path
):
    image = tmp_path / "digit.png"
    image.write_bytes(PNG)
    operation = await opened(page, "/predict/m/")
    await operation.locator("[data-property-name=image] input[type=file]").set_input_files(image)
    await operation.locator("[data-property-name=more] input[type=file]").set_input_files(image)
    parts = await executed(server, operation)
    assert sorted(parts) == [
        ("image", "digit.png"),
        ("mode", "x"),
        ("more", "digit.png"),
        ("names", "a"),
        ("names", "b"),
        ("options", json.dumps({"a": 1}, separators=(",", ":"))),
        ("top_k", "3"),
    ]
    assert page.complaints == []


async def test_a_training_is_started_with_its_defaults(server, page):
    operation = await opened(page, "/train/m/")
    assert await executed(server, operation) == {"epochs": 3, "rate": 0.5}


async def test_the_weights_are_a_choice_and_the_page_asks_for_nothing_outside(server, page):
    operation = await opened(page, "/predict/m/")
    here = str(server.make_url("/base/"))
    assert page.requested
    assert [url for url in page.requested if not url.startswith((here, "data:"))] == []
    options = await operation.locator('[data-param-name="weights"] option').all_inner_texts()
    assert options[1:] == ["latest", "0" * 32]
