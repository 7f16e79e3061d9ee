"""A client of the Open Inference Protocol over gRPC, by the messages of the protocol alone."""

import re
import time

import grpc
import numpy as np

from modelyard.api.grpc import health_pb2, open_inference_pb2

pb, health = open_inference_pb2, health_pb2
Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor

TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
WORDS = {
    "bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}  # fmt: skip


class Client:
    """What a user's client does: calls, with a deadline, and what came besides the answer."""

    def __init__(self, target, **options):
        self.channel = grpc.insecure_channel(target, options=list(options.items()))

    def close(self):
        self.channel.close()

    def method(self, name):
        request, answer = getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
        return self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )

    def call(self, method, /, **fields):
        request = getattr(pb, f"{method}Request")(**fields)
        return self.method(method)(request, timeout=30)

    def infer(self, model, inputs, *, raw=True, timeout=30, metadata=None, **more):
        request = request_of(model, inputs, raw=raw, **more)
        return self.method("ModelInfer")(request, timeout=timeout, metadata=metadata)

    def begin(self, model, inputs, *, timeout=30, **more):
        """A call that is waited for later."""
        return self.method("ModelInfer").future(request_of(model, inputs, **more), timeout=timeout)

    def check(self, service=""):
        method = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        status = method(health.HealthCheckRequest(service=service), timeout=10).status
        return health.HealthCheckResponse.ServingStatus.Name(status)

    def watch(self, service=""):
        method = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        for one in method(health.HealthCheckRequest(service=service), timeout=60):
            yield health.HealthCheckResponse.ServingStatus.Name(one.status)


def request_of(model, inputs, *, raw=True, version="", id="", outputs=(), **parameters):
    """`inputs`: arrays, or texts, by name."""
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, value in inputs.items():
        if isinstance(value, str):
            one, data = Input(name=name, datatype="BYTES", shape=[1]), value.encode()
            if raw:
                request.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
            else:
                one.contents.bytes_contents.append(data)
        else:
            one = Input(name=name, datatype=WORDS[value.dtype.name], shape=value.shape)
            if raw:
                little = value.astype(value.dtype.newbyteorder("<"), copy=False)
                request.raw_input_contents.append(little.tobytes())
            else:
                getattr(one.contents, TYPED[one.datatype]).extend(value.ravel().tolist())
        request.inputs.append(one)
    request.outputs.extend(Output(name=name) for name in outputs)
    for name, value in parameters.items():
        kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
        setattr(request.parameters[name], kinds[type(value)], value)
    return request


def arrays_of(response):
    """The outputs by name, in whichever form they came."""
    names = {word: name for name, word in WORDS.items()}
    arrays = {}
    for place, one in enumerate(response.outputs):
        dtype = np.dtype(names[one.datatype])
        if response.raw_output_contents:
            data = np.frombuffer(response.raw_output_contents[place], dtype.newbyteorder("<"))
        else:
            data = np.array(getattr(one.contents, TYPED[one.datatype]), dtype)
        arrays[one.name] = data.reshape(list(one.shape))
    return arrays


def grpc_target(server):
    """Where the server says that it listens for gRPC."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        match = re.search(r"gRPC +(\S+)", "".join(server.lines))
        if match:
            return match.group(1)
        time.sleep(0.05)
    raise AssertionError("the server has no port for gRPC:\n" + "".join(server.lines))


def refusal(call, *args, **more):
    """How a call is refused: the code's name, what is said, and the trailing metadata."""
    try:
        answer = call(*args, **more)
    except grpc.RpcError as error:
        return error.code().name, error.details(), dict(error.trailing_metadata())
    raise AssertionError(f"it was answered: {answer}")


def wait_for(server, pattern):
    """Returns when the server's metrics say so."""
    until = time.monotonic() + 60
    while not re.search(pattern, server.get("/metrics").text):
        assert time.monotonic() < until, f"not in the metrics: {pattern}"
