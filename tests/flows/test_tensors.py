"""Arrays as bodies and as answers, and the Open Inference Protocol, spoken by plain HTTP."""

import io
import json
import pickle

import numpy as np
import pytest

NPY = "application/x-npy"
BARE = "application/octet-stream"
ROWS = np.arange(6, dtype="float32").reshape(2, 3)


@pytest.fixture(scope="module")
def server(serve_module):
    names = ("sums", "labels", "plain", "files", "kinds")
    server = serve_module("--model-name", ",".join(names), "--no-warm-start")
    for model in names:
        server.wait_ready(model)
    return server


def npy(array, **more):
    stream = io.BytesIO()
    np.save(stream, array, **more)
    return stream.getvalue()


def send(server, model, body, kind=NPY, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.predict(model, data=body, headers={"Content-Type": kind, **headers})


# -- arrays as bodies -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 50_000])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", ">f8", "int16"])
def test_an_npy_body_is_the_one_tensor(server, dtype, order, count):
    """The larger one goes to the worker by a file."""
    rows = np.asarray(np.arange(count * 3).reshape(count, 3) % 7, dtype=dtype, order=order)
    answer = send(server, "sums", npy(rows), Accept=NPY)
    assert answer.headers["Content-Type"] == NPY, answer.text
    got = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert got.dtype == np.float32
    assert np.array_equal(got, rows.sum(1).astype("float32"))
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_bare_numbers_are_it_too_where_one_axis_is_free(server):
    answer = send(server, "sums", ROWS.tobytes(), BARE)
    assert answer.json() == {"y": [3.0, 12.0]}
    assert list(send(server, "sums", ROWS.tobytes()[1:], BARE).json()) == ["x"]
    assert "several" in send(server, "plain", ROWS.tobytes(), BARE).json()["x"][0]


def test_further_arguments_come_by_the_query(server):
    headers = {"Content-Type": NPY}
    answer = server.predict("sums", data=npy(ROWS), headers=headers, params={"scale": "2"})
    assert answer.json() == {"y": [6.0, 24.0]}


def test_the_schema_checks_an_npy_body_like_any_other(server):
    assert list(send(server, "sums", npy(np.zeros((2, 2)))).json()) == ["x"]
    assert list(send(server, "sums", npy(np.full((1, 3), np.nan))).json()) == ["x"]


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not an array",
        b"\x93NUMPY",
        npy(ROWS)[:-1],
        npy(ROWS) + b"x",
        npy(np.array([Evil()], dtype=object), allow_pickle=True),
        pickle.dumps(ROWS),
        npy(np.array(["text"])),
        npy(ROWS).replace(b"(2, 3)", b"(-1,3)"),
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 3), }".ljust(117)
        + b"\n",
    ],
)
def test_a_broken_or_pickled_npy_body_is_refused(server, body):
    answer = send(server, "sums", body)
    assert answer.status_code in (400, 422), answer.text
    assert "unpickled" not in server.get("/v2/debug/").text


def test_a_model_that_takes_files_still_gets_a_file(server):
    assert send(server, "files", b"12345", BARE).json()["predictions"]["bytes"] == 5


def test_several_tensors_or_none_take_no_such_body(server):
    told = send(server, "labels", npy(ROWS))
    assert told.status_code == 415
    assert "send application/json, multipart/form-data or a form" in told.json()["detail"]


def test_who_cannot_be_answered_with_an_array_is_told(server):
    call = {"x": [[1, 2], [3, 4]], "mask": [True, False]}
    answer = server.predict("labels", json=call, headers={"Accept": NPY})
    assert answer.status_code == 406
    answer = server.predict(
        "labels", json=call, headers={"Accept": f"{NPY}, application/json;q=0.5"}
    )
    assert answer.json()["word"] == "none"


def test_an_array_without_a_schema_is_sent_as_one(server):
    answer = server.predict("plain", json={"x": [1, 2]}, headers={"Accept": NPY})
    assert np.load(io.BytesIO(answer.content)).tolist() == [2.0, 4.0]


# -- the Open Inference Protocol --------------------------------------------------------------


def infer(server, model, body, version=None, **headers):
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    if isinstance(body, bytes):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.post(path, data=body, headers={"Content-Type": BARE, **headers})
    return server.post(path, json=body, headers=headers)


def tensor(name, array, word):
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": word,
        "data": array.ravel().tolist(),
    }


def binary(inputs, **more):
    """A request with its numbers behind the JSON."""
    told, numbers = [], b""
    for name, array, word in inputs:
        data = array.tobytes()
        told.append(
            {"name": name, "shape": list(array.shape), "datatype": word,
             "parameters": {"binary_data_size": len(data)}}
        )  # fmt: skip
        numbers += data
    head = json.dumps({"inputs": told, **more}).encode()
    return head + numbers, {"Inference-Header-Content-Length": str(len(head))}


def test_health_and_metadata_are_where_clients_look(server):
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v2/models/sums/ready").json() == {"name": "sums", "ready": True}
    about = server.get("/v2").json()
    assert isinstance(about["name"], str)
    assert isinstance(about["version"], str)
    assert "binary_tensor_data" in about["extensions"]


def test_the_model_tells_its_tensors_beside_our_own_keys(server):
    about = server.get("/v2/models/labels").json()
    assert about["inputs"] == [
        {"name": "x", "datatype": "INT64", "shape": [2, 2]},
        {"name": "mask", "datatype": "BOOL", "shape": [2]},
    ]
    assert about["outputs"] == [
        {"name": "kept", "datatype": "INT64", "shape": [-1, 2]},
        {"name": "half", "datatype": "FP16", "shape": [2, 2]},
    ]
    assert (about["platform"], about["versions"], about["state"]) == ("modelyard", [], "ready")
    assert "inputs" not in server.get("/v2/models/files").json()


def test_tensors_in_json_are_answered_with_tensors(server):
    answer = infer(server, "sums", {"id": "42", "inputs": [tensor("x", ROWS, "FP32")]})
    assert answer.json() == {
        "model_name": "sums",
        "id": "42",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [3.0, 12.0]}],
    }


def test_nested_data_and_parameters_are_taken(server):
    body = {
        "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": ROWS.tolist()}],
        "parameters": {"scale": 10},
    }
    assert infer(server, "sums", body).json()["outputs"][0]["data"] == [30.0, 120.0]


def test_only_the_outputs_asked_for_are_sent_and_single_values_as_parameters(server):
    x = np.array([[1, 2], [3, 4]])
    body = {
        "inputs": [
            tensor("x", x, "INT64"),
            tensor("mask", np.array([False, True]), "BOOL"),
            {"name": "word", "shape": [1], "datatype": "BYTES", "data": ["this"]},
        ],
        "outputs": [{"name": "kept"}],
    }
    told = infer(server, "labels", body).json()
    assert told["parameters"] == {"word": "this"}
    assert told["outputs"] == [
        {"name": "kept", "datatype": "INT64", "shape": [1, 2], "data": [3, 4]}
    ]


@pytest.mark.parametrize("count", [2, 300_000])
def test_binary_tensors_go_both_ways(server, count):
    rows = np.arange(count * 3, dtype="float32").reshape(count, 3) % 11
    body, headers = binary([("x", rows, "FP32")], parameters={"binary_data_output": True})
    answer = infer(server, "sums", body, **headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["shape"] == [count]
    data = answer.content[length:]
    assert len(data) == output["parameters"]["binary_data_size"]
    assert np.array_equal(np.frombuffer(data, "<f4"), rows.sum(1))


def test_texts_may_be_binary_too(server):
    x, mask = np.array([[1, 2], [3, 4]]), np.array([True, True])
    text = "käse".encode()
    word = np.frombuffer(len(text).to_bytes(4, "little") + text, "uint8")
    sent = [("x", x, "INT64"), ("mask", mask, "BOOL"), ("word", word, "BYTES")]
    body, headers = binary(sent)
    assert infer(server, "labels", body, **headers).json()["parameters"] == {"word": "käse"}
    body, headers = binary([*sent[:2], ("word", word[:-1], "BYTES")])
    assert "longer" in infer(server, "labels", body, **headers).json()["error"]


def test_each_output_chooses_for_itself_whether_it_is_binary(server):
    x, mask = np.array([[1, 2], [3, 4]]), np.array([True, True])
    outputs = [{"name": "half", "parameters": {"binary_data": True}}, {"name": "kept"}]
    body, headers = binary([("x", x, "INT64"), ("mask", mask, "BOOL")], outputs=outputs)
    answer = infer(server, "labels", body, **headers)
    length = int(answer.headers["Inference-Header-Content-Length"])
    half, kept = json.loads(answer.content[:length])["outputs"]
    assert np.frombuffer(answer.content[length:], "<f2").tolist() == [0.5, 1.0, 1.5, 2.0]
    assert (half["datatype"], kept["data"]) == ("FP16", [1, 2, 3, 4])


def test_a_model_without_a_response_schema_answers_with_one_tensor(server):
    told = infer(server, "plain", {"inputs": [tensor("x", ROWS, "FP32")]}).json()
    assert told["outputs"][0]["name"] == "predictions"
    assert told["outputs"][0]["shape"] == [2, 3]


X = tensor("x", ROWS, "FP32")


@pytest.mark.parametrize(
    ("model", "body", "status", "word"),
    [
        ("sums", {}, 400, "inputs"),
        ("sums", {"inputs": []}, 400, "x"),
        ("sums", {"inputs": [{**X, "shape": [3, 3]}]}, 400, "numbers"),
        ("sums", {"inputs": [{**X, "shape": [3, 2]}]}, 400, "shape"),
        ("sums", {"inputs": [{**X, "shape": [10**12, 3]}]}, 400, "numbers"),
        ("sums", {"inputs": [{**X, "datatype": "FP8"}]}, 400, "datatype"),
        ("sums", {"inputs": [{**X, "data": ["a"]}]}, 400, "x"),
        ("sums", {"inputs": [{**X, "name": "z"}]}, 400, "z"),
        ("sums", {"inputs": [X], "outputs": [{"name": "z"}]}, 400, "z"),
        ("sums", {"inputs": [X], "parameters": {"scael": 2}}, 400, "scale"),
        ("sums", {"inputs": [X], "parameters": 7}, 400, "parameters"),
        ("sums", [], 400, "JSON"),
        ("sums", b"{", 400, "JSON"),
        ("plain", {"inputs": [tensor("x", ROWS[:0], "FP32")]}, 500, "tensor"),
        ("files", {"inputs": [X]}, 400, "predict/"),
        ("none-such", {"inputs": [X]}, 404, "none-such"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_the_protocols_form(server, model, body, status, word):
    answer = infer(server, model, body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert word in answer.json()["error"]


@pytest.mark.parametrize("length", ["999999", "x", "-1", "²"])
def test_a_wrong_length_of_the_json_is_refused(server, length):
    body, _ = binary([("x", ROWS, "FP32")])
    headers = {"Inference-Header-Content-Length": length.encode()}
    answer = infer(server, "sums", body, **headers)
    assert answer.status_code == 400


def test_bytes_that_belong_to_no_input_are_refused(server):
    body, headers = binary([("x", ROWS, "FP32")])
    assert "no input" in infer(server, "sums", body + b"1234", **headers).json()["error"]


def test_a_version_that_is_not_there_is_told(server):
    assert infer(server, "sums", {"inputs": [X]}, "none-such").status_code == 400
    assert server.get("/v2/models/sums/versions/none-such/ready").status_code == 404
    assert list(server.get("/v2/models/sums/versions/none-such").json()) == ["error"]


def test_tritons_own_client_works(server):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sums")
    assert client.get_server_metadata()["name"] == "modelyard"
    (about,) = client.get_model_metadata("sums")["inputs"]
    given = triton.InferInput(about["name"], ROWS.shape, about["datatype"])
    for is_binary in (True, False):
        given.set_data_from_numpy(ROWS, binary_data=is_binary)
        outputs = [triton.InferRequestedOutput("y", binary_data=is_binary)]
        assert client.infer("sums", [given], outputs=outputs).as_numpy("y").tolist() == [3.0, 12.0]
    assert client.infer("sums", [given]).as_numpy("y").tolist() == [3.0, 12.0]
