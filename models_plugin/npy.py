"""One array as the bytes of a `.npy` file, or as its bare numbers. Nothing is ever unpickled.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Runs in the worker. Python
3.8 syntax.
"""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArguments, InvalidRequest, UnsupportedMediaType
from ..schemas.arrays import ArrayFault, is_shape, reshaped
from ..schemas.description import FieldDescription
from ..schemas.tensors import NPY, body_tensor
from ..schemas.transport import RequestData

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_MAGIC = b"\x93NUMPY"
_HEADER = 16 * 1024  # bytes in which a header has to end; numpy's own are below 200


def document_of_array(
    request: RequestData, fields: Sequence[FieldDescription]
) -> dict[str, np.ndarray[Any, Any]]:
    """The array that is the whole body, under the name of the argument that it is meant for.

    Raises UnsupportedMediaType, InvalidRequest and InvalidArguments.
    """
    field = body_tensor(fields)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if field is None:
        raise UnsupportedMediaType(
            f"This model does not take a body of {kind}: send application/json, "
            "multipart/form-data or a form."
        )
    data = _data(request)
    if bytes(data[: len(_MAGIC)]) == _MAGIC:
        return {field.name: read_npy(data)}
    if kind == NPY:
        raise InvalidRequest(f"The body is not valid {NPY}: it does not begin with {_MAGIC!r}.")
    return {field.name: _bare(data, field)}


def read_npy(data: Any) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file's bytes, read-only and not copied. Raises InvalidRequest.

    numpy's own reader would make room for the shape that the header claims before it looks for the
    numbers.
    """
    import numpy as np

    stream = io.BytesIO(bytes(data[:_HEADER]))
    form = np.lib.format
    try:
        version = form.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = form.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = form.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version} is not taken")
    except Exception as error:  # of a parser of what a client wrote, which it may repeat
        raise InvalidRequest(f"The body is not valid {NPY}: {str(error)[:200]}") from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise InvalidRequest(f"An array of {str(dtype)[:60]} is not taken: send numbers.")
    if not is_shape(shape):
        raise InvalidRequest(
            f"The body is not valid {NPY}: its shape must be at most 32 whole numbers from 0."
        )
    count = 1
    for axis in shape:
        count *= axis
    start = stream.tell()
    if len(data) - start != count * dtype.itemsize:
        raise InvalidRequest(
            f"The body is not valid {NPY}: its header tells {count * dtype.itemsize} bytes, and "
            f"{len(data) - start} follow."
        )
    flat = np.frombuffer(data, dtype, count, start)
    if dtype.kind == "b" and flat.view(np.uint8).max(initial=0) > 1:
        raise InvalidRequest(
            f"The body is not valid {NPY}: bool data may hold only the bytes 0 and 1."
        )
    try:
        return reshaped(flat, shape, "F" if fortran else "C")
    except ArrayFault as fault:
        raise InvalidRequest(f"The body is not valid {NPY}: {fault}") from fault


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """The array as a `.npy` file."""
    import numpy as np

    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _data(request: RequestData) -> Any:
    """The bytes of the body; those of a file stay where they are until they are read."""
    if request.raw is None:
        return request.body
    if request.raw.content is not None:
        return request.raw.content
    with Path(request.raw.path).open("rb") as file:
        if not request.raw.size:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _bare(data: Any, field: FieldDescription) -> np.ndarray[Any, Any]:
    """Little-endian numbers in C order. One free axis of the shape is told by their count."""
    import numpy as np

    dtype = np.dtype(field.dtype or "float32").newbyteorder("<")
    shape = field.shape
    if shape is None or shape.count(-1) > 1:
        told = f"Bare numbers do not tell a shape of several free axes: send {NPY}."
        raise InvalidArguments({field.name: [told]})
    step = dtype.itemsize
    for axis in shape:
        step *= 1 if axis == -1 else axis
    if len(data) != step if -1 not in shape else (not step or len(data) % step):
        several = "a multiple of " if -1 in shape else ""
        told = f"{dtype.name} of shape {tuple(shape)} takes {several}{step} bytes, got {len(data)}."
        raise InvalidArguments({field.name: [told]})
    if dtype.kind == "b" and bytes(data).strip(b"\0\1"):
        raise InvalidArguments({field.name: ["bool data may hold only the bytes 0 and 1."]})
    return np.frombuffer(data, dtype).reshape(shape)
