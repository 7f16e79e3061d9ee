"""Requests of the protocol as those that a worker reads, and its answers as the protocol's.

A worker knows JSON with the numbers of the tensors behind it (`models_plugin/inference.py`), and no
protobuf. So raw contents are passed on as they are, both ways; typed ones are laid out as bytes.
Runs in the front.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping
from typing import Any

import orjson

from ...errors import InvalidArguments, InvalidRequest, PluginFailed
from ...models_plugin.inference import HEADER
from ...schemas.tensors import BARE
from ...schemas.transport import RequestData
from .open_inference_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from .open_inference_pb2 import ModelInferResponse as Response

BINARY_OUTPUT = "binary_data_output"
"""The request's parameter that says whether the answer is to be raw, as over HTTP."""

_TYPED = {
    "BOOL": ("bool_contents", "B"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
    "BYTES": ("bytes_contents", ""),
}
"""The field of typed contents for each datatype, and how `array` lays its numbers out."""
_ALIKE = {"BOOL": 1, "FP32": 4, "FP64": 8}
"""Bytes of a number of those that are the same in a message, packed, as in raw contents: they need
no reading, which takes 100 ns a number. https://protobuf.dev/programming-guides/encoding/#packed
"""


# -- the request ------------------------------------------------------------------------------


def request_data(request: ModelInferRequest, headers: Mapping[str, str]) -> RequestData:
    """What the worker reads. `headers` are those that the model's arguments are looked for in.

    Raises InvalidRequest for what the protocol does not allow, InvalidArguments naming an input.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequest(
            f"There are {len(request.inputs)} inputs, and {len(raw)} raw_input_contents."
        )
    inputs: list[dict[str, Any]] = []
    numbers: list[bytes] = []
    for place, one in enumerate(request.inputs):
        told: dict[str, Any] = {"name": one.name, "datatype": one.datatype}
        told["shape"] = list(one.shape)
        if not raw and one.datatype not in _TYPED:
            told["data"] = []  # the worker says which it knows
            _refuse_half(one)
        else:
            if raw and one.HasField("contents"):
                raise InvalidRequest(f"The input {one.name!r} has contents beside the raw ones.")
            data = raw[place] if raw else _laid_out(one.name, one.datatype, one.contents)
            told["parameters"] = {"binary_data_size": len(data)}
            numbers.append(data)
        inputs.append(told)
    parameters = _values(request.parameters)
    parameters[BINARY_OUTPUT] = True
    head: dict[str, Any] = {"parameters": parameters, "inputs": inputs}
    if request.id:
        head["id"] = request.id
    if request.outputs:
        binary = {"binary_data": True}
        head["outputs"] = [{"name": one.name, "parameters": binary} for one in request.outputs]
    text = orjson.dumps(head)
    return RequestData(
        kind="infer",
        headers={**headers, HEADER.lower(): str(len(text)), "content-type": BARE},
        body=b"".join([text, *numbers]),
    )


def wants_raw(request: ModelInferRequest) -> bool:
    """The answer is raw if the request is, or if it says so."""
    said = request.parameters.get(BINARY_OUTPUT)
    if said is not None and said.WhichOneof("parameter_choice") == "bool_param":
        return said.bool_param
    return bool(request.raw_input_contents)


def is_large(request: ModelInferRequest, size: int) -> bool:
    """True if laying out its numbers takes long enough to hold up others. `size` is in bytes."""
    return size > 1 << 18 and not request.raw_input_contents


def _refuse_half(one: ModelInferRequest.InferInputTensor) -> None:
    if one.datatype in ("FP16", "BF16"):
        told = f"{one.datatype} has no typed contents: send raw_input_contents."
        raise InvalidArguments({one.name: [told]})


def _laid_out(name: str, datatype: str, contents: InferTensorContents) -> bytes:
    """Typed contents as little-endian bytes."""
    field, code = _TYPED[datatype]
    others = [one.name for one, _ in contents.ListFields() if one.name != field]
    if others:
        told = f"The numbers of {datatype} belong into {field}, not into {others[0]}."
        raise InvalidArguments({name: [told]})
    values = getattr(contents, field)
    if datatype in _ALIKE:
        contents.DiscardUnknownFields()
        packed = contents.SerializeToString()
        return packed[len(packed) - _ALIKE[datatype] * len(values) :]
    if datatype == "BYTES":
        return b"".join(len(text).to_bytes(4, "little") + text for text in values)
    try:
        numbers = array(code, values)
    except OverflowError as error:
        raise InvalidArguments({name: [f"A number does not fit into {datatype}."]}) from error
    return _swapped(numbers).tobytes()


def _swapped(numbers: array[Any]) -> array[Any]:
    """Between this machine's order of bytes and the protocol's."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _values(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, one in parameters.items():
        kind = one.WhichOneof("parameter_choice")
        if kind is not None:
            value = getattr(one, kind)
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidArguments({name: [f"Not a number that JSON has: {value}."]})
            values[name] = value
    return values


# -- the answer -------------------------------------------------------------------------------


def response_of(
    headers: Mapping[str, str], body: bytes, weights: str | None, raw: bool
) -> Response:
    """The worker's answer, whose `headers` tell where its numbers begin.

    What has no typed form (FP16) makes the whole answer raw. Raises PluginFailed.
    """
    length = int(headers.get(HEADER, len(body)))
    told = orjson.loads(body[:length])
    if not isinstance(told, dict) or "outputs" not in told:
        raise PluginFailed("The model's answer is not one of the Open Inference Protocol.")
    outputs = told["outputs"]
    raw = raw or any(one["datatype"] not in _TYPED for one in outputs)
    response = Response(model_name=told["model_name"], model_version=weights or "")
    response.id = told.get("id", "")
    for name, value in told.get("parameters", {}).items():
        _put(response.parameters[name], value)
    at = length
    for one in outputs:
        size = one["parameters"]["binary_data_size"]
        data = body[at : at + size]
        at += size
        output = response.outputs.add(
            name=one["name"], datatype=one["datatype"], shape=one["shape"]
        )
        if raw:
            response.raw_output_contents.append(data)
        elif data:
            _put_numbers(output.contents, one["datatype"], data)
    return response


def _put_numbers(contents: InferTensorContents, datatype: str, data: bytes) -> None:
    field, code = _TYPED[datatype]
    if datatype in _ALIKE:
        number = InferTensorContents.DESCRIPTOR.fields_by_name[field].number
        contents.MergeFromString(bytes([number << 3 | 2]) + _varint(len(data)) + data)
    else:
        getattr(contents, field).extend(_swapped(array(code, data)))


def _varint(number: int) -> bytes:
    """Protobuf's form of a length: seven bits a byte, the lowest first."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _put(parameter: InferParameter, value: str | bool | int | float) -> None:
    """A single value of the answer; a whole number beyond 64 bits as text."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    elif -(2**63) <= value < 2**63:
        parameter.int64_param = value
    elif 0 <= value < 2**64:
        parameter.uint64_param = value
    else:
        parameter.string_param = str(value)
