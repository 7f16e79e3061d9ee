"""Defects of DEEPaaS's documents, each mended here: what Swagger says is what happens."""

import pytest
import requests


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-trainer", "old-keywords")


@pytest.fixture(scope="module")
def swagger(server):
    return server.get("/swagger.json").json()


def followed(swagger, schema):
    while "$ref" in schema:
        schema = swagger["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def operation(swagger, method, path):
    return swagger["paths"][path][method]


def answer_schema(swagger, method, path):
    responses = operation(swagger, method, path)["responses"]
    return followed(swagger, responses["200"]["schema"])


def test_the_list_of_trainings_is_described_as_the_array_that_it_is(server, swagger):
    """KD-01: DEEPaaS describes an object with `trainings`."""
    listed = answer_schema(swagger, "get", "/v2/models/old-trainer/train/")
    assert listed["type"] == "array"
    assert isinstance(server.get("/v2/models/old-trainer/train/").json(), list)


def test_the_word_for_a_finished_training_is_described(server, swagger):
    """KD-02: DEEPaaS describes `completed` and answers `done`."""
    listed = answer_schema(swagger, "get", "/v2/models/old-trainer/train/")
    words = followed(swagger, listed["items"])["properties"]["status"]["enum"]
    assert sorted(words) == ["cancelled", "done", "error", "running"]
    assert server.wait_run(server.train("old-trainer"))["status"] in words


@pytest.mark.parametrize(
    "path", ["/", "/v2/", "/v2/models/", "/v2/models/old-trainer/", "/swagger.json", "/api"]
)
def test_every_document_answers_to_head(server, path):
    """KD-22: DEEPaaS answers 405."""
    answer = requests.head(server.url + path, timeout=10, allow_redirects=True)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_list_of_models_is_described_as_it_is(server, swagger):
    """KD-31: DEEPaaS describes one model's metadata."""
    described = answer_schema(swagger, "get", "/v2/models/")
    assert followed(swagger, described["properties"]["models"])["type"] == "array"
    assert isinstance(server.get("/v2/models/").json()["models"], list)


@pytest.mark.parametrize("status", ["402", "404", "422", "500", "501"])
def test_every_refusal_is_described(swagger, status):
    """KD-32: DEEPaaS describes none, and no answer of POST train at all."""
    for endpoint in ("predict", "train"):
        responses = operation(swagger, "post", f"/v2/models/old-trainer/{endpoint}/")["responses"]
        assert status in responses
        assert followed(swagger, responses[status]["schema"])


def test_every_parameter_has_a_type_that_swagger_2_knows(swagger):
    """KD-33: DEEPaaS gives dicts and nested arguments none, or `object`."""
    known = {"string", "number", "integer", "boolean", "array", "file"}
    for path, methods in swagger["paths"].items():
        for parameter in (*methods.pop("parameters", []), *_parameters(methods)):
            if parameter["in"] != "body":
                assert parameter["type"] in known, (path, parameter["name"])


def _parameters(methods):
    return [item for described in methods.values() for item in described.get("parameters", [])]
