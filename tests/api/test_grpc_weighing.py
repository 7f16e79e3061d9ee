"""What a gRPC message becomes is told before it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yard_examples import examples

from modelyard.api.grpc import open_inference_pb2 as pb
from modelyard.api.grpc.weighing import MOST_FIELDS, MOST_PARTS, weigh
from modelyard.errors import TooLarge

MB = 1 << 20
REQUEST = pb.ModelInferRequest.DESCRIPTOR


def request(**contents):
    made = pb.ModelInferRequest(model_name="m")
    made.inputs.add(name="x", datatype="FP32", shape=[2, 3], **contents)
    return made


def test_raw_numbers_weigh_what_they_are():
    made = request()
    made.raw_input_contents.append(bytes(30 * MB))
    message = made.SerializeToString()
    assert weigh(message, REQUEST, 31 * MB) == len(message)


@pytest.mark.parametrize("field", ["int_contents", "uint_contents"])
def test_short_numbers_weigh_what_they_have_in_memory(field):
    message = request(contents={field: [1, 200] * MB}).SerializeToString()
    assert 8 * MB <= weigh(message, REQUEST, 9 * MB) < 8 * MB + 100
    with pytest.raises(TooLarge, match="numbers have"):
        weigh(message, REQUEST, 7 * MB)


def test_fields_of_all_inputs_are_counted_together():
    made = request(contents={"bytes_contents": [b"a"] * (MOST_FIELDS // 2)})
    weigh(made.SerializeToString(), REQUEST, MB)
    made.inputs.append(made.inputs[0])
    with pytest.raises(TooLarge, match="fields"):
        weigh(made.SerializeToString(), REQUEST, MB)


@pytest.mark.parametrize(
    ("piece", "what"),
    [
        (b"\x2a\x00", "inputs"), (b"\x32\x00", "inputs"), (b"\x22\x00", "inputs"),
        (b"\x3a\x00", "fields"), (b"\x83\x01", "fields"), (b"\x08\x01", "fields"),
    ],
    ids=["inputs", "outputs", "parameters", "raw contents", "groups", "of no name"],
)  # fmt: skip
def test_objects_of_two_bytes_are_not_made(piece, what):
    with pytest.raises(TooLarge, match=what):
        weigh(piece * MB, REQUEST, 64 * MB)


def test_what_is_inside_an_input_is_counted_too():
    axes = pb.ModelInferRequest.InferInputTensor(name="x", shape=[1] * MB)
    with pytest.raises(TooLarge, match="fields"):
        weigh(pb.ModelInferRequest(inputs=[axes]).SerializeToString(), REQUEST, 64 * MB)
    inner = b"\x22\x00" * (MOST_PARTS + 1)
    size = len(inner)
    head = bytes([0x2A, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    with pytest.raises(TooLarge, match="parameters"):
        weigh(head + inner, REQUEST, 64 * MB)


@examples(200)
@given(st.binary(max_size=60), st.integers(1, 4000))
def test_whatever_comes_is_walked_through_and_left_to_its_reader(piece, times):
    message = b"\x0a\x01m" + piece * times
    try:
        assert weigh(message, REQUEST, 1 << 40) >= len(message)
    except TooLarge:
        assert len(message) > 2 * MOST_PARTS
