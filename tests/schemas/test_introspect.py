"""Every kind of marshmallow field, as the neutral description of it."""

import datetime as dt
import decimal
import enum
import ipaddress
import itertools
import json
import uuid
from dataclasses import asdict

import marshmallow
import pytest
from marshmallow import fields, validate
from webargs.fields import DelimitedList

from modelyard.schemas.checking import check_schema
from modelyard.schemas.description import KINDS, PLACES, FieldDescription
from modelyard.schemas.fields import File, Files, Tensor
from modelyard.schemas.introspect import describe_schema


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(fields.Integer):
    """A field of an author's own."""


class Point(marshmallow.Schema):
    x = fields.Float(required=True)
    y = fields.Float(load_default=0.0)


class Tree(marshmallow.Schema):
    name = fields.String()
    children = fields.List(fields.Nested(lambda: Tree()))


def describe(field):
    (description,) = describe_schema(check_schema({"x": field}, "predict_arguments"))
    json.dumps(asdict(description), allow_nan=False)
    assert description.kind in KINDS and description.place in PLACES
    assert FieldDescription.from_data(asdict(description)) == description
    return description


@pytest.mark.parametrize(
    ("field", "kind", "format_"),
    [
        (fields.String(), "string", None),
        (fields.Integer(strict=True), "integer", None),
        (Level(), "integer", None),
        (fields.Float(), "number", None),
        (fields.Decimal(), "number", None),
        (fields.Boolean(), "boolean", None),
        (fields.UUID(), "uuid", None),
        (fields.DateTime(), "datetime", None),
        (fields.DateTime(format="timestamp"), "datetime", "timestamp"),
        (fields.DateTime(format="%d.%m.%Y"), "datetime", "%d.%m.%Y"),
        (fields.NaiveDateTime(), "datetime", "date-time-local"),
        (fields.AwareDateTime(), "datetime", None),
        (fields.Date(), "date", None),
        (fields.Time(), "time", None),
        (fields.TimeDelta(), "duration", "seconds"),
        (fields.Url(), "url", None),
        (fields.Email(), "email", None),
        (fields.IP(), "ip", None),
        (fields.IPv4(), "ip", "ipv4"),
        (fields.IPv6(), "ip", "ipv6"),
        (fields.IPv4Interface(), "string", "ip-interface"),
        (fields.Raw(), "any", None),
        (fields.Dict(), "dict", None),
        (fields.Nested(Point), "object", None),
        (DelimitedList(fields.Integer()), "string", "comma-separated"),
        (fields.Raw(metadata={"type": "file"}), "file", None),
        (File(), "file", None),
        (Tensor(), "tensor", None),
        (fields.Function(deserialize=int), "any", None),
    ],
)
def test_each_field_has_its_kind(field, kind, format_):
    description = describe(field)
    assert (description.kind, description.format) == (kind, format_)


# marshmallow 3.24 to 3.26 warn of the bare Field that DEEPaaS modules use.
@pytest.mark.filterwarnings("ignore")
def test_a_bare_field_is_anything():
    assert describe(fields.Field()).kind == "any"


def test_fields_that_are_only_dumped_are_no_arguments():
    class Arguments(marshmallow.Schema):
        told = fields.String(dump_only=True)
        method = fields.Method("get")
        function = fields.Function(lambda obj: 1)
        secret = fields.String(load_only=True)
        plain = fields.String()

        def get(self, obj):
            return 1

    schema = check_schema(Arguments, "predict_arguments")
    assert [field.name for field in describe_schema(schema)] == ["secret", "plain"]
    assert [field.name for field in describe_schema(schema, response=True)] == [
        "told",
        "method",
        "function",
        "plain",
    ]


def test_every_accepted_form_gives_the_same_description():
    forms = [
        Point,
        Point(),
        {"x": fields.Float(required=True), "y": fields.Float(load_default=0.0)},
    ]
    first, *others = [describe_schema(check_schema(form, "p")) for form in forms]
    assert [field.name for field in first] == ["x", "y"]
    assert others == [first, first]


def test_the_order_is_that_of_the_declaration():
    names = ["zeta", "alpha", "mid", "beta", "omega"]
    schema = check_schema({name: fields.Integer() for name in names}, "p")
    assert [field.name for field in describe_schema(schema)] == names


def test_constraints_are_told():
    number = describe(fields.Float(validate=validate.Range(0, 1, min_inclusive=False)))
    assert (number.minimum, number.maximum) == (0, 1)
    assert number.exclusive_minimum and not number.exclusive_maximum
    text = describe(fields.String(validate=[validate.Length(1, 8), validate.Length(max=5)]))
    assert (text.min_length, text.max_length) == (1, 5)
    assert describe(fields.List(fields.Raw(), validate=validate.Length(equal=3))).max_length == 3


def test_several_ranges_leave_the_narrowest():
    both = validate.And(validate.Range(0, 10), validate.Range(2, 20, min_inclusive=False))
    description = describe(fields.Integer(validate=both))
    assert (description.minimum, description.maximum) == (2, 10)
    assert description.exclusive_minimum


def test_bounds_are_in_the_unit_that_a_client_sends():
    rule = validate.Range(dt.timedelta(minutes=1), dt.timedelta(hours=1))
    description = describe(fields.TimeDelta("minutes", validate=rule))
    assert (description.minimum, description.maximum) == (1, 60)
    assert (description.format, description.unit) == ("minutes", "minutes")
    amount = describe(fields.Decimal(validate=validate.Range(decimal.Decimal("0.5"))))
    assert amount.minimum == 0.5
    assert describe(fields.Date(validate=validate.Range(dt.date(2020, 1, 1)))).minimum is None


def test_choices_are_what_a_client_sends():
    assert describe(fields.String(validate=validate.OneOf(("a", "b")))).choices == ["a", "b"]
    assert describe(fields.Integer(validate=validate.Equal(3))).choices == [3]
    several = describe(fields.List(fields.String(), validate=validate.ContainsOnly(["a", "b"])))
    assert several.choices is None and several.items.choices == ["a", "b"]
    day = dt.date(2024, 2, 29)
    assert describe(fields.Date(validate=validate.OneOf([day]))).choices == ["2024-02-29"]
    both = [validate.OneOf("abc"), validate.OneOf("bcd")]
    assert describe(fields.String(validate=both)).choices == ["b", "c"]


def test_refused_values_are_told_in_words():
    assert "Not: a, b." in describe(fields.String(validate=validate.NoneOf("ab"))).description


@pytest.mark.parametrize(
    ("regex", "pattern"),
    [
        ("[a-z]+", "^(?:[a-z]+)"),
        (r"^[a-z]+$", r"^[a-z]+$"),
        (r"^a|b", r"^(?:^a|b)"),
        (r"\A(?P<year>\d+)\Z", r"^(\d+)$"),
        (r"(?i)abc", None),
        (r"(?P<a>x)(?P=a)", None),
    ],
)
def test_a_pattern_is_told_if_both_languages_read_it_alike(regex, pattern):
    assert describe(fields.String(validate=validate.Regexp(regex))).pattern == pattern


def test_validators_of_an_authors_own_stay_silent():
    assert describe(fields.Integer(validate=lambda value: value > 3)).minimum is None


def test_enumerations_are_names_or_values():
    assert describe(fields.Enum(Colour)).choices == ["RED", "BLUE"]
    by_value = describe(fields.Enum(Colour, by_value=True, load_default=Colour.RED))
    assert (by_value.kind, by_value.choices, by_value.default) == ("integer", [1, 2], 1)


def test_nested_schemas_bring_their_members():
    point = describe(fields.Nested(Point))
    assert [(item.name, item.required) for item in point.fields] == [("x", True), ("y", False)]
    points = describe(fields.Nested(Point, many=True))
    assert points.kind == "list" and points.items.kind == "object" and points.items.fields
    inline = describe(fields.Nested({"a": fields.Integer()}))
    assert inline.fields[0].kind == "integer"
    partial = describe(fields.Nested(Point(only=("x",))))
    assert [item.name for item in partial.fields] == ["x"]


def test_a_schema_that_holds_itself_ends():
    (name, children) = describe_schema(check_schema(Tree, "p"))
    assert name.kind == "string" and children.items.kind == "object"


def test_pluck_is_the_plucked_field():
    assert describe(fields.Pluck(Point, "x")).kind == "number"
    assert describe(fields.Pluck(Point, "x", many=True)).items.kind == "number"


def test_parts_of_lists_tuples_and_dicts_are_told():
    assert describe(fields.List(fields.Integer())).items.kind == "integer"
    pair = describe(fields.Tuple((fields.String(), fields.Float())))
    assert [part.kind for part in pair.fields] == ["string", "number"]
    assert (pair.kind, pair.min_length, pair.max_length) == ("list", 2, 2)
    assert describe(fields.Dict(values=fields.Integer())).items.kind == "integer"


def test_a_constant_is_the_only_choice():
    constant = describe(fields.Constant("v1"))
    assert (constant.kind, constant.choices, constant.default) == ("string", ["v1"], "v1")


def test_a_tensor_tells_shape_dtype_and_bounds():
    tensor = describe(Tensor((3, None, None), "uint8", minimum=0, maximum=9))
    assert (tensor.shape, tensor.dtype) == ([3, -1, -1], "uint8")
    assert (tensor.minimum, tensor.maximum) == (0, 9)


def test_files_have_their_place_and_limits():
    file = describe(File(content_types="image/*", suffixes=("png",), max_bytes=9))
    assert (file.place, file.content_types, file.suffixes) == ("files", ["image/*"], [".png"])
    assert file.max_bytes == 9
    several = describe(Files(content_types="image/*"))
    assert (several.kind, several.place) == ("list", "files")
    assert several.items.content_types == ["image/*"]


@pytest.mark.parametrize(
    ("field", "default"),
    [
        (fields.Integer(load_default=3), 3),
        (fields.DateTime(load_default=dt.datetime(2024, 1, 2, 3, 4, 5)), "2024-01-02T03:04:05"),
        (fields.UUID(load_default=uuid.UUID(int=1)), str(uuid.UUID(int=1))),
        (fields.TimeDelta("minutes", load_default=dt.timedelta(minutes=2)), 2),
        (fields.Decimal(load_default=decimal.Decimal("0.25")), 0.25),
        (fields.IP(load_default=ipaddress.ip_address("::1")), "::1"),
        (fields.List(fields.Integer(), load_default=list), []),
        (fields.Integer(load_default=lambda: 7), 7),
        (Tensor((2,), load_default=[1, 2]), [1, 2]),
        (fields.String(load_default=None), None),
        (fields.Float(load_default=None, allow_none=False), None),
    ],
)
def test_defaults_are_told_as_json(field, default):
    description = describe(field)
    assert description.has_default and description.default == default


def fails():
    raise RuntimeError("not now")


@pytest.mark.parametrize("function", [itertools.count().__next__, fails, object])
def test_a_default_that_changes_or_cannot_be_told_is_not_shown(function):
    description = describe(fields.Raw(load_default=function))
    assert description.has_default and description.default is None


@pytest.mark.parametrize("options", [{"load_only": True}, {"metadata": {"format": "password"}}])
def test_secrets_are_never_shown(options):
    if "metadata" in options:
        options = {"metadata": {**options["metadata"], "example": "hunter2"}}
    rule = validate.Equal("hunter2")
    description = describe(fields.String(load_default="hunter2", validate=rule, **options))
    assert description.secret and description.has_default
    assert "hunter2" not in json.dumps(asdict(description))


def test_metadata_is_read():
    description = describe(
        fields.Float(
            metadata={
                "description": "How fast.", "unit": "m/s", "example": 3.5, "location": "query"
            }
        )
    )  # fmt: skip
    assert description.description == "How fast."
    assert (description.unit, description.example, description.place) == ("m/s", 3.5, "query")
    assert describe(fields.Float(metadata={"title": "Speed"})).description == "Speed"
    assert describe(fields.Float(metadata={"location": "headers"})).place == "headers"


def test_the_name_is_what_a_client_sends():
    assert describe(fields.Integer(data_key="batch-size")).name == "batch-size"


def test_null_is_told():
    assert describe(fields.Integer(allow_none=True)).nullable
    assert not describe(fields.Integer()).nullable
