"""The short way of plain arguments gives what the whole way gives, or leaves it to that."""

import json

import numpy as np
import pytest
from marshmallow import Schema, fields, post_load, pre_load, validate, validates, validates_schema

from modelyard.errors import InvalidArguments, InvalidRequest
from modelyard.models_plugin.arguments import Arguments
from modelyard.models_plugin.plain import plain_arguments
from modelyard.schemas.checking import check_schema
from modelyard.schemas.fields import File, Tensor
from modelyard.schemas.introspect import describe_schema
from modelyard.schemas.transport import FilePart, RequestData


class Box(Schema):
    width = fields.Integer(required=True)
    depth = fields.Float(load_default=2.0)


class Many(Schema):
    whole = fields.Integer(validate=validate.Range(min=0), load_default=3)
    renamed = fields.String(data_key="as-sent", attribute="inside")
    box = fields.Nested(Box, load_default=dict)
    boxes = fields.List(fields.Nested(Box()))
    maybe = fields.Integer(allow_none=True)
    moment = fields.DateTime()
    made = fields.List(fields.Integer(), load_default=lambda: [1, 2])
    x = Tensor(shape=(None, 2))
    needed = fields.Boolean(required=True)


def both(schema):
    schema = check_schema(schema, "predict_arguments")
    whole = Arguments(schema, describe_schema(schema, False))
    return plain_arguments(schema, whole.slots), whole


@pytest.mark.parametrize(
    "sent",
    [
        {"needed": True},
        {"needed": "yes", "whole": "4", "as-sent": "a", "maybe": None},
        {"needed": 0, "box": {"width": 1}, "boxes": [{"width": "2", "depth": 1}], "made": []},
        {"needed": 1, "x": [[1, 2], [3.5, 4]], "moment": "2026-01-02T03:04:05+01:00"},
    ],
)
def test_what_is_right_is_the_same_by_both(sent):
    plain, whole = both(Many)
    request = RequestData(body=json.dumps(sent).encode())
    got, expected = plain.load(request), whole.load(request)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert type(got[name]) is type(value)
        assert np.array_equal(got[name], value) if name == "x" else got[name] == value


@pytest.mark.parametrize(
    "sent",
    [
        b'{"needed": true, "wohle": 1}',
        b'{"needed": true, "whole": -1}',
        b'{"needed": true, "boxes": [{"width": "a"}]}',
        b'{"needed": true, "x": [[1, 2], [3]]}',
        b'{"needed": true, "x": [[1, 2], [3, 1e999]]}',
        b'{"needed": null}',
        b"{}",
        b"[]",
        b'{"needed": ',
        b"[" * 5000,
        b"",
    ],
)
def test_what_is_wrong_is_told_by_the_whole_way(sent):
    plain, whole = both(Many)
    request = RequestData(body=sent)
    assert plain.load(request) is None
    with pytest.raises((InvalidArguments, InvalidRequest)):
        whole.load(request)


@pytest.mark.parametrize(
    "more",
    [
        {"query": [("whole", "5")]},
        {"form": [("whole", "5")]},
        {"files": [FilePart("whole", "/x", "x", "text/plain", 1)]},
        {"raw": FilePart("", "/x", "x", "image/png", 1)},
    ],
)
def test_what_does_not_come_in_json_goes_the_whole_way(more):
    plain, _ = both(Many)
    assert plain.load(RequestData(body=b'{"needed": true}', **more)) is None


def test_values_that_are_here_already_need_no_body():
    plain, _ = both(Many)
    assert plain.load(RequestData(document={"needed": True, "whole": 9}))["whole"] == 9


class _WithPreLoad(Schema):
    a = fields.Integer()

    @pre_load
    def change(self, data, **_):
        return {**data, "a": 7}


class _WithPostLoad(Schema):
    a = fields.Integer()

    @post_load
    def change(self, data, **_):
        return {**data, "b": 7}


class _WithValidates(Schema):
    a = fields.Integer()

    @validates("a")
    def refuse(self, value, **_):
        raise AssertionError


class _WithValidatesSchema(Schema):
    a = fields.Integer()

    @validates_schema
    def refuse(self, data, **_):
        raise AssertionError


class _WithItsOwnLoad(Schema):
    a = fields.Integer()

    def load(self, data, **more):
        return {**super().load(data, **more), "b": 1}


@pytest.mark.parametrize(
    "schema",
    [
        _WithPreLoad,
        _WithPostLoad,
        _WithValidates,
        _WithValidatesSchema,
        _WithItsOwnLoad,
        {"upload": File()},
        {"accept": fields.String()},
        {"key": fields.String(metadata={"location": "headers"})},
        {"a": fields.Integer(attribute="outer.inner")},
    ],
)
def test_a_schema_that_does_more_has_no_short_way(schema):
    plain, _ = both(schema)
    assert plain is None
