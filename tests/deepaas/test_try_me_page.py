"""The platform's "try me" page with old modules: it reads /swagger.json and sends what is shown.

Written after what that page (ai4os/deepaas_ui) asks of the document and how it calls.
"""

import base64
import json

import pytest
import requests

TYPES = {"integer", "number", "boolean", "string", "array", "file"}


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(
        "old-demo", "old-keywords", "old-odd-fields", "old-tagged", "old-json-settings"
    )


class Page:
    """One model's form."""

    def __init__(self, server, model):
        self.server = server
        self.document = server.get("/swagger.json").json()
        self.path = f"/v2/models/{model}/predict/"
        post = self.document["paths"][self.path]["post"]
        self.parameters = post["parameters"]
        self.content_types = [kind for kind in post["produces"] if kind != "*/*"]

    def shown(self):
        """What the form holds before anybody touches it."""
        named = [one for one in self.parameters if one["name"] != "accept"]
        return {one["name"]: one.get("default") for one in named if one["type"] != "file"}

    def submit(self, content_type, files=None, **values):
        types = {one["name"]: one["type"] for one in self.parameters}
        params = {"accept": content_type}
        for name, value in {**self.shown(), **values}.items():
            if not value and not isinstance(value, bool):
                continue
            if types[name] == "array" and isinstance(value, str):
                value = json.loads(f"[{value}]")
            params[name] = value
        return requests.post(
            self.server.url + self.path,
            headers={"accept": content_type},
            params=params,
            files=files or {},
            timeout=60,
        )


@pytest.mark.parametrize(
    "model", ["old-demo", "old-keywords", "old-odd-fields", "old-tagged", "old-json-settings"]
)
def test_every_argument_has_an_input_and_accept_comes_last(server, model):
    page = Page(server, model)
    names = [one["name"] for one in page.parameters]
    assert {one["type"] for one in page.parameters} <= TYPES
    assert "accept" not in names[:-1]
    assert page.content_types[0] == "application/json"


def test_what_the_form_shows_can_be_sent_back_untouched(server):
    answer = Page(server, "old-keywords").submit("application/json")
    assert answer.status_code == 200, answer.text


def test_the_demonstration_module_is_shown_and_called(server):
    page = Page(server, "old-demo")
    by_name = {one["name"]: one for one in page.parameters}
    assert by_name["demo-str-choice"]["enum"] == ["choice1", "choice2"]
    assert (by_name["demo-int-range"]["minimum"], by_name["demo-int-range"]["maximum"]) == (1, 100)
    for kind in ("image", "audio", "video"):
        assert (by_name[f"demo-{kind}"]["type"], by_name[f"demo-{kind}"]["in"]) == (
            "file",
            "formData",
        )
        assert by_name[f"demo-{kind}"]["description"].startswith(kind)
    response = page.document["definitions"]["ModelPredictionResponse"]["properties"]
    assert response["demo-image"]["description"] == "image"
    assert {"labels", "probabilities"} <= response.keys()
    files = {f"demo-{kind}": (f"a.{kind}", b"x") for kind in ("image", "audio", "video")}
    answer = page.submit("application/json", files, **{"demo-bool": False, "demo-int": 7})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == response.keys()
    assert (answer.json()["demo-bool"], answer.json()["demo-int"]) == (False, 7)
    assert base64.b64decode(answer.json()["demo-image"]) == b"x"


def test_a_picture_comes_back(server, png):
    page = Page(server, "old-tagged")
    assert page.content_types == ["application/json", "image/*", "text/csv"]
    answer = page.submit("image/*", {"input": ("a.png", png, "image/png")})
    assert (answer.status_code, answer.content) == (200, png)


def test_its_way_to_the_metadata_leads_there(server):
    """It puts an address with a slash at its end before a path with one."""
    shown = requests.get(server.url + "///v2/models/old-demo/", timeout=10)
    assert (shown.status_code, shown.json()["name"]) == (200, "old-modules")
