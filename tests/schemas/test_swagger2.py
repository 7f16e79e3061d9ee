"""The Swagger 2.0 document: valid, repeatable, and what DEEPaaS's clients read in theirs."""

import json

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from modelyard.api.routes import documented
from modelyard.schemas.description import FieldDescription, ModelDescription
from modelyard.schemas.model_operations import ServedModel
from modelyard.schemas.openapi import openapi_document
from modelyard.schemas.states import Status
from modelyard.schemas.swagger2 import swagger_document
from modelyard.schemas.swagger2_schema import swagger_schema
from modelyard.settings import Settings

ROUTES = documented(Settings())
PREDICT = "/v2/models/m/predict/"


def argument(name, default=..., **more):
    if default is not ...:
        more.update(has_default=True, default=default)
    return FieldDescription(name, **more)


def of(kind, **more):
    return FieldDescription("", kind=kind, **more)


def model(name="m", contract="deepaas", weights=(), **parts):
    return ServedModel(name, ModelDescription(name, contract=contract, **parts), weights)


def document_of(*models, **options):
    document = swagger_document(ROUTES, models, "1.2.3", **options)
    OpenAPIV2SpecValidator(document).validate()
    return document


def operation_of(*arguments, which="predict", **more):
    document = document_of(model(**{f"{which}_arguments": list(arguments)}, **more))
    return document["paths"][f"/v2/models/m/{which}/"]["post"]


def parameter_of(one, **more):
    return operation_of(one, **more)["parameters"][0]


EVERYTHING = [
    argument("image", kind="file", place="files", required=True, description="An image."),
    argument("more", kind="list", items=of("file"), place="files"),
    argument("count", 5, kind="integer", minimum=1, maximum=10),
    argument("rate", 0.5, kind="number", minimum=0, exclusive_minimum=True),
    argument("flag", False, kind="boolean"),
    argument("choice", "a", kind="string", choices=["a", "b", None], nullable=True),
    argument("mixed", kind="any", choices=[1, "x", None]),
    argument("key", kind="string", secret=True),
    argument("numbers", [1.0], kind="list", items=of("number")),
    argument("words", kind="list", items=of("any", choices=["a", 1])),
    argument("options", {"a": 1}, kind="dict"),
    argument("nested", kind="object", fields=[argument("x", kind="integer")]),
    argument("pair", kind="list", fields=[of("integer"), of("string")]),
    argument("array", kind="tensor", shape=[3, -1], dtype="float32"),
    argument("anything", {"a": [1]}, kind="any", nullable=True),
    argument("moment", kind="datetime"),
    argument("span", 3, kind="duration"),
    argument("ip", kind="ip"),
    argument("header", kind="string", place="headers"),
    argument("headers", kind="list", items=of("string"), place="headers"),
    argument("text", kind="string", place="form"),
    argument("inner", kind="integer", place="json"),
    argument("accept", "*/*", kind="string", place="headers", choices=["image/*", "*/*"]),
]
ANSWER = [
    argument("labels", kind="list", items=of("string"), required=True),
    argument("pair", kind="list", fields=[of("integer"), of("string")]),
    argument("array", kind="tensor", shape=[2], dtype="float32", nullable=True),
    argument("count", kind="integer", nullable=True, minimum=0, exclusive_minimum=True),
    argument("more", kind="object", nullable=True, fields=[argument("url", kind="url")]),
    argument("anything"),
]


# -- the whole document -----------------------------------------------------------------------


@pytest.mark.parametrize("contract", ["deepaas", "native"])
def test_a_document_with_every_kind_of_argument_and_answer_is_valid(contract):
    document_of(
        model(
            contract=contract,
            predict_arguments=EVERYTHING,
            train_arguments=EVERYTHING,
            predict_response=ANSWER,
        )
    )


def test_a_document_without_models_is_valid():
    assert PREDICT.replace("/m/", "/{model}/") in document_of()["paths"]


def test_the_same_input_gives_the_same_bytes():
    models = [
        model("b", predict_arguments=EVERYTHING, predict_response=ANSWER),
        model("a", train_arguments=EVERYTHING),
    ]
    first = json.dumps(swagger_document(ROUTES, models, "1"))
    assert json.dumps(swagger_document(ROUTES, models[::-1], "1")) == first


def test_paths_and_statuses_are_those_of_the_openapi_document():
    models = [model("b", predict_arguments=EVERYTHING), model("a", train_arguments=[])]
    assert _answers(document_of(*models)) == _answers(openapi_document(ROUTES, models, "1"))


def _answers(document):
    return {
        (path, method, status)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
        for status in operation["responses"]
    }


def test_a_base_path_is_told():
    assert document_of(base_path="/yard")["basePath"] == "/yard"
    assert document_of()["basePath"] == "/"


def test_a_model_that_is_not_described_yet_has_no_operations():
    paths = document_of(ServedModel("m"), model("n", predict_arguments=[]))["paths"]
    assert PREDICT not in paths and "/v2/models/n/predict/" in paths


# -- arguments --------------------------------------------------------------------------------


def test_a_number_has_its_bounds_and_default():
    found = parameter_of(argument("count", 5, kind="integer", minimum=1, maximum=10))
    assert found == {
        "name": "count",
        "in": "query",
        "required": False,
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": 5,
    }


def test_an_exclusive_bound_is_a_flag():
    found = parameter_of(argument("rate", kind="number", minimum=0, exclusive_minimum=True))
    assert (found["minimum"], found["exclusiveMinimum"]) == (0, True)


def test_choices_are_an_enum_in_the_parameters_own_type():
    found = parameter_of(argument("x", kind="any", choices=[1, "a", None], nullable=True))
    assert (found["type"], found["enum"], found["x-nullable"]) == ("string", ["1", "a"], True)


def test_a_password_is_told_without_its_default():
    found = parameter_of(argument("key", "hunter2", kind="string", secret=True))
    assert found["format"] == "password" and "hunter2" not in json.dumps(found)


def test_a_list_repeats_its_name():
    found = parameter_of(argument("x", [1.0], kind="list", items=of("number")))
    assert (found["type"], found["items"]) == ("array", {"type": "number"})
    assert (found["collectionFormat"], found["default"]) == ("multi", [1.0])


@pytest.mark.parametrize(
    "one",
    [
        argument("x", {"a": 1}, kind="dict"),
        argument("x", {"a": 1}, kind="object", fields=[argument("a", kind="integer")]),
        argument("x", {"a": 1}, kind="any"),
    ],
    ids=lambda one: one.kind,
)
def test_what_has_structure_is_json_text(one):
    found = parameter_of(one)
    assert (found["in"], found["type"], found["default"]) == ("query", "string", '{"a": 1}')
    assert "JSON text" in found["description"]


def test_a_default_that_is_no_choice_is_told_in_words():
    one = argument("x", "", kind="string", choices=["a", "b"], description="Which.")
    found = parameter_of(one)
    assert "default" not in found and found["description"] == 'Which. Default: "".'
    models = [model(predict_arguments=[one])]
    OpenAPIV31SpecValidator(openapi_document(ROUTES, models, "1")).validate()


@pytest.mark.parametrize(
    "one",
    [
        argument("x", 5, kind="integer", maximum=3),
        argument("x", "five", kind="integer"),
        argument("x", [1, 5], kind="list", items=of("integer", maximum=3)),
        argument("x", "", kind="url"),
        argument("x", "2026-01-01 00:00", kind="datetime"),
        argument("x", "none", kind="email"),
        argument("x", "a", kind="string", pattern="^b"),
    ],
)
def test_no_default_of_an_author_makes_the_documents_invalid(one):
    assert "Default: " in parameter_of(one)["description"]
    models = [model(predict_arguments=[one])]
    OpenAPIV31SpecValidator(openapi_document(ROUTES, models, "1")).validate()


def test_files_are_fields_of_a_multipart_form():
    operation = operation_of(
        argument("image", kind="file", place="files", required=True, description="An image."),
        argument("more", kind="list", items=of("file"), place="files"),
    )
    image, more = operation["parameters"]
    assert (image["in"], image["type"], image["required"]) == ("formData", "file", True)
    assert image["description"].startswith("An image.")
    assert more["type"] == "file" and "repeated" in more["description"]
    assert operation["consumes"] == ["multipart/form-data"]


def test_places_are_told_as_the_author_wrote_them():
    operation = operation_of(
        argument("q", kind="string"),
        argument("h", kind="string", place="headers"),
        argument("f", kind="string", place="form"),
    )
    assert [item["in"] for item in operation["parameters"]] == ["query", "header", "formData"]
    assert "multipart/form-data" in operation["consumes"]


def test_a_json_argument_is_a_member_of_the_body():
    document = document_of(
        model(predict_arguments=[argument("x", kind="dict", place="json", required=True)])
    )
    operation = document["paths"][PREDICT]["post"]
    (body,) = operation["parameters"]
    assert (body["in"], body["required"], operation["consumes"]) == (
        "body",
        True,
        ["application/json"],
    )
    schema = document["definitions"][body["schema"]["$ref"].rsplit("/", 1)[1]]
    assert schema["properties"]["x"]["type"] == "object"


def test_a_form_and_a_body_never_stand_in_one_operation():
    operation = operation_of(*EVERYTHING)
    places = {item["in"] for item in operation["parameters"]}
    assert "formData" in places and "body" not in places
    assert "`inner`" in operation["description"]


def test_accept_comes_last_and_never_offers_everything():
    accept = argument(
        "accept", "application/json", kind="string", choices=["application/json", "image/*", "*/*"]
    )
    operation = operation_of(
        accept,
        argument("x", kind="integer"),
        content_types=["application/json", "image/*", "*/*"],
    )
    last = operation["parameters"][-1]
    assert (last["name"], last["enum"]) == ("accept", ["application/json", "image/*"])
    assert operation["produces"] == ["application/json", "image/*"]


def test_the_servers_own_parameters_are_those_that_a_query_can_carry():
    operation = operation_of(argument("x", kind="integer"), contract="native", weights=["f" * 32])
    found = {(item["name"], item["in"]): item for item in operation["parameters"]}
    assert set(found) == {("x", "query"), ("weights", "query")}
    assert found["weights", "query"]["enum"] == ["latest", "f" * 32]
    own = operation_of(argument("weights", kind="integer"), contract="native")
    assert [item["type"] for item in own["parameters"]] == ["integer"]


def test_a_plugins_header_of_the_servers_name_stands_once():
    operation = operation_of(
        argument("idempotency-key", kind="integer", place="headers"), which="train"
    )
    named = [item for item in operation["parameters"] if item["name"].lower() == "idempotency-key"]
    assert [item["type"] for item in named] == ["integer"]


# -- answers ----------------------------------------------------------------------------------


def test_the_answer_of_the_only_model_has_deepaas_name():
    document = document_of(model(predict_arguments=[], predict_response=ANSWER))
    answer = document["paths"][PREDICT]["post"]["responses"]["200"]["schema"]
    assert answer == {"$ref": "#/definitions/ModelPredictionResponse"}
    found = document["definitions"]["ModelPredictionResponse"]
    assert found["required"] == ["labels"]
    assert found["properties"]["labels"] == {"type": "array", "items": {"type": "string"}}
    assert found["properties"]["count"]["x-nullable"] is True
    types = {name: part.get("type") for name, part in found["properties"].items()}
    assert types["more"] == "object" and types["array"] is types["anything"] is None


def test_of_several_models_the_first_has_the_plain_name():
    parts = {"predict_arguments": [], "predict_response": ANSWER}
    document = document_of(model("b", **parts), model("a", **parts), model("a.b", **parts))
    schemas = {
        name: document["paths"][f"/v2/models/{name}/predict/"]["post"]["responses"]["200"]["schema"]
        for name in ("a", "a.b", "b")
    }
    assert schemas == {
        "a": {"$ref": "#/definitions/ModelPredictionResponse"},
        "a.b": {"$ref": "#/definitions/ModelPredictionResponse.a.b"},
        "b": {"$ref": "#/definitions/ModelPredictionResponse.b"},
    }


def test_no_other_model_takes_the_plain_name_of_a_first_one_without_response_schema():
    document = document_of(
        model("a", predict_arguments=[]),
        model("b", predict_arguments=[], predict_response=ANSWER),
    )
    assert "ModelPredictionResponse" not in document["definitions"]
    first = document["paths"]["/v2/models/a/predict/"]["post"]["responses"]["200"]["schema"]
    assert first == {"$ref": "#/definitions/Prediction"}
    assert set(document["definitions"]["Prediction"]["properties"]) == {"status", "predictions"}


def test_an_answer_that_is_never_json_is_bytes():
    operation = operation_of(content_types=["image/png", "*/*"])
    assert operation["responses"]["200"]["schema"] == {"type": "string", "format": "binary"}
    assert operation["produces"] == ["image/png"]


def test_the_list_of_trainings_is_a_bare_array_of_records():
    operations = document_of(model(train_arguments=[]))["paths"]["/v2/models/m/train/"]
    listed = operations["get"]["responses"]["200"]["schema"]
    assert listed == {"type": "array", "items": {"$ref": "#/definitions/Run"}}
    assert operations["post"]["responses"]["200"]["schema"] == {"$ref": "#/definitions/Run"}


def test_a_training_has_the_status_words_that_it_answers_and_an_id_of_hex_digits():
    run = document_of()["definitions"]["Run"]["properties"]
    assert run["status"]["enum"] == [word.value for word in Status]
    assert "done" in run["status"]["enum"] and "completed" not in run["status"]["enum"]
    assert "format" not in run["uuid"] and run["uuid"]["pattern"] == "^[0-9a-f]{32}$"
    assert "format" not in run["date"]


def test_the_list_of_models_is_told_as_it_is():
    listed = document_of()["paths"]["/v2/models/"]["get"]["responses"]["200"]["schema"]
    assert listed == {"$ref": "#/definitions/Models"}


def test_every_error_is_told_with_its_message():
    document = document_of(model(predict_arguments=[], train_arguments=[]))
    for which in ("predict", "train"):
        answers = document["paths"][f"/v2/models/m/{which}/"]["post"]["responses"]
        assert {"404", "422", "500", "501"} <= set(answers)
        assert answers["404"]["schema"] == {"$ref": "#/definitions/Problem"}
    assert "message" in document["definitions"]["Problem"]["properties"]


# -- schemas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "x-nullable": True}),
        ({"type": ["number", "array"]}, {}),
        ({"const": "OK", "type": "string"}, {"type": "string", "enum": ["OK"]}),
        ({"anyOf": [{"minimum": 1}, {"type": "null"}]}, {"minimum": 1, "x-nullable": True}),
        ({"oneOf": [{"type": "array"}, {"type": "object"}]}, {}),
        ({"exclusiveMaximum": 2, "maximum": 5}, {"maximum": 2, "exclusiveMaximum": True}),
        ({"exclusiveMinimum": 2, "minimum": 5}, {"minimum": 5}),
        ({"type": "array", "prefixItems": [{}, {"minimum": 1}]}, {"type": "array", "items": {}}),
        ({"type": "string", "contentEncoding": "base64"}, {"type": "string", "format": "byte"}),
        ({"examples": [1, 2]}, {"example": 1}),
        ({"$ref": "#/a", "description": "b"}, {"allOf": [{"$ref": "#/a"}], "description": "b"}),
        ({"enum": ["a", None], "default": None}, {"enum": ["a"]}),
        ({"additionalProperties": True, "if": {}}, {"additionalProperties": True}),
    ],
    ids=str,
)  # fmt: skip
def test_words_that_2_0_lacks_are_written_in_its_own(given, expected):
    assert swagger_schema(given) == expected
