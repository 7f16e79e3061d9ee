"""The OpenAPI document: valid, repeatable, and true of each model's own arguments."""

import json

import pytest
from marshmallow import fields, validate
from openapi_spec_validator import validate as check_document

from modelyard.api.routes import documented
from modelyard.schemas.checking import check_schema
from modelyard.schemas.description import ModelDescription
from modelyard.schemas.fields import File, Files, Tensor
from modelyard.schemas.introspect import describe_schema
from modelyard.schemas.model_operations import ServedModel
from modelyard.schemas.openapi import openapi_document
from modelyard.schemas.routes import ResponseDoc, RouteDoc, problems
from modelyard.schemas.states import Phase, Status
from modelyard.settings import Settings

ROUTES = documented(Settings())


def described(name="m", contract="native", content_types=None, **parts):
    return ModelDescription(
        name=name,
        contract=contract,
        content_types=content_types or ["application/json"],
        **{
            part: None if value is None else describe_schema(check_schema(value, part))
            for part, value in parts.items()
        },
    )


def model(name="m", weights=(), **parts):
    return ServedModel(name, described(name, **parts), weights)


def document_of(*models, **options):
    document = openapi_document(ROUTES, models, "1.2.3", **options)
    check_document(document)
    return document


def operation_of(*models, path="/v2/models/m/predict/", method="post"):
    document = document_of(*models)
    return document["paths"][path][method], document


def resolved(document, media):
    reference = media["schema"].get("$ref")
    return (
        document["components"]["schemas"][reference.split("/")[-1]]
        if reference
        else media["schema"]
    )


EVERYTHING = {
    "text": fields.String(required=True, validate=validate.Length(1)),
    "image": File(content_types=("image/*",), required=True),
    "more": Files(),
    "numbers": fields.List(fields.Float(), load_default=[]),
    "tensor": Tensor((3, None, None)),
    "options": fields.Dict(),
    "key": fields.String(load_only=True),
    "page": fields.Integer(metadata={"location": "query"}),
    "X-Trace": fields.String(metadata={"location": "headers"}),
    "accept": fields.String(metadata={"location": "headers"}),
}


def test_a_document_without_models_is_valid():
    paths = document_of()["paths"]
    assert "/v2/models/{model}/predict/" in paths
    assert list(paths) == list(dict.fromkeys(route.path for route in ROUTES))


def test_a_document_with_every_kind_of_argument_is_valid():
    document_of(model(predict_arguments=EVERYTHING, train_arguments=EVERYTHING))


def test_the_same_input_gives_the_same_bytes():
    models = [model("b", predict_arguments=EVERYTHING), model("a", train_arguments=EVERYTHING)]
    first = json.dumps(openapi_document(ROUTES, models, "1"))
    assert json.dumps(openapi_document(ROUTES, models[::-1], "1")) == first


def test_each_model_has_its_own_path_for_what_it_offers():
    paths = document_of(
        model("a", predict_arguments={}), model("b", predict_arguments={}, train_arguments={})
    )["paths"]
    assert "/v2/models/{model}/predict/" not in paths
    assert "/v2/models/a/train/" not in paths
    assert set(paths["/v2/models/b/train/"]) == {"get", "post"}
    names = paths["/v2/models/{model}/"]["parameters"][0]["schema"]["enum"]
    assert names == ["a", "b"]


def test_a_model_that_cannot_be_described_is_only_named():
    paths = document_of(ServedModel("broken"), model("m", predict_arguments={}))["paths"]
    assert "/v2/models/broken/predict/" not in paths
    assert "/v2/models/broken/train/" not in paths
    names = paths["/v2/models/{model}/"]["parameters"][0]["schema"]["enum"]
    assert names == ["broken", "m"]


def test_models_whose_names_differ_by_dots_and_dashes_do_not_collide():
    names = ["a-b", "a.b", "a_b", "a", "a.predict", "a.predict.response"]
    arguments = {"x": fields.Integer(required=True)}
    document = document_of(*[model(name, predict_arguments=arguments) for name in names])
    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(operations) == len(set(operations))
    assert all(word.isidentifier() for word in operations)
    bodies = [name for name in document["components"]["schemas"] if name.endswith("predict.json")]
    assert len(bodies) == len(names)


def test_files_go_by_multipart_and_the_rest_by_form_or_json_too():
    operation, document = operation_of(
        model(predict_arguments={"image": File(), "n": fields.Integer(), "options": fields.Dict()})
    )
    content = operation["requestBody"]["content"]
    assert list(content) == [
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "application/json",
        "application/octet-stream",
        "application/x-ndjson",
    ]
    multipart = resolved(document, content["multipart/form-data"])
    assert multipart["properties"]["image"]["format"] == "binary"
    assert multipart["additionalProperties"] is False
    form = resolved(document, content["application/x-www-form-urlencoded"])
    assert set(form["properties"]) == {"n", "options"}
    assert form["properties"]["options"]["type"] == "string"
    body = resolved(document, content["application/json"])
    assert body["properties"]["options"]["type"] == "object"


def test_a_required_file_rules_out_the_other_forms():
    fields_ = {"image": File(content_types="image/*", required=True), "n": fields.Integer()}
    operation, _ = operation_of(model(predict_arguments=fields_))
    assert list(operation["requestBody"]["content"]) == ["multipart/form-data", "image/*"]
    assert operation["requestBody"]["required"]
    two = {**fields_, "text": fields.String(required=True)}
    operation, _ = operation_of(model(predict_arguments=two))
    assert list(operation["requestBody"]["content"]) == ["multipart/form-data"]


def test_without_files_json_comes_first():
    operation, _ = operation_of(model(predict_arguments={"n": fields.Integer()}))
    assert next(iter(operation["requestBody"]["content"])) == "application/json"
    assert operation["requestBody"]["required"] is False


def test_a_json_body_has_an_example_that_can_be_sent():
    arguments = {
        "rate": fields.Float(required=True, validate=validate.Range(0, 1)),
        "epochs": fields.Integer(load_default=3),
        "note": fields.String(),
        "limit": fields.Integer(load_default=None),
        "key": fields.String(load_default="hunter2", load_only=True),
    }
    operation, _ = operation_of(model(predict_arguments=arguments))
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert example == {"rate": 0.5, "epochs": 3}


def test_lists_in_forms_repeat_their_name():
    operation, _ = operation_of(model(predict_arguments=EVERYTHING))
    encoding = operation["requestBody"]["content"]["multipart/form-data"]["encoding"]
    assert encoding == {"numbers": {"style": "form", "explode": True}}


def test_a_tag_without_operations_is_not_told():
    document = document_of(model(predict_arguments={}, train_arguments={}))
    names = [tag["name"] for tag in document["tags"]]
    assert names[0] == "m" and "predict" not in names and "weights" in names


def test_without_arguments_there_is_no_body():
    operation, _ = operation_of(model(predict_arguments={}))
    assert "requestBody" not in operation


def test_places_decide_between_parameters_and_bodies():
    operation, document = operation_of(model(predict_arguments=EVERYTHING))
    parameters = {(item["name"], item["in"]) for item in operation["parameters"]}
    assert {("page", "query"), ("X-Trace", "header")} <= parameters
    assert ("accept", "header") not in parameters  # readers of OpenAPI ignore it
    body = resolved(document, operation["requestBody"]["content"]["multipart/form-data"])
    assert not {"page", "X-Trace", "accept"} & set(body["properties"])


def test_weights_are_offered_newest_first_and_bounded():
    ids = [f"{number:032x}" for number in range(300)]
    operation, _ = operation_of(model(weights=ids, predict_arguments={"x": fields.Integer()}))
    found = {(item["name"], item["in"]): item for item in operation["parameters"]}
    assert found["weights", "query"]["schema"]["enum"] == ["latest", *ids[:100]]
    assert found["X-Modelyard-Weights", "header"]["schema"]["enum"] == ["latest", *ids[:100]]
    assert ("X-Request-Timeout", "header") in found


def test_a_plugins_own_weights_argument_wins():
    operation, document = operation_of(model(predict_arguments={"weights": fields.Integer()}))
    names = {(item["name"], item["in"]) for item in operation["parameters"]}
    assert ("X-Modelyard-Weights", "header") in names and ("weights", "query") not in names
    body = resolved(document, operation["requestBody"]["content"]["application/json"])
    assert body["properties"]["weights"]["type"] == "integer"


def test_another_contract_chooses_weights_by_its_own_arguments():
    operation, _ = operation_of(model(contract="deepaas", predict_arguments={}))
    assert "weights" not in {item["name"] for item in operation["parameters"]}


def test_a_prediction_without_a_response_schema_is_wrapped():
    operation, document = operation_of(model(predict_arguments={}))
    content = operation["responses"]["200"]["content"]
    assert set(resolved(document, content["application/json"])["properties"]) == {
        "status",
        "predictions",
    }


def test_a_response_schema_and_content_types_are_told():
    operation, document = operation_of(
        model(
            predict_arguments={},
            predict_response={"label": fields.String(required=True)},
            content_types=["application/json", "image/png"],
        )
    )
    content = operation["responses"]["200"]["content"]
    assert resolved(document, content["application/json"])["required"] == ["label"]
    assert content["image/png"]["schema"]["format"] == "binary"
    assert "X-Modelyard-Weights" in operation["responses"]["200"]["headers"]


def test_errors_are_told_in_their_own_content_types():
    operation, document = operation_of(model(predict_arguments={}))
    responses = operation["responses"]
    assert set(responses) >= {"400", "404", "406", "409", "413", "415", "422", "500", "503", "504"}
    assert set(responses["404"]["content"]) == {"application/problem+json"}
    assert set(responses["422"]["content"]) == {"application/json"}
    assert "Retry-After" in responses["503"]["headers"]
    assert "message" in document["components"]["schemas"]["Problem"]["properties"]


def test_states_are_told_with_their_sentences():
    run = document_of()["components"]["schemas"]["Run"]["properties"]
    assert run["status"]["enum"] == [word.value for word in Status]
    for word in Phase:
        assert word.value in run["phase"]["enum"] and word.sentence in run["phase"]["description"]
    assert None in run["reason"]["enum"] and "null" in run["reason"]["type"]


def test_a_path_parameter_matches_as_a_whole():
    parameters = document_of()["paths"]["/v2/models/{model}/train/{id}/log"]["parameters"]
    assert {item["name"]: item["schema"].get("pattern") for item in parameters} == {
        "model": "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$",
        "id": "^(?:[0-9a-f]{32})$",
    }


def test_an_answer_without_content_has_none():
    same = {304: ResponseDoc("Same.", None, ())}
    routes = [RouteDoc("GET", "/x", "x", "X", "x", permission=None, responses=same)]
    document = openapi_document(routes, [], "1")
    assert "content" not in document["paths"]["/x"]["get"]["responses"]["304"]


def test_a_base_path_is_the_server():
    assert document_of(base_path="/yard")["servers"] == [{"url": "/yard"}]


def test_no_secret_default_is_in_the_document():
    arguments = {"key": fields.String(load_default="hunter2", load_only=True)}
    document = document_of(model(predict_arguments=arguments, train_arguments=arguments))
    assert "hunter2" not in json.dumps(document)


@pytest.mark.parametrize(
    "status", [400, 403, 404, 406, 409, 413, 415, 421, 422, 500, 501, 503, 504, 507]
)
def test_every_error_status_has_its_words(status):
    assert problems(status)[status].description
