"""Shapes that no array can have are wrong arguments, by whatever way they come."""

import json

import pytest

MODEL = "/v2/models/plain/"
HUGE = 2**62
DIGITS = 10**4200
CANNOT_BE = ([0, HUGE], [0, 2**40, 2**40], [DIGITS], [DIGITS] * 32, [-1, -1], [1] * 33)


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "plain", "--no-warm-start")
    server.wait_ready("plain")
    return server


def refused(answer, status, name):
    assert answer.status_code == status, answer.text
    assert name in answer.text and len(answer.content) < 20_000
    assert "shape" in answer.text or "axes" in answer.text


@pytest.mark.parametrize("shape", CANNOT_BE, ids=lambda shape: f"{len(shape)} axes")
def test_a_claimed_shape(server, shape):
    value = {"shape": shape, "dtype": "float32", "data": ""}
    refused(server.predict("plain", json={"x": value}), 422, "x")


@pytest.mark.parametrize("shape", CANNOT_BE, ids=lambda shape: f"{len(shape)} axes")
@pytest.mark.parametrize("binary", [False, True], ids=["typed", "binary"])
def test_the_shape_of_an_input(server, shape, binary):
    one = {"name": "x", "shape": shape, "datatype": "FP32"}
    one |= {"parameters": {"binary_data_size": 0}} if binary else {"data": []}
    body = json.dumps({"inputs": [one]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(body))} if binary else {}
    headers["Content-Type"] = "application/octet-stream" if binary else "application/json"
    refused(server.post(MODEL + "infer", data=body, headers=headers), 400, "x")


def npy(shape, data=b""):
    """An array whose header says this."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize(
    "shape",
    [f"0,{HUGE}", f"0,{2**80}", "-1,-1", "-1,0", "True,", "1," * 33, "9" * 4301, f"{DIGITS}," * 2],
    ids=["huge", "huger", "below 0", "below 0 too", "a truth", "axes", "digits", "digits too"],
)
def test_the_shape_of_an_npy(server, shape):
    headers = {"Content-Type": "application/x-npy"}
    answer = server.predict("plain", data=npy(shape, bytes(4)), headers=headers)
    assert answer.status_code == 400 and len(answer.content) < 1000, answer.text
    assert server.predict("plain", data=npy("1,"), headers=headers).status_code == 400
    assert server.predict("plain", data=npy("1,", bytes(4)), headers=headers).status_code == 200
