"""What a record of a training shows of its arguments."""

import json

import pytest
from marshmallow import fields

from modelyard.models_plugin.deepaas.arguments import OldArguments, describe, schema_of
from modelyard.schemas.transport import RequestData


class Settings(fields.String):
    """A field as authors write it for forms: takes a JSON text, hands over what it holds."""

    def _deserialize(self, value, attr, data, **kwargs):
        return json.loads(value)


@pytest.fixture(scope="module")
def arguments():
    schema = schema_of({"crop": Settings(load_default="{}"), "name": fields.String()})
    return OldArguments(schema, describe(schema))


@pytest.mark.parametrize("value", [{"p": 0.1, "by": [1, None]}, {}, 3, 0.5, True, [1, 2], "text"])
def test_a_text_field_that_reads_json_is_recorded_as_what_it_read(arguments, value):
    loaded = arguments.load(RequestData(query=[("crop", json.dumps(value)), ("name", "a")]))

    assert arguments.record(loaded) == {"crop": value, "name": "a"}


class Thing(fields.String):
    """A text field that hands over what no JSON can hold."""

    def _deserialize(self, value, attr, data, **kwargs):
        return {"thing": object()}


def test_what_a_text_field_reads_and_json_cannot_hold_is_recorded_by_its_type():
    schema = schema_of({"thing": Thing()})
    arguments = OldArguments(schema, describe(schema))
    loaded = arguments.load(RequestData(query=[("thing", "a")]))
    assert arguments.record(loaded) == {"thing": "<dict>"}
