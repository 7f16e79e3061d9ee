"""The OpenAPI document: valid, complete in both directions, and true under fuzzing."""

import re
import subprocess
import sys

import pytest
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


# The phase `coverage` sends every boundary of every parameter: most of the time, hence slow.
PHASES = [
    ("examples,fuzzing", "5"),
    pytest.param("examples,coverage,fuzzing", "12", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("phases", "examples"), PHASES)
def test_nothing_that_schemathesis_sends_makes_a_server_error(
    start_server, tmp_path, phases, examples
):
    """Generated requests over every route of harmless models; 5xx and undocumented answers fail."""
    server = start_server("--model-name", "kinds,files,counter,bare")
    for model in ("kinds", "files", "counter", "bare"):
        server.wait_ready(model)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--exclude-path-regex", "tensorboard|/events|healthz/never|hostile|hangs"),
            *("--max-examples", examples, "--phases", phases),
            *("--generation-deterministic", "--request-timeout", "30", "--no-color"),
            *("--suppress-health-check", "all"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
