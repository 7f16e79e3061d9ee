"""`/swagger.json` on a real server: valid, as complete as `/openapi.json`, readable as before."""

from pathlib import PurePosixPath

import pytest
import requests
from openapi_spec_validator import OpenAPIV2SpecValidator

INPUTS = {"integer", "number", "boolean", "string", "array", "file"}
"""The types for which the platform's "try me" page has an input; it stops at any other."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,files,counter,bare")
    for model in ("kinds", "files", "counter", "bare"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def document(server):
    return server.get("/swagger.json").json()


class Page:
    """Reads the document and calls a model as the "try me" page does.

    It takes a path that ends in `predict/`, makes an input of each parameter but `accept`, an
    output for each content type, and sends all but files in the query.
    """

    def __init__(self, server, path):
        specs = server.get("/swagger.json").json()
        self.server = server
        self.path = path or next(name for name in specs["paths"] if name.endswith("predict/"))
        operation = specs["paths"][self.path]["post"]
        self.parameters = {item["name"]: item for item in operation["parameters"]}
        self.content_types = operation["produces"]
        self.response = specs["definitions"].get("ModelPredictionResponse")

    def inputs(self):
        return {
            name: item.get("default") for name, item in self.parameters.items() if name != "accept"
        }

    def metadata(self):
        return self.server.get(f"{PurePosixPath(self.path).parent}/").json()

    def submit(self, content_type, **given):
        query, files = {"accept": content_type}, {}
        for name, value in given.items():
            if self.parameters[name]["type"] == "file":
                files[name] = value
            else:
                query[name] = value
        headers = {"accept": content_type}
        return self.server.post(self.path, params=query, files=files, headers=headers)


# -- the document -----------------------------------------------------------------------------


def test_the_document_is_valid_swagger_2_0(document):
    assert document["swagger"] == "2.0"
    OpenAPIV2SpecValidator(document).validate()


def test_it_has_the_paths_methods_and_statuses_of_the_openapi_document(server, document):
    assert _answers(document) == _answers(server.get("/openapi.json").json())


def _answers(document):
    return {
        (path, method, status)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
        for status in operation["responses"]
    }


def test_both_documents_name_both(server):
    for address in ("/openapi.json", "/swagger.json"):
        paths = server.get(address).json()["paths"]
        assert {"/openapi.json", "/swagger.json"} <= set(paths)


def test_an_unchanged_document_is_not_sent_again(server):
    first = server.get("/swagger.json")
    again = server.get("/swagger.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert server.get("/swagger.json").content == first.content
    assert first.headers["ETag"] != server.get("/openapi.json").headers["ETag"]


def test_head_answers_like_get_without_the_body(server):
    answer = requests.head(server.url + "/swagger.json", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == server.get("/swagger.json").headers["ETag"]


def test_new_weights_are_offered(server):
    record = server.train("counter", steps=1)
    version = server.wait_run(record)["weights"]
    paths = server.get("/swagger.json").json()["paths"]
    parameters = paths["/v2/models/counter/predict/"]["post"]["parameters"]
    weights = next(item for item in parameters if item["name"] == "weights")
    assert version in weights["enum"]


def test_a_base_path_stands_before_the_paths(start_server):
    server = start_server("--model-name", "bare", "--base-path", "/yard")
    server.url = server.url.removesuffix("/yard")
    document = server.get("/yard/swagger.json").json()
    assert document["basePath"] == "/yard"
    assert all(server.get("/yard" + path).ok for path in ("/v2/", "/v2/models/"))
    assert {"/v2/", "/v2/models/"} <= set(document["paths"])


# -- the platform's page ----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["kinds", "files", "counter", "bare"])
def test_the_try_me_page_finds_an_input_for_every_argument(server, model):
    page = Page(server, f"/v2/models/{model}/predict/")
    assert {page.parameters[name]["type"] for name in page.inputs()} <= INPUTS
    assert page.metadata()["name"]
    assert page.content_types and "*/*" not in page.content_types


def test_the_try_me_page_shows_ranges_choices_defaults_and_passwords(server):
    page = Page(server, "/v2/models/kinds/predict/")
    whole = page.parameters["whole"]
    assert (whole["minimum"], whole["maximum"], whole["default"]) == (0, 10, 1)
    assert page.parameters["choice"]["enum"] == ["one", "two"]
    assert page.parameters["password"]["format"] == "password"


def test_the_try_me_page_sends_a_file_and_gets_a_picture(server):
    page = Page(server, "/v2/models/files/predict/")
    assert page.content_types[:2] == ["application/json", "image/png"]
    picture = page.submit("image/png", upload=("a.txt", b"hello", "text/plain"), size=3)
    assert picture.headers["Content-Type"] == "image/png" and picture.content[1:4] == b"PNG"
    answer = page.submit("application/json", upload=("a.txt", b"hello", "text/plain"))
    assert answer.json()["predictions"]["bytes"] == 5


def test_the_try_me_page_takes_the_first_model_and_its_answer(server):
    page = Page(server, None)
    assert page.path == "/v2/models/bare/predict/"
    assert page.response is None  # no response schema: it shows `predictions`
    assert page.submit("application/json").json()["predictions"] == "here"
