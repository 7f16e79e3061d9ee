"""Field descriptions as JSON Schema: what a validator then accepts, and what viewers show."""

import base64

import marshmallow
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from marshmallow import fields, validate
from webargs.fields import DelimitedList

from modelyard.schemas.checking import check_schema
from modelyard.schemas.fields import File, Files, Tensor
from modelyard.schemas.introspect import describe_schema
from modelyard.schemas.jsonschema import field_schema, form_schema, object_schema, sample


def description_of(field):
    (description,) = describe_schema(check_schema({"x": field}, "predict_arguments"))
    return description


def schema_of(field):
    schema = field_schema(description_of(field))
    Draft202012Validator.check_schema(schema)
    return schema


def form_of(field):
    schema = form_schema(description_of(field))
    Draft202012Validator.check_schema(schema)
    return schema


def takes(schema, value):
    return Draft202012Validator(schema).is_valid(value)


def is_loaded(field, value):
    try:
        marshmallow.Schema.from_dict({"x": field})().load({"x": value})
    except marshmallow.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (fields.String(validate=validate.Length(2, 3)), ["ab", "abc"], ["a", "abcd", None]),
        (fields.Integer(strict=True), [1], [1.5, "x", None]),
        (fields.Float(allow_none=True), [1.5, 1, None], ["x"]),
        (
            fields.Float(validate=validate.Range(0, 1, min_inclusive=False)),
            [0.5, 1],
            [0, 1.01],
        ),
        (
            fields.Integer(validate=validate.Range(0, 9, max_inclusive=False)),
            [0, 8],
            [9, -1],
        ),
        (fields.Boolean(), [True, False], ["maybe", None]),
        (fields.String(validate=validate.OneOf("ab")), ["a"], ["c", None]),
        (fields.String(allow_none=True, validate=validate.OneOf("ab")), ["a", None], ["c"]),
        (fields.List(fields.Integer(), validate=validate.Length(max=2)), [[1, 2]], [[1, 2, 3], 1]),
        (fields.List(fields.Integer(allow_none=True)), [[None, 1]], [["a"]]),
        (fields.List(fields.String(), validate=validate.ContainsOnly("ab")), [["a"]], [["c"]]),
        (fields.Tuple((fields.Integer(), fields.Raw())), [[1, "a"]], [[1], ["a", "b"]]),
        (fields.Dict(values=fields.Integer()), [{}, {"a": 1}], [{"a": "x"}, []]),
        (fields.Nested({"a": fields.Integer(required=True)}), [{"a": 1}], [{}, {"a": "x"}]),
        (fields.Nested({"a": fields.Integer()}, many=True), [[], [{"a": 1}]], [{"a": 1}]),
        (fields.String(validate=validate.Regexp("[a-z]+$")), ["abc"], ["1abc", "abc1"]),
        (fields.Constant("v"), ["v"], []),
        (fields.Raw(), [1, "a", [], {}], []),
        (fields.TimeDelta(), [1, 1.5], ["x"]),
    ],
)  # fmt: skip
def test_the_schema_takes_what_the_field_takes(field, good, bad):
    schema = schema_of(field)
    for value in good:
        assert takes(schema, value) and is_loaded(field, value), value
    for value in bad:
        assert not takes(schema, value) and not is_loaded(field, value), value


def test_a_tensor_is_nested_lists_or_base64():
    field = Tensor((2, None), minimum=0)
    schema = schema_of(field)
    array = np.zeros((2, 3), "float32")
    packed = {"shape": [2, 3], "dtype": "float32", "data": base64.b64encode(array).decode()}
    for value in ([[1, 2], [3, 4]], packed):
        assert takes(schema, value) and is_loaded(field, value)
    for value in ([1, 2], [[1], [2], [3]], [[-1], [0]], {"data": "AAAA"}, 3, "AAAA", None):
        assert not takes(schema, value) and not is_loaded(field, value)
    assert schema["description"] == "float32, shape (2, any)."
    assert takes(schema_of(Tensor((2,), allow_none=True)), None)
    assert takes(schema_of(Tensor((1,))), "AAAAAA==")


def test_a_large_tensor_does_not_make_viewers_build_a_large_sample():
    assert "minItems" not in str(schema_of(Tensor((3, 64, 64)))["oneOf"][0])
    assert "minItems" in str(schema_of(Tensor((3, 4)))["oneOf"][0])


def test_whole_number_tensors_tell_their_range():
    number = schema_of(Tensor((None,), "uint8", maximum=9))["oneOf"][0]["items"]
    assert number == {"type": "integer", "minimum": 0, "maximum": 9}


def test_formats():
    formats = {
        "uuid": fields.UUID(), "date": fields.Date(), "date-time": fields.DateTime(),
        "date-time-local": fields.NaiveDateTime(), "uri": fields.Url(), "email": fields.Email(),
        "ipv4": fields.IPv4(), "binary": File(),
    }  # fmt: skip
    for name, field in formats.items():
        assert schema_of(field)["format"] == name
    assert "format" not in schema_of(fields.DateTime(format="%d.%m.%Y"))
    assert schema_of(fields.DateTime(format="timestamp"))["type"] == "number"


def test_defaults_and_examples_are_shown_but_not_of_secrets():
    plain = schema_of(fields.Integer(load_default=3, metadata={"example": 5}))
    assert (plain["default"], plain["examples"]) == (3, [5])
    assert schema_of(fields.Integer(load_default=None))["default"] is None
    assert "default" not in schema_of(fields.Integer(load_default=None, allow_none=False))
    secret = schema_of(fields.String(load_default="hunter2", load_only=True))
    assert secret == {"type": "string", "format": "password"}


def test_units_and_limits_are_told_in_words():
    assert "Unit: m/s." in schema_of(fields.Float(metadata={"unit": "m/s"}))["description"]
    assert schema_of(File("image/*", ".png", 9))["description"] == (
        "Content types: image/*. Names end in: .png. At most 9 bytes."
    )


def test_structure_is_json_text_in_a_form():
    field = fields.Dict(load_default={"a": 1}, metadata={"description": "Options."})
    assert form_of(field) == {
        "type": "string",
        "description": "Options. As JSON text.",
        "default": '{"a": 1}',
    }
    for field in (Tensor(), fields.List(fields.List(fields.Float())), fields.Nested({})):
        assert form_of(field)["type"] == "string"
    assert form_of(fields.List(fields.Float()))["type"] == "array"
    assert form_of(Files())["items"]["format"] == "binary"
    assert form_of(fields.Raw())["type"] == "string"


def test_a_form_has_no_null():
    schema = form_of(fields.String(allow_none=True, validate=validate.OneOf(["a", None])))
    assert schema == {"type": "string", "enum": ["a"]}
    assert form_of(fields.Integer(load_default=None)) == {"type": "integer"}


def test_a_delimited_list_is_a_text():
    schema = schema_of(DelimitedList(fields.Integer(), validate=validate.Length(max=2)))
    assert schema["type"] == "string" and "comma-separated" in schema["description"]
    assert "maxLength" not in schema


def test_an_object_names_what_is_required():
    listed = describe_schema(
        check_schema({"a": fields.Integer(required=True), "b": fields.Integer()}, "p")
    )
    schema = object_schema(listed, closed=True)
    assert schema["required"] == ["a"] and list(schema["properties"]) == ["a", "b"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "field",
    [
        fields.String(),
        fields.String(validate=validate.Length(3, 5)),
        fields.String(validate=validate.OneOf("ab")),
        fields.Integer(),
        fields.Integer(validate=validate.Range(3, min_inclusive=False)),
        fields.Integer(validate=validate.Range(0, 1, min_inclusive=False)),
        fields.Float(validate=validate.Range(0, 1, min_inclusive=False)),
        fields.Float(validate=validate.Range(max=-2)),
        fields.Boolean(),
        fields.UUID(),
        fields.Url(),
        fields.Email(),
        fields.IP(),
        fields.DateTime(),
        fields.NaiveDateTime(),
        fields.Date(),
        fields.Time(),
        fields.TimeDelta(),
        fields.Raw(),
        fields.Dict(),
        fields.List(fields.Integer(), validate=validate.Length(2)),
        fields.Tuple((fields.Integer(), fields.Boolean())),
        fields.Nested({"a": fields.Integer(required=True), "b": fields.Integer()}),
        Tensor((2, None)),
        Tensor((2,), minimum=0.5, maximum=1),
        Tensor((2,), dtype="bool"),
        Tensor((2,), dtype="uint8"),
        Tensor(),
        fields.Integer(metadata={"example": 7}),
        fields.Integer(load_default=8),
    ],
)
def test_a_sample_is_taken_by_its_own_field(field):
    assert is_loaded(field, sample(description_of(field)))


def test_the_sample_of_a_large_tensor_is_small():
    assert sample(description_of(Tensor((3, 64, 64)))) == [[[1]]]
