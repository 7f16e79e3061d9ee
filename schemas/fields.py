"""Fields for a model's arguments beside marshmallow's own: arrays and files.

    from modelyard.schemas.fields import File, Files, Tensor

They deserialise in the worker. marshmallow 3 and 4, Python 3.8 syntax.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import marshmallow
from marshmallow import fields, validate

from .arrays import DTYPES, ArrayFault, ArraySpec, to_array, to_json

_UNTOLD = ("", "application/octet-stream")
"""Content types with which a client only says that it does not know."""


class Tensor(fields.Field):
    """One numpy array: dtype `dtype`, shape `shape`, C order, writable.

    `shape=(3, None, None)` leaves the last two axes free, `shape=None` everything. `minimum` and
    `maximum` bound every number, inclusively. NaN, infinities and null are refused unless
    `allow_nan`. A client sends nested lists, or base64 of little-endian bytes (see `arrays.py`);
    an answer is written as nested lists, or with `encoding="base64"` as that object. With `many`
    the first axis counts items, each of which may be batched by itself: queues, batches and metrics
    count so many for a call.

    A 3x64x64 image takes about 0.5 ms where `List(List(List(Float)))` takes 30.
    """

    def __init__(
        self,
        shape: Iterable[int | None] | None = None,
        dtype: str = "float32",
        minimum: float | None = None,
        maximum: float | None = None,
        allow_nan: bool = False,
        encoding: str = "list",
        many: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
        if name not in DTYPES:
            raise ValueError(f"Tensor: dtype {name!r} is not one of {', '.join(DTYPES)}.")
        if encoding not in ("list", "base64"):
            raise ValueError(f"Tensor: encoding {encoding!r} is neither 'list' nor 'base64'.")
        if any(isinstance(rule, (validate.Range, validate.OneOf)) for rule in self.validators):
            # numpy would compare item by item, and marshmallow then ask for one truth value.
            raise ValueError("Tensor: write minimum= and maximum= in place of Range and OneOf.")
        self.spec = ArraySpec(name, _axes(shape), minimum, maximum, allow_nan)
        self.encoding = encoding
        self.many = many
        axes = self.spec.shape
        if many and (not axes or axes[0] is not None or None in axes[1:]):
            raise ValueError("Tensor: many= needs a shape whose first axis alone is free.")

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if type(value) is list and not self.validators:  # as below, with less around it
            return self._deserialize(value, attr, data)
        result = super().deserialize(value, attr, data, **kwargs)
        # A default is written as a list, and the model gets an array all the same.
        if value is marshmallow.missing and isinstance(result, (list, tuple, int, float)):
            return self._deserialize(result, attr, data)
        return result

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return to_array(value, self.spec)
        except ArrayFault as fault:
            raise marshmallow.ValidationError(str(fault)) from fault

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        if value is None:
            return None
        return to_json(value, self.spec.dtype, self.encoding == "base64")


class File(fields.Field):
    """One uploaded file; the model gets an `UploadedFile` (`.filename` is its path on disk).

    `content_types` are patterns (`"image/*"`), matched with what the client says or, where it says
    nothing, with what the name's suffix means; `suffixes` (`".png"`) are matched with the name,
    whatever its case; `max_bytes` is the largest size.
    """

    default_error_messages = {
        "not_a_file": "Not a file: send it as multipart/form-data.",
        "content_type": "Expected a file of the content type {expected}, got {got}.",
        "suffix": "Expected a file whose name ends in {expected}, got {got!r}.",
        "too_large": "The file has {got} bytes; at most {expected} are taken.",
    }

    def __init__(
        self,
        content_types: Iterable[str] = (),
        suffixes: Iterable[str] = (),
        max_bytes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.content_types = tuple(item.lower() for item in _strings(content_types))
        self.suffixes = tuple(
            ("" if item.startswith(".") else ".") + item.lower() for item in _strings(suffixes)
        )
        self.max_bytes = max_bytes

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        # Its path is asked for last: a small file is at none until somebody does.
        name = getattr(value, "original_filename", None) or getattr(value, "filename", None)
        if not isinstance(name, str):
            raise self.make_error("not_a_file")
        self._check_content_type(getattr(value, "content_type", "") or "", name)
        if self.suffixes and not name.lower().endswith(self.suffixes):
            raise self.make_error("suffix", expected=" or ".join(self.suffixes), got=name[-60:])
        size = getattr(value, "size", 0)
        if self.max_bytes is not None and size > self.max_bytes:
            raise self.make_error("too_large", expected=self.max_bytes, got=size)
        return value

    def _check_content_type(self, told: str, name: str) -> None:
        told = told.partition(";")[0].strip().lower()
        if told in _UNTOLD:
            told = mimetypes.guess_type(name)[0] or told or _UNTOLD[1]
        if self.content_types and not any(fnmatchcase(told, item) for item in self.content_types):
            raise self.make_error(
                "content_type", expected=" or ".join(self.content_types), got=told[:60]
            )

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        """What a record shows of a file: the client's name for it."""
        return None if value is None else getattr(value, "original_filename", None) or str(value)


class Files(fields.List):
    """Several uploaded files under one name; a single one makes a list of one.

    Takes what `File` takes, for each of them. `validate=Length(max=10)` bounds their number.
    """

    def __init__(
        self,
        content_types: Iterable[str] = (),
        suffixes: Iterable[str] = (),
        max_bytes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(File(content_types, suffixes, max_bytes), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        files = value if isinstance(value, (list, tuple)) else [value]
        return super()._deserialize(files, attr, data, **kwargs)


def _axes(shape: Iterable[int | None] | None) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    axes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not (axis is None or (isinstance(axis, int) and axis >= -1)) for axis in axes):
        raise ValueError(f"Tensor: shape {axes!r} may hold whole numbers and None (a free axis).")
    return tuple(None if axis == -1 else axis for axis in axes)


def _strings(value: Iterable[str]) -> tuple[str, ...]:
    """A lone text is meant as one item, not as its letters."""
    return (value,) if isinstance(value, str) else tuple(value)
