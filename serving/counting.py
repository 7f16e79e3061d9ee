"""How many items a call counts for: what batches, queues and the metrics count. Runs in the front.

A file is an item. So is a row of a tensor whose author says that its first axis counts them
(`Tensor(many=True)`). Nobody reads a body for it: a shape that is told at its beginning is found,
the size of binary numbers is divided, the brackets of JSON are counted. What is told wrongly makes
a batch of another size, and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from ..schemas.description import FieldDescription, ModelDescription
from ..schemas.tensors import tensors
from ..schemas.transport import RequestData

Counter = Callable[[RequestData], int]

_NPY = b"\x93NUMPY"
_NPY_SHAPE = re.compile(rb"'shape': \((\d+)")
_JSON_SHAPE = re.compile(rb'"shape"\s*:\s*\[\s*(\d{1,12})\b')
_BEGINNING = 4096  # bytes in which a shape is looked for


def counter(described: ModelDescription | None) -> Counter:
    """What counts the items of this model's calls."""
    rows = [
        field
        for field in tensors(described.predict_arguments if described else None)
        if field.many and field.shape
    ]
    if not rows:
        return _files
    field = rows[0]

    def count(request: RequestData) -> int:
        return min(_rows(request, field), max(1, _size(request)))

    return count


def _files(request: RequestData) -> int:
    return len(request.files) or 1


def _size(request: RequestData) -> int:
    return len(request.body) + sum(part.size for part in request.parts)


def _rows(request: RequestData, field: FieldDescription) -> int:
    body = request.body
    if request.raw is not None and request.raw.content is not None:
        body = request.raw.content
    beginning = body[:_BEGINNING]
    shape = field.shape or []
    if request.kind == "tensor":
        told = _NPY_SHAPE.search(beginning) if beginning.startswith(_NPY) else None
        each = math.prod(axis for axis in shape[1:] if axis > 0) * _width(field)
        return max(1, int(told[1]) if told else _size(request) // each)
    told = _JSON_SHAPE.search(beginning)
    if told is not None:
        return max(1, int(told[1]))
    if len(shape) == 1:
        return body.count(b",") + 1
    # [[1, 2], [3, 4]]: a bracket around all, and those of each row.
    inner, each = 1, 1
    for axis in shape[1:-1]:
        inner *= max(1, axis)
        each += inner
    return max(1, (body.count(b"[") - 1) // each)


def _width(field: FieldDescription) -> int:
    """Bytes of one number."""
    bits = (field.dtype or "float32").lstrip("uintfloa")
    return int(bits) // 8 if bits.isdigit() else 1
