"""One numpy array out of what a client sends for a tensor: checked as a whole, never item by item.

Accepted: a number, a list, nested lists, `{"shape": [...], "dtype": "float32", "data": "<base64>"}`
(C order, little endian), or bare base64 text where the shape is fully known. Runs in the worker.
Python 3.8 syntax.
"""

from __future__ import annotations

import base64
import binascii
import json
from array import array as c_array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip

_MOST_AXES = 32  # numpy's own limit before 2.0
_LONGEST_AXIS = 2**63 - 1
_CODES = {"float32": "f", "float64": "d"}
_FEW = 4096  # numbers of a list that are read as C's own
_SHOWN = 60  # characters of a client's text that a message repeats


class ArrayFault(ValueError):
    """The value is not an array of the kind that was asked for; the text tells what and why."""


@dataclass(frozen=True)
class ArraySpec:
    """What an array has to be. An axis of None is free; a shape of None leaves all of it free.

    Bounds are inclusive. With `allow_nan` a NaN or an infinity is let through, and JSON's `null`
    is read as NaN.
    """

    dtype: str = "float32"
    shape: tuple[int | None, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    allow_nan: bool = False

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape if no axis of it is free."""
        if self.shape is None or None in self.shape:
            return None
        return tuple(axis for axis in self.shape if axis is not None)


def to_array(value: Any, spec: ArraySpec) -> np.ndarray[Any, Any]:
    """A new array: writable, in C order, of exactly this dtype. Raises ArrayFault."""
    # numpy takes 100 ms to import, and a plugin without tensors need not have it at all.
    import numpy as np

    if isinstance(value, str):
        value = _from_text(value, spec)
    if isinstance(value, dict):
        value = _from_object(value, spec)
    try:
        if isinstance(value, np.ndarray):
            array = _cast(value, spec)
        elif isinstance(value, (list, tuple, int, float)):
            array = (_floats if spec.dtype.startswith("float") else _wholes)(value, spec)
        else:
            raise ArrayFault(
                f"Not an array: expected numbers in (nested) lists, got {_kind(value)}."
            )
    except MemoryError as error:
        raise ArrayFault("The array is too large for this server's memory.") from error
    _check_shape(array.shape, spec)
    _check_range(array, spec)
    return array


def to_json(value: Any, dtype: str, as_base64: bool) -> Any:
    """Nested lists, or the base64 object, of anything that numpy can read as an array."""
    # Imported here for the same reason as in `to_array`.
    import numpy as np

    array = np.asarray(value, dtype=dtype)
    if not as_base64:
        return array.tolist()
    data = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    return {
        "shape": list(array.shape),
        "dtype": dtype,
        "data": base64.b64encode(data).decode("ascii"),
    }


# -- base64 -----------------------------------------------------------------------------------


def _from_text(text: str, spec: ArraySpec) -> Any:
    """The value of a JSON text or, as base64 has neither bracket, of bare base64."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArrayFault(f"Not valid JSON: {error}") from error
    shape = spec.known_shape
    if shape is None:
        raise ArrayFault(
            "Bare base64 text does not tell its shape, which is free here: send (nested) lists or "
            '{"shape": [...], "dtype": "' + spec.dtype + '", "data": "<base64>"}.'
        )
    return _decode(text, shape, spec.dtype)


def _from_object(value: dict[str, Any], spec: ArraySpec) -> np.ndarray[Any, Any]:
    unknown = sorted(str(key) for key in set(value) - {"shape", "dtype", "data"})
    if unknown or not isinstance(value.get("data"), str):
        raise ArrayFault(
            'Expected an object with "shape", "dtype" and "data" (base64 text)'
            + (f"; it also has {', '.join(unknown)[:_SHOWN]}." if unknown else ".")
        )
    dtype = value.get("dtype", spec.dtype)
    if dtype not in DTYPES:
        raise ArrayFault(f'"dtype" must be one of {", ".join(DTYPES)}.')
    shape = value.get("shape", spec.known_shape)
    if shape is None:
        raise ArrayFault('"shape" is missing, and is not fixed here.')
    if not is_shape(shape):
        raise ArrayFault(f'"shape" must be a list of at most {_MOST_AXES} whole numbers from 0.')
    # Compared before anything is decoded: a claimed shape must not make us allocate it.
    _check_shape(tuple(shape), spec)
    return _decode(value["data"], tuple(shape), dtype)


def is_shape(value: Any) -> bool:
    """True for a list of whole numbers that a shape of numpy's can have."""
    return (
        isinstance(value, (list, tuple))
        and len(value) <= _MOST_AXES
        and all(
            isinstance(axis, int) and not isinstance(axis, bool) and 0 <= axis <= _LONGEST_AXIS
            for axis in value
        )
    )


def reshaped(
    array: np.ndarray[Any, Any], shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> np.ndarray[Any, Any]:
    """The array in this shape, which has as many numbers. Raises ArrayFault.

    numpy refuses shapes that no memory could have, also of no numbers at all: (0, 2**62).
    """
    try:
        return array.reshape(tuple(shape), order=order)
    except (ValueError, OverflowError) as error:
        raise ArrayFault(f"No array has the shape {_told(shape)}: it is too large.") from error


def _decode(text: str, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        # The `base64` command breaks its lines; the alphabet itself has no white space.
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ArrayFault(f"The data are not valid base64: {error}.") from error
    item = np.dtype(dtype).newbyteorder("<")
    expected = item.itemsize
    for axis in shape:
        expected *= axis
    if len(data) != expected:
        raise ArrayFault(
            f"{dtype} of shape {_told(shape)} takes {_short(expected)} bytes, got {len(data)}."
        )
    if dtype == "bool" and data.strip(b"\x00\x01"):
        raise ArrayFault("bool data may hold only the bytes 0 and 1.")
    return reshaped(np.frombuffer(data, dtype=item), shape)


# -- lists ------------------------------------------------------------------------------------


def _floats(value: Any, spec: ArraySpec) -> np.ndarray[Any, Any]:
    """One pass from Python numbers (or their texts, from a query) to the final dtype."""
    import numpy as np

    if type(value) is list and spec.dtype in _CODES and len(value) <= _FEW:
        row = _row(value, spec.dtype)
        if row is not None:
            return row
    try:
        with np.errstate(over="ignore"):
            array = np.array(value, dtype=spec.dtype, order="C")
    except OverflowError as error:
        raise ArrayFault(f"A number is too large for {spec.dtype}.") from error
    except (TypeError, ValueError) as error:
        raise _not_numbers(error) from error
    if array.ndim > _MOST_AXES:
        raise _too_deep()
    _check_finite(array, spec)
    return array


def _row(numbers: list[Any], dtype: str) -> np.ndarray[Any, Any] | None:
    """A short list of finite numbers in a third of the time; None: to be read with more care."""
    import numpy as np

    try:
        row = np.frombuffer(c_array(_CODES[dtype], numbers), dtype=dtype)
    except (TypeError, ValueError, OverflowError):  # texts, lists, nothing at all
        return None
    return row if np.logical_and.reduce(np.isfinite(row)) else None


def _wholes(value: Any, spec: ArraySpec) -> np.ndarray[Any, Any]:
    """Whole numbers or booleans, exactly.

    By way of objects: numpy would cut 1.5 to 1, and would make one wide text column of a list in
    which a single long text stands (a few MB in, gigabytes out).
    """
    import numpy as np

    try:
        objects = np.array(value, dtype=object)
    except ValueError as error:
        raise _not_numbers(error) from error
    if objects.ndim > _MOST_AXES:
        raise _too_deep()
    kinds = set(map(type, objects.flat))
    if kinds & {list, tuple}:
        raise _ragged()
    if not kinds <= {int, bool}:
        whole = [_whole(item) for item in objects.flat]
        shape = objects.shape
        objects = np.empty(len(whole), dtype=object)
        objects[:] = whole
        objects = objects.reshape(shape)
    if objects.size:
        _check_fits(int(min(objects.flat)), int(max(objects.flat)), spec.dtype)
    return objects.astype(spec.dtype)


def _whole(item: Any) -> int:
    if isinstance(item, (int, float, str)):
        try:
            number = int(item)
        except (ValueError, OverflowError):
            number = None
        if number is not None and (isinstance(item, str) or number == item):
            return number
    raise ArrayFault(f"Not a whole number: {_short(item)}.")


# -- checks -----------------------------------------------------------------------------------


def _cast(array: np.ndarray[Any, Any], spec: ArraySpec) -> np.ndarray[Any, Any]:
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise ArrayFault(f"Expected {spec.dtype}, got an array of {array.dtype}.")
    if spec.dtype.startswith("float"):
        with np.errstate(over="ignore"):
            result = np.array(array, dtype=spec.dtype, order="C")
        _check_finite(result, spec)
        return result
    if array.size:
        if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.trunc(array))).all():
            raise ArrayFault(f"Expected whole numbers for {spec.dtype}, got fractions or NaN.")
        _check_fits(int(array.min()), int(array.max()), spec.dtype)
    return np.array(array, dtype=spec.dtype, order="C")


def _check_finite(array: np.ndarray[Any, Any], spec: ArraySpec) -> None:
    import numpy as np

    # Not `.all()`, which goes by way of Python.
    if not spec.allow_nan and not np.logical_and.reduce(np.isfinite(array), axis=None):
        raise ArrayFault(f"null, NaN, infinity and numbers too large for {spec.dtype} are refused.")


def _check_fits(lowest: int, highest: int, dtype: str) -> None:
    import numpy as np

    if dtype == "bool":
        least, most = 0, 1
    else:
        info = np.iinfo(dtype)
        least, most = int(info.min), int(info.max)
    for number in (lowest, highest):
        if not least <= number <= most:
            raise ArrayFault(f"{dtype} holds {least} to {most}, got {_short(number)}.")


def _check_shape(got: Sequence[int], spec: ArraySpec) -> None:
    expected = spec.shape
    if expected is None or got == expected:
        return
    if len(got) != len(expected) or any(
        axis not in (None, size)
        for axis, size in zip(expected, got)  # noqa: B905 - Python 3.8
    ):
        raise ArrayFault(f"Expected shape {_told(expected)}, got {_told(got)}.")


def _check_range(array: np.ndarray[Any, Any], spec: ArraySpec) -> None:
    if not array.size or (spec.minimum is None and spec.maximum is None):
        return
    # NaN, where it is allowed, compares false and so passes both.
    rules: list[tuple[float | None, str, Callable[[float], Any], Callable[[Any], Any]]] = [
        (spec.minimum, "at least", lambda bound: array < bound, min),
        (spec.maximum, "at most", lambda bound: array > bound, max),
    ]
    for bound, words, beyond, worst in rules:
        if bound is not None and (wrong := beyond(bound)).any():
            got = worst(array[wrong].tolist())
            raise ArrayFault(f"Numbers must be {words} {bound}, got {got}.")


# -- words ------------------------------------------------------------------------------------


def _not_numbers(error: Exception) -> ArrayFault:
    text = str(error)
    if "inhomogeneous" in text or "with a sequence" in text or "depth" in text:
        return _ragged()
    return ArrayFault(f"Not numbers: {_short(error)}.")


def _ragged() -> ArrayFault:
    return ArrayFault("Not a regular array: lists at one depth have different lengths.")


def _too_deep() -> ArrayFault:
    return ArrayFault(f"Nested too deeply: an array has at most {_MOST_AXES} axes.")


def _told(shape: Sequence[int | None]) -> str:
    axes = ["any" if axis is None else str(axis) for axis in shape]
    return "({})".format(", ".join(axes) + ("," if len(axes) == 1 else ""))


def _kind(value: Any) -> str:
    return {"NoneType": "null", "bool": "a boolean"}.get(type(value).__name__, type(value).__name__)


def _short(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, (int, Exception)) else repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        return "a very large number"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
