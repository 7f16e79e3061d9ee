"""The OpenAPI document: valid, and complete in both directions.

That it is true under fuzzing: tests/failures/test_generated_requests.py.
"""

import re

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from modelyard import errors
from modelyard.api.errors import STATUS
from modelyard.api.routes import ROUTES


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--no-warm-start")
    for model in ("kinds", "files", "counter", "bare", "broken-import"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented_and_every_documented_path_is_served(server, document):
    declared = set()
    for route in ROUTES:
        if route.doc is not None:
            declared.add((route.doc.method.lower(), route.doc.path))
            matching = [
                path
                for path in document["paths"]
                if path == route.doc.path or re.fullmatch(_as_pattern(route.doc.path), path)
            ]
            assert any(route.doc.method.lower() in document["paths"][p] for p in matching), (
                route.doc.path
            )
    for path, operations in document["paths"].items():
        for method in operations:
            if method in ("get", "post", "delete", "put", "patch"):
                assert any(
                    declared_method == method
                    and (declared_path == path or re.fullmatch(_as_pattern(declared_path), path))
                    for declared_method, declared_path in declared
                ), (method, path)


def _as_pattern(path):
    return "".join(
        "[^/]+" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", path)
    )


def test_every_status_of_the_error_family_is_documented_for_predict_and_train(document):
    predict = document["paths"]["/v2/models/kinds/predict/"]["post"]["responses"]
    train = document["paths"]["/v2/models/counter/train/"]["post"]["responses"]
    not_of_calls = {errors.CannotStart, errors.NotSignedIn}  # the second: see test_access.py
    expected = {str(code) for cls, code in STATUS.items() if cls not in not_of_calls}
    assert expected <= set(predict) | set(train)


def test_arguments_are_described_with_their_ranges_choices_and_defaults(document):
    body = document["paths"]["/v2/models/kinds/predict/"]["post"]["requestBody"]["content"]
    schema = body["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    whole = schema["properties"]["whole"]
    assert (whole["minimum"], whole["maximum"], whole["default"]) == (0, 10, 1)
    assert schema["properties"]["choice"]["enum"] == ["one", "two"]
    assert schema["properties"]["password"]["format"] == "password"


def test_a_model_that_did_not_load_does_not_break_the_document(document):
    assert "/v2/models/bare/predict/" in document["paths"]


def test_a_word_of_an_address_is_no_value_of_the_parameter_in_its_place(server):
    for path in ("/v2/datasets/uploads/", "/v2/datasets/uploads"):
        for method in ("GET", "DELETE", "OPTIONS"):
            answer = requests.request(method, server.url + path, timeout=60)
            assert answer.status_code == 405, (method, path, answer.text)
            assert answer.headers["Allow"] == "POST"
    answer = server.delete("/v2/models/counter/weights/aliases")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET,HEAD"
    assert server.get("/v2/datasets/uploads2").status_code == 404
    assert server.get("/v2/models/counter/weights/aliases2/").status_code == 404


def test_whole_numbers_are_taken_as_json_schema_has_them(server):
    begun = {"filename": "a.zip", "size": 3.0}
    answer = server.post("/v2/datasets/uploads/", json=begun)
    assert answer.status_code == 201 and answer.json()["size"] == 3
    for wrong in (3.5, "3", True, None):
        answer = server.post("/v2/datasets/uploads/", json={**begun, "size": wrong})
        assert answer.status_code in (400, 422), (wrong, answer.text)


def test_an_upload_without_a_body_is_told_so(server):
    head = {"Content-Type": "application/zip"}
    answer = server.post("/v2/datasets/?name=a", headers=head)
    assert answer.status_code == 400 and "There is no body" in answer.json()["detail"]


def test_a_nested_argument_that_takes_no_other_members_says_so(server, document):
    schema = document["components"]["schemas"]["kinds.predict.json"]
    assert schema["properties"]["box"]["additionalProperties"] is False
    answer = server.predict("kinds", json={"box": {"left": 1, "other": 2}})
    assert answer.status_code == 422


def test_a_key_of_a_repeat_is_ascii(server):
    for key in ("\u00e9t\u00e9", "a" * 256):
        head = {"Idempotency-Key": key.encode()}
        answer = server.post("/v2/models/kinds/train/", headers=head)
        assert answer.status_code == 422, key
        assert "ASCII" in answer.json()["Idempotency-Key"][0]
