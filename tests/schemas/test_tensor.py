"""What a Tensor field takes, what it refuses and in which words."""

import base64
import json

import marshmallow
import numpy as np
import pytest

from modelyard.schemas.fields import Tensor


def load(value, *args, **options):
    schema = marshmallow.Schema.from_dict({"x": Tensor(*args, **options)})()
    return schema.load({"x": value})["x"]


def refusal(value, *args, **options):
    with pytest.raises(marshmallow.ValidationError) as raised:
        load(value, *args, **options)
    (message,) = raised.value.messages["x"]
    return message


def encoded(array, **changes):
    data = base64.b64encode(array.tobytes()).decode()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": data, **changes}


IMAGE = np.arange(24, dtype="<f4").reshape(2, 3, 4)


@pytest.mark.parametrize(
    "form",
    [
        IMAGE.tolist(),
        encoded(IMAGE),
        encoded(IMAGE, dtype="float32"),
        base64.b64encode(IMAGE.tobytes()).decode(),
        base64.encodebytes(IMAGE.tobytes()).decode(),
        json.dumps(IMAGE.tolist()),
        json.dumps(encoded(IMAGE)),
        {"data": encoded(IMAGE)["data"]},
    ],
)
def test_every_accepted_form_becomes_the_same_array(form):
    array = load(form, (2, 3, 4))
    assert array.dtype == np.float32
    assert np.array_equal(array, IMAGE)
    assert array.flags.writeable and array.flags.c_contiguous


def test_texts_of_a_query_become_numbers():
    assert load(["1", "2.5"], (None,)).tolist() == [1.0, 2.5]
    assert load(["1", "2"], (2,), dtype="int64").tolist() == [1, 2]


def test_a_number_is_an_array_without_axes():
    assert load(3, ()).shape == ()


def test_another_dtype_in_base64_is_converted():
    array = load(encoded(np.array([1, 2, 255], dtype="uint8")), (3,), dtype="float64")
    assert array.dtype == np.float64 and array.tolist() == [1, 2, 255]
    assert load(encoded(np.array([1.0, 2.0])), dtype="int8").tolist() == [1, 2]


def test_large_whole_numbers_stay_exact():
    assert load([2**63 - 1], dtype="int64").tolist() == [2**63 - 1]
    assert load([2**64 - 1], dtype="uint64").tolist() == [2**64 - 1]


@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        ([[1, 2], [3]], {}, "Not a regular array: lists at one depth have different lengths."),
        ([[1, 2], [3]], {"dtype": "int32"}, "Not a regular array"),
        ([[1, 2], 3], {"dtype": "int32"}, "Not a regular array"),
        ([1, "a"], {}, "Not numbers: could not convert string to float: 'a'"),
        ([1, "a"], {"dtype": "int32"}, "Not a whole number: 'a'."),
        ([1, {"b": 2}], {}, "Not numbers"),
        ([1, {"b": 2}], {"dtype": "int32"}, "Not a whole number"),
        ([1, None], {}, "null, NaN, infinity"),
        ([1, None], {"dtype": "uint8"}, "Not a whole number: None."),
        ([float("nan")], {}, "null, NaN, infinity"),
        ([float("inf")], {"dtype": "int64"}, "Not a whole number: inf."),
        ([1e39], {}, "too large for float32"),
        ([10**400], {}, "too large for float32"),
        ([10**5000], {"dtype": "int64"}, "got a very large number"),
        ([1.5], {"dtype": "int64"}, "Not a whole number: 1.5."),
        ([256], {"dtype": "uint8"}, "uint8 holds 0 to 255, got 256."),
        ([-1], {"dtype": "uint8"}, "uint8 holds 0 to 255, got -1."),
        ([2], {"dtype": "bool"}, "bool holds 0 to 1, got 2."),
        ([1, 2], {"shape": (3,)}, "Expected shape (3,), got (2,)."),
        ([1, 2], {"shape": (2, None)}, "Expected shape (2, any), got (2,)."),
        ([-1, 2], {"minimum": 0}, "Numbers must be at least 0, got -1.0."),
        ([5, 2, 9], {"maximum": 4}, "Numbers must be at most 4, got 9.0."),
        (True, {}, None),
        ({"a": 1}, {}, 'Expected an object with "shape", "dtype" and "data"'),
        (encoded(IMAGE, dtype="complex64"), {}, '"dtype" must be one of'),
        (encoded(IMAGE, dtype=["x"]), {}, '"dtype" must be one of'),
        (encoded(IMAGE, shape=[2, 3]), {}, "float32 of shape (2, 3) takes 24 bytes, got 96."),
        (encoded(IMAGE, shape=[-2, 3]), {}, '"shape" must be a list'),
        (encoded(IMAGE, shape=[10**9] * 30), {}, "got 96."),
        (encoded(IMAGE, shape=[1] * 99), {}, '"shape" must be a list of at most 32'),
        (encoded(IMAGE, shape=None), {}, '"shape" is missing'),
        (encoded(IMAGE, data="!!!"), {}, "The data are not valid base64"),
        (encoded(IMAGE), {"shape": (3, None, None)}, "Expected shape (3, any, any)"),
        (encoded(np.array([np.nan])), {"dtype": "int8"}, "got fractions or NaN"),
        (encoded(np.array([300.0])), {"dtype": "int8"}, "int8 holds -128 to 127, got 300."),
        (encoded(np.array([1, 2], "uint8"), dtype="bool"), {}, "only the bytes 0 and 1"),
        ("AAAA", {}, "Bare base64 text does not tell its shape"),
        ("[1, ", {}, "Not valid JSON"),
    ],
)
def test_what_is_no_such_array_is_refused_in_words(value, options, words):
    if words is None:
        assert load(value, **options).tolist() == 1.0
    else:
        assert words in refusal(value, **options)


def test_deep_nesting_is_refused():
    value = 1
    for _ in range(200):
        value = [value]
    assert refusal(value)
    assert refusal(value, dtype="int64")
    assert "Not valid JSON" in refusal("[" * 100_000)


def test_a_long_text_among_numbers_costs_no_memory():
    value = [1] * 10_000 + ["9" * 1_000_000]
    assert len(refusal(value)) < 200
    assert len(refusal(value, dtype="int64")) < 200


def test_allowed_nan_comes_from_null_and_nan():
    array = load([1, None, float("nan")], allow_nan=True, minimum=0)
    assert array[0] == 1 and np.isnan(array[1:]).all()


def test_none_is_refused_unless_allowed():
    assert refusal(None) == "Field may not be null."
    assert load(None, allow_none=True) is None


def test_a_default_reaches_the_model_as_an_array():
    schema = marshmallow.Schema.from_dict({"x": Tensor((2,), load_default=[1, 2])})()
    assert schema.load({})["x"].dtype == np.float32


def test_answers_are_lists_or_base64():
    lists = marshmallow.Schema.from_dict({"x": Tensor()})()
    assert lists.dump({"x": IMAGE})["x"] == IMAGE.tolist()
    assert lists.dump({"x": None})["x"] is None
    packed = marshmallow.Schema.from_dict({"x": Tensor(encoding="base64")})()
    assert packed.dump({"x": IMAGE.astype(">f4")})["x"] == encoded(IMAGE)
    assert np.array_equal(packed.load(packed.dump({"x": IMAGE}))["x"], IMAGE)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "complex64"},
        {"shape": (2, "x")},
        {"encoding": "hex"},
        {"validate": marshmallow.validate.Range(0, 1)},
    ],
)
def test_a_wrong_declaration_is_refused_at_once(options):
    with pytest.raises(ValueError, match="Tensor"):
        Tensor(**options)


def test_length_counts_the_first_axis():
    rule = marshmallow.validate.Length(max=2)
    assert load([1, 2], validate=rule).size == 2
    assert refusal([1, 2, 3], validate=rule) == "Longer than maximum length 2."
