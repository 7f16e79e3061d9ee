"""Of what has more than one reader: each takes and refuses the same.

Heads are read by the lane or by the framework; JSON by orjson, by the standard library where it has
long numbers, and as the text of a form. Both ways of a pair have to say the same.
"""

import base64
import io
import json

import numpy as np
import pytest
from talk import Talk, post

PREDICT = "/v2/models/kinds/predict/"
TRAIN = "/v2/models/counter/train/"
INFER = "/v2/models/sums/infer"
ARRAY = "/v2/models/plain/predict/"
UPLOADS = "/v2/datasets/uploads/"
FORM = "application/x-www-form-urlencoded"
LONG = "12345678901234567890123"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,counter,sums,plain", "--no-warm-start")
    for model in ("kinds", "counter", "sums", "plain"):
        server.wait_ready(model)
    return server


def answer(server, *pieces):
    """Status and text."""
    with Talk(server) as talk:
        talk.send(*pieces)
        status, _, body = talk.answer()
        return status, body.decode()


@pytest.mark.parametrize(
    ("at", "beyond", "words"),
    [
        ([f"X-{n}: a" for n in range(125)], [f"X-{n}: a" for n in range(126)], "128 headers"),
        (["X-A: " + "a" * 8187], ["X-A: " + "a" * 8300], "8190 bytes"),
        (["X-A: " + "a" * 8187, "X-B: " + "a" * 8000], ["X-" + "a" * 8300 + ": a"], "8190 bytes"),
    ],
)
def test_heads_of_calls_have_the_limits_of_all_heads(server, at, beyond, words):
    for headers, wanted in ((at, 200), (beyond, 431)):
        call = post(PREDICT, b"{}", *headers)
        by_lane, by_framework = answer(server, call), answer(server, call[:9], call[9:])
        assert by_lane == by_framework
        assert by_lane[0] == wanted and (wanted == 200 or words in by_lane[1]), by_lane


def test_a_content_type_of_a_call_has_the_limit_of_all(server):
    for more, wanted in (("a" * 981, 200), ("a" * 990, 431)):
        call = post(PREDICT, b"{}", kind=f"application/json; {more}")
        by_lane, by_framework = answer(server, call), answer(server, call[:9], call[9:])
        assert by_lane == by_framework
        assert by_lane[0] == wanted, by_lane


@pytest.mark.parametrize("value", [r'"\ud83d"', r'"a\ude00"', r'{"\ud83d": 1}', "1e309", "NaN"])
@pytest.mark.parametrize("beside", ["", f", {LONG}"])
def test_what_is_no_json_is_none_beside_a_long_number_either(server, value, beside):
    status, told = answer(server, post(PREDICT, f'{{"anything": [{value}{beside}]}}'.encode()))
    assert (status, "not valid JSON" in told) == (400, True), told


def test_both_halves_of_a_character_are_one_in_json_and_forms(server):
    sent = rf'{{"anything": ["\ud83d\ude00\\ud83d", {LONG}]}}'
    status, told = answer(server, post(PREDICT, sent.encode()))
    assert (status, json.loads(told)["predictions"]["anything"][1][0]) == (200, "\U0001f600\\ud83d")
    status, told = answer(server, post(PREDICT, rb'mapping={"\ud83d\ude00": 1}', kind=FORM))
    assert (status, json.loads(told)["predictions"]["mapping"][1]) == (200, {"\U0001f600": 1})
    assert answer(server, post(PREDICT, rb'mapping={"\ud83d": 1}', kind=FORM))[0] == 422


@pytest.mark.parametrize(
    ("path", "body", "taken"),
    [
        (TRAIN, '{"steps": 1, "token": "%s"}', 200),
        (UPLOADS, '{"filename": "%s.zip", "size": 3}', 201),
    ],
)
def test_half_a_character_beside_many_digits_is_no_fault_of_the_server(server, path, body, taken):
    digits = LONG + "{}"
    whole, half = (body % digits.format(end) for end in (r"\ud83d\ude00", r"\ud83d"))
    assert answer(server, post(path, whole.encode()))[0] == taken
    status, told = answer(server, post(path, half.encode()))
    assert (status, "half a character" in told) == (400, True), told


def test_a_length_before_the_numbers_may_have_any_digits(server):
    sent = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'
    name = "Inference-Header-Content-Length"
    assert answer(server, post(INFER, sent, f"{name}: {len(sent)}"))[0] == 200
    for length in ("9" * 8000, "0" * 8000, str(len(sent) + 1), "+1"):
        status, told = answer(server, post(INFER, sent, f"{name}: {length}"))
        assert (status, "no length" in told) == (400, True), told


def as_npy(data):
    file = io.BytesIO()
    np.save(file, np.zeros(len(data), bool))
    return post(ARRAY, file.getvalue()[: -len(data)] + data, kind="application/x-npy")


def as_base64(data):
    text = base64.b64encode(data).decode()
    value = {"shape": [len(data)], "dtype": "bool", "data": text}
    return post(ARRAY, json.dumps({"x": value}).encode())


def as_input(data):
    size = {"binary_data_size": len(data)}
    one = {"name": "x", "shape": [len(data)], "datatype": "BOOL", "parameters": size}
    head = json.dumps({"inputs": [one]}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    return post("/v2/models/plain/infer", head + data, length, kind="application/octet-stream")


@pytest.mark.parametrize("written", [as_npy, as_base64, as_input])
def test_of_truth_values_the_bytes_are_0_and_1_however_they_come(server, written):
    assert answer(server, written(b"\1\0\1"))[0] == 200
    status, told = answer(server, written(b"\1\0\2"))
    assert (status in (400, 422), "only the bytes 0 and 1" in told) == (True, True), told


@pytest.mark.parametrize(
    ("id_", "taken"), [('"7"', 200), ("7", 200), ("[" * 900 + "]" * 900, 400), ('{"a": 1}', 400)]
)
def test_what_comes_back_with_an_answer_is_a_text_as_by_grpc(server, id_, taken):
    value = '{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}'
    sent = f'{{"id": {id_}, "inputs": [{value}]}}'
    status, told = answer(server, post(INFER, sent.encode()))
    assert status == taken, told[:300]
    assert json.loads(told).get("id", 0) == (json.loads(id_) if taken == 200 else 0)


@pytest.mark.parametrize("levels", [1, 700, 980, 1015])
@pytest.mark.parametrize(
    ("path", "sent", "wrong"),
    [
        (PREDICT, '{"password": %s}', "password"),
        (TRAIN, '{"token": %s}', "token"),
        (PREDICT, '{"decimal": %s}', "decimal"),
        (PREDICT, '{"colour": %s}', "colour"),
        (PREDICT, f'{{"span": {"9" * 400}, "anything": %s}}', "span"),
    ],
)
def test_a_wrong_value_is_one_however_deep_it_is_nested(server, path, sent, wrong, levels):
    for begin, end in (("[", "]"), ('{"a": ', "}")):
        value = begin * levels + '"x"' + end * levels
        status, told = answer(server, post(path, (sent % value).encode()))
        if status == 400 and levels > 1000:  # about a thousand can be read
            assert "nested too deeply" in told
        else:
            assert (status, list(json.loads(told))) == (422, [wrong]), told[:300]
