"""How many items a call counts for."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yard_examples import examples

from modelyard.schemas.description import FieldDescription, ModelDescription
from modelyard.schemas.fields import Tensor
from modelyard.schemas.transport import FilePart, RequestData
from modelyard.serving.counting import counter


def model(*shape, dtype="float32", many=True):
    field = FieldDescription("x", "tensor", shape=list(shape), dtype=dtype, many=many)
    return ModelDescription("m", predict_arguments=[field])


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@examples(100)
@given(rows=st.integers(1, 40), inner=st.lists(st.integers(1, 4), max_size=3))
def test_rows_are_counted_in_every_form_that_a_tensor_may_come_in(rows, inner):
    array = np.zeros((rows, *inner), "float32")
    count = counter(model(-1, *inner))
    nested = json.dumps({"x": array.tolist()}).encode()
    assert count(RequestData(body=nested)) == rows
    told = json.dumps({"x": {"shape": [rows, *inner], "data": "AAAA" * rows}}).encode()
    assert count(RequestData(body=told)) == rows
    assert count(RequestData(body=npy(array), kind="tensor")) == rows
    assert count(RequestData(body=npy(array.astype("float64")), kind="tensor")) == rows
    assert count(RequestData(body=array.tobytes(), kind="tensor")) == rows
    infer = {"inputs": [{"name": "x", "shape": [rows, *inner], "data": [0] * array.size}]}
    assert count(RequestData(body=json.dumps(infer).encode(), kind="infer")) == rows


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "int64"])
def test_bare_numbers_are_counted_by_their_dtype(dtype):
    body = np.zeros((7, 3), dtype).tobytes()
    assert counter(model(-1, 3, dtype=dtype))(RequestData(body=body, kind="tensor")) == 7


def test_an_array_that_lies_in_a_file_is_counted_by_its_size():
    raw = FilePart("", "/calls/0001.npy", "body.npy", "application/x-npy", 12 * 1000)
    assert counter(model(-1, 3))(RequestData(raw=raw, kind="tensor")) == 1000


def test_without_the_authors_word_a_tensor_is_one_item():
    body = json.dumps({"x": [[1, 2]] * 9}).encode()
    assert counter(model(-1, 2, many=False))(RequestData(body=body)) == 1
    assert counter(None)(RequestData(body=body)) == 1


def test_each_file_is_an_item():
    files = [FilePart("f", f"/calls/{n}", "a.png", "image/png", 10) for n in range(3)]
    assert counter(None)(RequestData(files=files)) == 3


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'{"x": 1}', b'"shape": [999999999999'])
def test_nonsense_counts_for_no_more_than_its_bytes(body):
    for kind in ("json", "infer", "tensor"):
        count = counter(model(-1, 2))(RequestData(body=body, kind=kind))
        assert 1 <= count <= max(1, len(body))


def test_a_shape_that_claims_more_than_was_sent_counts_for_what_was_sent():
    body = b'{"inputs": [{"name": "x", "shape": [1000000, 2], "data": []}]}'
    assert counter(model(-1, 2))(RequestData(body=body, kind="infer")) == len(body)


@pytest.mark.parametrize("shape", [None, (), (2, 2), (None, None, 3)])
def test_only_a_tensor_whose_first_axis_alone_is_free_can_count_items(shape):
    with pytest.raises(ValueError, match="first axis"):
        Tensor(shape=shape, many=True)
