"""The mistakes that authors make in schemas, each told by name and with a remedy."""

import datetime as dt

import marshmallow
import pytest
from marshmallow import fields, validate

from modelyard.schemas.checking import ContractFault, check_schema
from modelyard.schemas.fields import File, Tensor


class Typed(marshmallow.Schema):
    size = int


class Annotated(marshmallow.Schema):
    size: int


class FieldClass(marshmallow.Schema):
    other = fields.String()


class NeedsMore(marshmallow.Schema):
    def __init__(self, folder):
        super().__init__()


class Inner(marshmallow.Schema):
    y = fields.Integer(load_default=9, validate=validate.Range(max=3))


def fault_of(value):
    with pytest.raises(ContractFault) as raised:
        check_schema(value, "predict_arguments")
    fault = raised.value
    assert isinstance(fault, ValueError)
    assert fault.where == "predict_arguments"
    assert fault.remedy and fault.problem.endswith(".") and fault.problem in str(fault)
    return fault


@pytest.mark.parametrize("value", [None, 3, "x", [fields.Integer()], object(), int, print])
def test_what_is_no_schema_is_told(value):
    fault = fault_of(value)
    assert "is no schema" in fault.problem and "dict of marshmallow fields" in fault.remedy


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (int, "Write fields.Integer()."),
        (fields.Integer, "Make an instance of it: fields.Integer()."),
        (5, "Write fields.Integer(load_default=5) if this is meant as its default."),
        ({"a": fields.Integer()}, "Put it into fields.Nested({...})."),
        (Inner, "Put it into fields.Nested(...)."),
        (None, "Write a marshmallow field, such as fields.Float()."),
    ],
)
def test_an_argument_that_is_no_field_is_told(value, remedy):
    fault = fault_of({"good": fields.Float(), "x": value})
    assert (fault.field, fault.remedy) == ("x", remedy)
    assert "is no field" in fault.problem


@pytest.mark.parametrize("schema", [Typed, Typed(), Annotated])
def test_a_type_in_a_schema_class_is_told(schema):
    fault = fault_of(schema)
    assert fault.field == "size" and "fields.Integer()" in fault.remedy


def test_a_schema_that_cannot_be_built_is_told():
    assert "folder" in fault_of(NeedsMore).problem
    assert "Nowhere" in fault_of({"n": fields.Nested("Nowhere")}).problem


def test_a_list_of_objects_is_no_schema_of_arguments():
    assert "many=True" in fault_of(Inner(many=True)).problem


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (fields.Integer(load_default="abc"), "Not a valid integer."),
        (fields.Integer(load_default="5"), "this is str"),
        (fields.Integer(load_default=1.5), "this is float"),
        (fields.String(load_default=5), "this is int"),
        (fields.Boolean(load_default="yes"), "this is str"),
        (fields.Float(load_default=float("inf")), "cannot be written as JSON"),
        (fields.Integer(load_default=9, validate=validate.Range(max=3)), "less than or equal to 3"),
        (fields.String(load_default="c", validate=validate.OneOf("ab")), "Must be one of: a, b."),
        (fields.String(load_default="", validate=validate.Length(1)), "Shorter than"),
        (fields.String(load_default="x", validate=lambda value: 1 / 0), "ZeroDivisionError"),
        (fields.DateTime(load_default="2024-01-01T00:00:00"), "this is str"),
        (fields.List(fields.Integer(), load_default=[1, "a"]), "1: Not a valid integer."),
        (fields.Raw(load_default=object()), "cannot be written as JSON"),
        (fields.Nested(Inner, load_default={"y": 5}), "less than or equal to 3"),
        (Tensor((3,), load_default=[1, 2]), "Expected shape (3,), got (2,)."),
        (File(load_default="a.png"), "Not a file"),
    ],
)
def test_a_default_that_its_own_field_refuses_is_told(field, words):
    fault = fault_of({"x": field})
    assert fault.field == "x" and words in fault.problem


def test_a_default_inside_a_nested_schema_is_told_by_its_path():
    assert fault_of({"n": fields.Nested(Inner)}).field == "n.y"
    assert fault_of({"n": fields.List(fields.Nested(Inner))}).field == "n.y"


def test_a_secret_default_is_not_repeated():
    field = fields.String(load_default="hunter2", load_only=True, validate=validate.Length(99))
    assert "hunter2" not in str(fault_of({"x": field}))


@pytest.mark.parametrize(
    "field",
    [
        fields.Integer(load_default=None),
        fields.Float(load_default=1),
        fields.Float(load_default=None, allow_none=False),
        fields.TimeDelta(load_default=dt.timedelta(seconds=0.1)),
        fields.Tuple((fields.Integer(), fields.String()), load_default=(1, "a")),
        fields.List(fields.Integer(), load_default=(1, 2)),
        fields.Dict(load_default={}),
        fields.Raw(load_default={"a": [1]}),
        fields.Constant(3),
        fields.DateTime(load_default=lambda: dt.datetime.now()),
        fields.String(load_default=lambda: 1 / 0),
        fields.DateTime(format="%Y-%m-%d", load_default=dt.datetime(2024, 1, 2, 3)),
        Tensor((2, None), load_default=[[1], [2]]),
    ],
)
def test_a_good_default_passes(field):
    assert isinstance(check_schema({"x": field}, "p"), marshmallow.Schema)


def test_an_instance_is_used_as_it_is():
    schema = FieldClass()
    assert check_schema(schema, "p") is schema


def test_fields_taken_from_another_schema_are_taken():
    assert check_schema(dict(FieldClass().fields), "p").load({"other": "a"}) == {"other": "a"}
