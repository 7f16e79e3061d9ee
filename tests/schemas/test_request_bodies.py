"""JSON bodies and uploads of our own routes stand in both documents."""

import pytest
from marshmallow import Schema, fields
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from modelyard.schemas.openapi import openapi_document
from modelyard.schemas.routes import ResponseDoc, RouteDoc
from modelyard.schemas.swagger2 import swagger_document

FORM = "multipart/form-data"
ARCHIVES = ("application/zip", "application/x-xz")


class MoveSchema(Schema):
    version = fields.String(required=True, metadata={"description": "Where it points to."})


class NoteSchema(Schema):
    notes = fields.String(allow_none=True)


def operations(**declared):
    """The operation of one route in OpenAPI and in Swagger, each document checked."""
    route = RouteDoc(
        "POST", "/v2/things/", "things", "Things", "things", "Told.", permission=None,
        responses={200: ResponseDoc("Done.")}, **declared,
    )  # fmt: skip
    openapi = openapi_document([route], [], "1.0")
    OpenAPIV31SpecValidator(openapi).validate()
    swagger = swagger_document([route], [], "1.0")
    OpenAPIV2SpecValidator(swagger).validate()
    return tuple(document["paths"]["/v2/things/"]["post"] for document in (openapi, swagger))


def test_a_json_body_stands_in_both_documents_with_its_schema():
    openapi, swagger = operations(body=MoveSchema)
    assert openapi["requestBody"]["required"] is True
    assert openapi["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Move")
    (parameter,) = swagger["parameters"]
    assert parameter["in"] == "body" and parameter["required"] is True
    assert parameter["schema"]["$ref"] == "#/definitions/Move"
    assert swagger["consumes"] == ["application/json"]


def test_a_body_without_required_members_may_be_left_out():
    openapi, swagger = operations(body=NoteSchema)
    assert openapi["requestBody"]["required"] is False
    assert swagger["parameters"][0]["required"] is False


def test_an_upload_is_bytes_and_a_form_holds_it_as_its_field_file():
    openapi, swagger = operations(uploads=(FORM, *ARCHIVES))
    content = openapi["requestBody"]["content"]
    assert content["application/zip"]["schema"]["format"] == "binary"
    assert list(content[FORM]["schema"]["properties"]) == ["file"]
    assert swagger["consumes"] == [FORM]
    assert swagger["parameters"][0]["type"] == "file"
    assert "`application/zip`" in swagger["description"]


@pytest.mark.parametrize("uploads", [ARCHIVES, (FORM,)])
def test_a_route_may_take_json_or_an_upload(uploads):
    openapi, swagger = operations(body=MoveSchema, uploads=uploads)
    assert set(openapi["requestBody"]["content"]) == {"application/json", *uploads}
    assert len(swagger["parameters"]) == 1 and "Also taken" in swagger["description"]
