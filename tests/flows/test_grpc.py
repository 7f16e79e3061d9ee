"""The Open Inference Protocol over gRPC: the same answers as over HTTP, to a real client."""

import json
import re

import numpy as np
import pytest
from yard_grpc import Client, Input, arrays_of, grpc_target, refusal, request_of, wait_for

ROWS = np.arange(6, dtype="float32").reshape(2, 3)
SQUARE = {"x": np.arange(4).reshape(2, 2), "mask": np.array([True, False]), "word": "käse"}


@pytest.fixture(scope="module")
def server(serve_module):
    names = ("sums", "labels", "plain", "shift", "batcher")
    server = serve_module(
        *("--model-name", ",".join(names), "--no-warm-start", "--grpc-port", "0"),
        *("--client-calls", "4"),
    )
    for model in names:
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def client(server):
    client = Client(grpc_target(server))
    yield client
    client.close()


# -- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [True, False])
def test_answers_are_those_of_http(server, client, raw):
    response = client.infer("sums", {"x": ROWS}, raw=raw, id="7", scale=2.0)
    told = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": ROWS.ravel().tolist()}
    body = {"id": "7", "inputs": [told], "parameters": {"scale": 2.0}}
    over_http = server.post("/v2/models/sums/infer", json=body).json()
    assert (response.model_name, response.id, response.model_version) == ("sums", "7", "")
    output = over_http["outputs"][0]
    assert [output["name"]] == [one.name for one in response.outputs] == ["y"]
    assert (output["datatype"], output["shape"]) == ("FP32", list(response.outputs[0].shape))
    assert output["data"] == arrays_of(response)["y"].tolist() == [6.0, 24.0]
    assert bool(response.raw_output_contents) is raw


@pytest.mark.parametrize("raw", [True, False])
def test_several_inputs_of_several_kinds_and_single_values_go_both_ways(client, raw):
    response = client.infer("labels", SQUARE, raw=raw)
    arrays = arrays_of(response)
    assert arrays["kept"].tolist() == [[0, 1]] and arrays["kept"].dtype == np.int64
    assert arrays["half"].tolist() == [[0.0, 0.5], [1.0, 1.5]]
    assert response.parameters["word"].string_param == "käse"
    # FP16 has no typed form: the whole answer is raw then, as the protocol has it.
    assert len(response.raw_output_contents) == 2
    only = client.infer("labels", SQUARE, raw=raw, outputs=["kept"])
    assert [one.name for one in only.outputs] == ["kept"]
    assert bool(only.raw_output_contents) is raw


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("sign", ["", "u"])
def test_typed_and_raw_contents_mean_the_same(client, dtype, sign):
    if sign:
        dtype = {"bool": "float64"}.get(dtype, f"u{dtype}")
    if dtype in ("bool", "float64"):
        values = np.array([[0, 1], [1, 1]], dtype)
    else:
        limits = np.iinfo(dtype)
        values = np.array([[limits.min, 0], [1, min(limits.max, 2**24)]], dtype)
    answers = [client.infer("plain", {"x": values}, raw=raw) for raw in (True, False)]
    first, second = (arrays_of(one)["predictions"] for one in answers)
    assert np.array_equal(first, values.astype("float32") * 2)
    assert np.array_equal(first, second) and first.dtype == second.dtype


@pytest.mark.parametrize("word", ["FP32", "FP64", "BOOL"])
@pytest.mark.parametrize("count", [1, 127, 128, 40_000])
def test_typed_numbers_are_whole_at_any_length_also_beside_unknown_fields(client, word, count):
    dtype = {"FP32": "float32", "FP64": "float64", "BOOL": "bool"}[word]
    values = np.random.default_rng(0).integers(0, 2, (1, count)).astype(dtype)
    request = request_of("plain", {"x": values}, raw=False)
    unknown = b"\xfa\x01\x03new"  # field 31, of a later protocol
    request.inputs[0].contents.MergeFromString(unknown)
    response = client.method("ModelInfer")(request, timeout=30)
    assert not response.raw_output_contents
    assert np.array_equal(arrays_of(response)["predictions"], values.astype("float32") * 2)


def test_the_request_may_say_which_form_its_answer_has(client):
    typed = client.infer("sums", {"x": ROWS}, raw=True, binary_data_output=False)
    raw = client.infer("sums", {"x": ROWS}, raw=False, binary_data_output=True)
    assert not typed.raw_output_contents and len(raw.raw_output_contents) == 1
    assert np.array_equal(arrays_of(typed)["y"], arrays_of(raw)["y"])


@pytest.mark.parametrize("raw", [True, False])
def test_a_tensor_may_be_empty(client, raw):
    response = client.infer("shift", {"x": np.zeros(0, "float32")}, raw=raw)
    assert list(response.outputs[0].shape) == [0]
    assert arrays_of(response)["y"].shape == (0,)


@pytest.mark.parametrize("raw", [True, False])
def test_large_tensors_go_through_whole_and_leave_no_file(server, client, raw):
    """Answers from 1 MiB on come by a file of the call's folder."""
    values = np.random.default_rng(0).random(600_000, "float32")
    response = client.infer("shift", {"x": values}, raw=raw)
    assert np.array_equal(arrays_of(response)["y"], values)
    assert list((server.home / "tmp" / "calls").iterdir()) == []


# -- refusals ---------------------------------------------------------------------------------


def changed(**fields):
    """A good request, but for these fields."""
    request = request_of("sums", {"x": ROWS}, raw=False)
    for name, value in fields.items():
        request.ClearField(name)
        field = getattr(request, name)
        field.extend(value) if isinstance(value, list) else field.CopyFrom(value)
    return request


def one_input(name="x", datatype="FP32", shape=(2, 3), **contents):
    return changed(inputs=[Input(name=name, datatype=datatype, shape=shape, contents=contents)])


SIX = [0.0] * 6
BAD = {
    "2 raw_input_contents": changed(raw_input_contents=[b"", b""]),
    "contents beside the raw ones": changed(raw_input_contents=[ROWS.tobytes()]),
    "belong into fp32_contents, not into fp64_contents": one_input(fp64_contents=SIX),
    "has no typed contents": one_input(datatype="FP16", fp32_contents=SIX),
    "does not fit into INT8": one_input(datatype="INT8", int_contents=[200] * 6),
    "has 6 numbers, the data have 0": one_input(),
    '"shape" must be': one_input(shape=[-1, 3], fp32_contents=SIX),
    '"datatype" must be one of': one_input(datatype="FP8", fp32_contents=SIX),
    "Unknown argument": one_input(name="other", fp32_contents=SIX),
    "x: Missing data": changed(inputs=[]),
    "x: Expected": one_input(shape=[3, 2], fp32_contents=SIX),
    "no UTF-8": one_input(datatype="BYTES", shape=[1], bytes_contents=[b"\xff"]),
    "There is no 'z'": request_of("sums", {"x": ROWS}, outputs=["z"]),
    "needs other arguments than tensors": request_of("batcher", {}),
    "scale: Not a number": request_of("sums", {"x": ROWS}, scale=float("nan")),
}


@pytest.mark.parametrize("told", BAD)
def test_a_wrong_request_is_an_invalid_argument_that_says_what_is_wrong(client, told):
    code, said, trailers = refusal(client.method("ModelInfer"), BAD[told], timeout=10)
    assert (code, told in said) == ("INVALID_ARGUMENT", True), said
    assert trailers["modelyard-error"] in ("invalid-arguments", "invalid-request")


def test_what_is_no_message_of_the_protocol_is_an_invalid_argument(client):
    method = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refusal(method, b"\xff\xff")[:2] == (
        "INVALID_ARGUMENT",
        "The message is no ModelInferRequest.",
    )


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata"])
def test_an_unknown_model_or_version_is_not_found(client, method):
    name = "model_name" if method == "ModelInfer" else "name"
    version = f"model_{'version'}" if method == "ModelInfer" else "version"
    assert refusal(client.call, method, **{name: "nobody"})[0] == "NOT_FOUND"
    known = {"inputs": request_of("sums", {"x": ROWS}).inputs} if method == "ModelInfer" else {}
    code, said, _ = refusal(client.call, method, **{name: "sums", version: "7" * 32}, **known)
    assert code == "NOT_FOUND" and "no weights version" in said


def test_another_method_is_unimplemented_whatever_it_streams(client):
    streaming = client.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    assert refusal(lambda: list(streaming(iter([b""]))))[0] == "UNIMPLEMENTED"
    reflection = client.channel.stream_stream("/grpc.reflection.v1.ServerReflection/Info")
    assert refusal(lambda: list(reflection(iter([]))))[0] == "UNIMPLEMENTED"


def test_what_the_model_does_wrong_is_internal_and_its_process_is_replaced(server, client):
    """Processes are made beside gRPC's threads, also while it has calls."""
    one = np.zeros(1, "float32")
    code, said, _ = refusal(client.infer, "shift", {"x": one}, do="fail")
    assert code == "INTERNAL" and "it is told to fail" in said
    code, said, trailers = refusal(client.infer, "shift", {"x": one}, do="die")
    assert (code, trailers["modelyard-error"]) == ("INTERNAL", "worker-died"), said
    assert server.wait_ready("shift")["workers"][0]["restarts"] == 1
    assert arrays_of(client.infer("shift", {"x": one}))["y"].tolist() == [0.0]


# -- terms ------------------------------------------------------------------------------------


def test_a_version_is_chosen_by_id_or_alias_and_the_answer_says_which_it_was(server, client):
    run = server.wait_run(server.train("shift", by=1.5))
    zero = {"x": np.zeros(1, "float32")}
    for chosen in (
        {"version": run["weights"]},
        {"version": "latest"},
        {"metadata": [("x-modelyard-weights", run["weights"])]},
    ):
        response = client.infer("shift", zero, **chosen)
        assert response.model_version == run["weights"]
        assert arrays_of(response)["y"].tolist() == [1.5]
    assert client.call("ModelReady", name="shift", version="latest").ready
    told = client.call("ModelMetadata", name="shift", version=run["weights"])
    assert list(told.versions) == [run["weights"]]


def test_a_clients_deadline_is_the_calls_deadline(server, client):
    x = {"x": np.zeros(1, "float32")}
    code, _, _ = refusal(client.infer, "shift", x, timeout=0.3, seconds=0.8)
    assert code == "DEADLINE_EXCEEDED"
    assert client.infer("shift", x).outputs  # its worker was spared
    told = server.get("/metrics").text
    labels = 'method="GRPC",model="shift",route="/inference.GRPCInferenceService/ModelInfer"'
    assert f'modelyard_http_requests_total{{{labels},status="504"}} 1.0' in told


def test_a_cancelled_call_is_dropped_from_the_queue(server, client):
    x = {"x": np.zeros(1, "float32")}
    working = client.begin("shift", x, seconds=4.0)
    waiting = [client.begin("shift", x, seconds=5.0) for _ in range(2)]
    wait_for(server, r'modelyard_queue_items{model="shift"} 2.0')
    for call in waiting:
        call.cancel()
    wait_for(server, r'modelyard_refused_total{model="shift",why="gone"} 2.0')
    assert working.result().outputs
    assert client.infer("shift", x, timeout=2).outputs


def test_one_client_may_have_so_many_calls_by_whichever_protocol(server, client):
    x = {"x": np.zeros(1, "float32")}
    calls = [client.begin("shift", x, seconds=0.3) for _ in range(4)]
    wait_for(server, r'modelyard_queue_items{model="shift"} [23]')
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    over_http = server.post("/v2/models/sums/infer", json=body)
    code, said, trailers = refusal(client.infer, "sums", {"x": ROWS})
    assert [call.result().model_name for call in calls] == ["shift"] * 4
    assert over_http.status_code == 429
    assert (code, trailers["retry-after"]) == ("RESOURCE_EXHAUSTED", "1"), said


# -- what the server tells --------------------------------------------------------------------


def test_server_and_models_tell_of_themselves(client):
    assert client.call("ServerLive").live and client.call("ServerReady").ready
    assert client.call("ServerMetadata").name == "modelyard"
    assert client.call("ModelReady", name="sums").ready
    told = client.call("ModelMetadata", name="labels")
    assert (told.name, told.platform) == ("labels", "modelyard")
    assert [(one.name, one.datatype, list(one.shape)) for one in told.inputs] == [
        ("x", "INT64", [2, 2]),
        ("mask", "BOOL", [2]),
    ]
    assert [(one.name, list(one.shape)) for one in told.outputs] == [
        ("kept", [-1, 2]),
        ("half", [2, 2]),
    ]
    assert not client.call("ModelMetadata", name="batcher").inputs


def test_the_standard_health_check_answers(client):
    assert client.check() == client.check("inference.GRPCInferenceService") == "SERVING"
    assert refusal(client.check, "another.Service")[0] == "NOT_FOUND"
    assert next(client.watch()) == "SERVING"
    assert next(client.watch("another.Service")) == "SERVICE_UNKNOWN"


def test_calls_are_counted_and_logged_by_declared_names_alone(server, client):
    refusal(client.call, "ModelInfer", model_name="of-my-own")
    refusal(client.channel.unary_unary("/of.my/own"), b"")
    trace = "0af7651916cd43dd8448eb211c80319c"
    client.infer("sums", {"x": ROWS}, metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")])
    told = server.get("/metrics").text
    ours = [line for line in told.splitlines() if 'method="GRPC"' in line]
    assert ours and not any("own" in line for line in ours)
    assert re.search(r'total{method="GRPC",model="",route="none",status="501"}', told)
    lines = [json.loads(line) for line in server.lines if '"method":"GRPC"' in line]
    line = next(line for line in lines if line.get("trace") == trace)
    assert (line["model"], line["status"], line["code"]) == ("sums", 200, "OK")
    assert line["route"] == "/inference.GRPCInferenceService/ModelInfer"
    assert line["peer"] == "127.0.0.1" and line["bytes_in"] > 24 and line["bytes_out"] > 8


def test_metadata_that_come_twice_are_a_list_and_not_the_last_one(client):
    twice = [("x-modelyard-weights", "one"), ("x-modelyard-weights", "other")]
    code, told, _ = refusal(client.infer, "shift", {"x": ROWS}, metadata=twice)
    assert (code, "'one, other'" in told) == ("NOT_FOUND", True), told
