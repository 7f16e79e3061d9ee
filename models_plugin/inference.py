"""The Open Inference Protocol (V2): its requests as a model's arguments, and answers in its form.

With the extension for binary tensors: `Inference-Header-Content-Length` tells where the JSON ends
and the numbers begin (Triton's "binary tensor data extension"). Runs in the worker, so that the
front reads no large JSON. Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import marshmallow

from ..errors import InvalidArguments, InvalidRequest, PluginFailed
from ..schemas.arrays import ArrayFault, ArraySpec, is_shape, reshaped, to_array
from ..schemas.description import FieldDescription
from ..schemas.exactjson import loads
from ..schemas.fields import Tensor
from ..schemas.tensors import BARE, DATATYPES
from ..schemas.transport import RequestData
from .answers import JSON, json_bytes

if TYPE_CHECKING:
    import numpy as np

HEADER = "Inference-Header-Content-Length"
UNNAMED = "predictions"
"""What the answer of a model without a response schema is called."""
_DTYPES = {word: name for name, word in DATATYPES.items()}
_DIGITS = 20
"""That a length may have."""
_NOT_ARGUMENTS = (
    "binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout",
    "content_type", "headers",
)  # fmt: skip
"""Parameters of a request that other servers give a meaning, and this one none."""


@dataclass
class Wanted:
    """How an inference request wants to be answered. `outputs` None: all that there are."""

    id: Any = None
    outputs: dict[str, bool] | None = None
    """Names, and whether each is to be binary."""
    binary: bool = False


@dataclass
class Inferred:
    """An answer in the protocol's form: `numbers` follow the JSON."""

    content_type: str
    head: bytes
    numbers: list[bytes] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {HEADER: str(len(self.head))} if self.numbers else {}

    @property
    def body(self) -> bytes:
        return b"".join([self.head, *self.numbers])


# -- the request ------------------------------------------------------------------------------


def read_request(
    request: RequestData, fields: Sequence[FieldDescription]
) -> tuple[dict[str, Any], Wanted]:
    """The arguments by name, tensors as arrays, and how to answer.

    Raises InvalidRequest for what the protocol does not allow, InvalidArguments naming an input.
    """
    head, numbers = _parts(request)
    try:
        told = loads(head)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("inputs"), list):
        raise InvalidRequest('The body must be a JSON object with "inputs", a list of tensors.')
    parameters = _object(told, "parameters")
    names = {field.name for field in fields}
    arguments: dict[str, Any] = {
        name: value
        for name, value in parameters.items()
        if name in names or name not in _NOT_ARGUMENTS
    }
    at = 0
    for one in told["inputs"]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise InvalidRequest('Each input must be a JSON object with a "name".')
        name = one["name"]
        size = _object(one, "parameters").get("binary_data_size")
        if size is None:
            arguments[name] = _from_json(one)
        else:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(numbers):
                raise InvalidArguments({name: ['"binary_data_size" is no size of what was sent.']})
            arguments[name] = _from_bytes(one, numbers[at : at + size])
            at += size
    if at != len(numbers):
        raise InvalidRequest(f"{len(numbers) - at} bytes behind the JSON belong to no input.")
    return arguments, _wanted(told, parameters)


def _parts(request: RequestData) -> tuple[bytes, memoryview]:
    """The JSON, and the numbers behind it."""
    length = request.headers.get(HEADER.lower())
    if length is None:
        return request.body, memoryview(b"")
    # More digits than that may be too many for Python to read.
    digits = length if length.isascii() and length.isdigit() and len(length) <= _DIGITS else ""
    if not digits or int(digits) > len(request.body):
        raise InvalidRequest(f"{HEADER} is no length of what was sent.")
    return request.body[: int(digits)], memoryview(request.body)[int(digits) :]


def _object(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = told.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f'"{name}" must be a JSON object.')
    return value


def _wanted(told: Mapping[str, Any], parameters: Mapping[str, Any]) -> Wanted:
    binary = parameters.get("binary_data_output") is True
    listed, own = told.get("outputs"), told.get("id")
    if own is not None and not isinstance(own, (str, int, float)):  # it goes into the answer
        raise InvalidRequest('"id" must be a text.')
    if listed is None:
        return Wanted(own, None, binary)
    outputs = {}
    for one in listed if isinstance(listed, list) else [None]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise InvalidRequest('"outputs" must be a list of objects with a "name".')
        outputs[one["name"]] = _object(one, "parameters").get("binary_data", binary) is True
    return Wanted(own, outputs, binary)


def _shape_of(one: Mapping[str, Any]) -> tuple[int, ...]:
    shape: Any = one.get("shape")
    if not is_shape(shape):
        told = '"shape" must be a list of at most 32 whole numbers from 0.'
        raise InvalidArguments({one["name"]: [told]})
    return tuple(shape)


def _dtype_of(one: Mapping[str, Any]) -> str:
    word = one.get("datatype")
    if not isinstance(word, str) or word not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise InvalidArguments({one["name"]: [f'"datatype" must be one of {known}.']})
    return _DTYPES[word]


def _from_json(one: Mapping[str, Any]) -> Any:
    """An array of the shape and type that the input tells; the one text of a BYTES."""
    name, shape, data = one["name"], _shape_of(one), one.get("data")
    if one.get("datatype") == "BYTES" and isinstance(data, list):
        return data[0] if len(data) == 1 else data
    dtype = _dtype_of(one)
    try:
        array = to_array(data, ArraySpec(dtype, allow_nan=True))
    except ArrayFault as fault:
        raise InvalidArguments({name: [str(fault)]}) from fault
    return _shaped(name, array, shape)


def _from_bytes(one: Mapping[str, Any], data: memoryview) -> Any:
    import numpy as np

    name, shape = one["name"], _shape_of(one)
    if one.get("datatype") == "BYTES":
        return _texts(name, bytes(data))
    dtype = np.dtype(_dtype_of(one)).newbyteorder("<")
    if len(data) % dtype.itemsize:
        raise InvalidArguments({name: [f"{len(data)} bytes are no whole number of {dtype.name}."]})
    if dtype.kind == "b" and bytes(data).strip(b"\0\1"):
        raise InvalidArguments({name: ["BOOL data may hold only the bytes 0 and 1."]})
    return _shaped(name, np.frombuffer(data, dtype), shape)


def _texts(name: str, data: bytes) -> Any:
    """The one text of a BYTES, or the list of them: each has its length before it, in 4 bytes."""
    texts, at = [], 0
    while at < len(data):
        start = at + 4
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data):
            raise InvalidArguments({name: ["A text is longer than what was sent."]})
        try:
            texts.append(data[start:at].decode())
        except UnicodeDecodeError as error:
            raise InvalidArguments({name: [f"A text is no UTF-8: {error}"]}) from error
    return texts[0] if len(texts) == 1 else texts


def _shaped(name: str, array: Any, shape: tuple[int, ...]) -> Any:
    count = 1
    for axis in shape:
        count *= axis
    if array.size != count:
        told = f"The shape {list(shape)} has {count} numbers, the data have {array.size}."
        raise InvalidArguments({name: [told]})
    try:
        return reshaped(array, shape)
    except ArrayFault as fault:
        raise InvalidArguments({name: [str(fault)]}) from fault


# -- the answer -------------------------------------------------------------------------------


def write_answer(
    result: Any,
    schema: marshmallow.Schema | None,
    wanted: Wanted,
    model: str,
) -> Inferred:
    """What the model returned as output tensors; further single values go among the parameters.

    Raises PluginFailed if they are not what its response schema says, InvalidArguments for an
    output that there is not.
    """
    values: dict[str, Any] = {}
    if schema is None:
        arrays = {UNNAMED: unnamed_array(result)}
    else:
        arrays, values = named_arrays(result, schema), _single_values(result, schema)
    if wanted.outputs is not None:
        unknown = sorted(set(wanted.outputs) - set(arrays))
        if unknown:
            known = ", ".join(arrays)
            raise InvalidArguments(
                {"outputs": [f"There is no {unknown[0]!r}; there are: {known}."]}
            )
        arrays = {name: arrays[name] for name in wanted.outputs}
    outputs, numbers = [], []
    for name, array in arrays.items():
        told: dict[str, Any] = {
            "name": name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": list(array.shape),
        }
        if wanted.binary if wanted.outputs is None else wanted.outputs[name]:
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            told["parameters"] = {"binary_data_size": len(data)}
            numbers.append(data)
        else:
            told["data"] = array.ravel()
        outputs.append(told)
    head: dict[str, Any] = {"model_name": model}
    if wanted.id is not None:
        head["id"] = wanted.id
    if values:
        head["parameters"] = values
    head["outputs"] = outputs
    return Inferred(BARE if numbers else JSON, json_bytes(head), numbers)


def named_arrays(result: Any, schema: marshmallow.Schema) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of an answer, each as its field says. Raises PluginFailed."""
    arrays = {
        name: _array(name, value, one.spec)
        for name, one, value in _members(result, schema)
        if isinstance(one, Tensor) and value is not None
    }
    if not arrays:
        raise PluginFailed("The model's answer has none of the tensors of its response schema.")
    return arrays


def unnamed_array(result: Any) -> np.ndarray[Any, Any]:
    """What a model without a response schema returned. Raises PluginFailed."""
    import numpy as np

    array = np.asarray(_on_cpu(result))
    if array.dtype.name not in DATATYPES:
        raise PluginFailed(
            "The model's answer is no tensor: its author can name the tensors of its answers in a "
            "response schema."
        )
    return np.ascontiguousarray(array).reshape(array.shape)


def _single_values(result: Any, schema: marshmallow.Schema) -> dict[str, Any]:
    return {
        name: value
        for name, one, value in _members(result, schema)
        if not isinstance(one, Tensor) and isinstance(value, (str, int, float, bool))
    }


def _members(result: Any, schema: marshmallow.Schema) -> Iterator[tuple[str, Any, Any]]:
    for key, one in schema.dump_fields.items():
        name = one.data_key if one.data_key is not None else key
        yield name, one, schema.get_attribute(result, one.attribute or key, None)


def _array(name: str, value: Any, spec: ArraySpec) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        return to_array(np.asarray(_on_cpu(value)), spec)
    except ArrayFault as fault:
        told = f"The model's answer does not fit its own response schema: {name}: {fault}"
        raise PluginFailed(told) from fault


def _on_cpu(value: Any) -> Any:
    """numpy reads no torch tensor that is on another device or part of a gradient."""
    return value.detach().cpu() if callable(getattr(value, "detach", None)) else value
