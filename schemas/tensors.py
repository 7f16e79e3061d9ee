"""Which of a model's arguments and answers are tensors, as the Open Inference Protocol tells them.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Read by
the front and by workers: standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .description import FieldDescription, ModelDescription

NPY = "application/x-npy"
BARE = "application/octet-stream"
DATATYPES = {
    "bool": "BOOL",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
"""The protocol's word for each dtype that a tensor may have."""


def tensors(fields: Sequence[FieldDescription] | None) -> list[FieldDescription]:
    return [field for field in fields or () if field.kind == "tensor"]


def body_tensor(fields: Sequence[FieldDescription] | None) -> FieldDescription | None:
    """The argument that a body of nothing but numbers is meant for; None if that is not plain.

    A model that takes files gets such a body as a file.
    """
    if any(
        "file" in (field.kind, field.items.kind if field.items else "") for field in fields or ()
    ):
        return None
    found = tensors(fields)
    required = [field for field in found if field.required]
    if len(required) == 1 or len(found) == 1:
        return (required if len(required) == 1 else found)[0]
    return None


def answer_tensor(fields: Sequence[FieldDescription] | None) -> FieldDescription | None:
    """The one tensor that an answer consists of; None if it has other members, or no schema."""
    return fields[0] if fields and len(fields) == 1 and fields[0].kind == "tensor" else None


def can_infer(described: ModelDescription | None) -> bool:
    """True for a model that clients of the protocol can call: it needs tensors and nothing else."""
    if described is None or "predict" not in described.capabilities:
        return False
    arguments = described.predict_arguments
    needed = [field for field in arguments or () if field.required]
    return bool(tensors(arguments)) and all(field.kind == "tensor" for field in needed)


def tensor_metadata(fields: Sequence[FieldDescription] | None) -> list[dict[str, Any]]:
    """The protocol's `$metadata_tensor` of each; a shape that is wholly free is told as `[-1]`."""
    return [
        {
            "name": field.name,
            "datatype": DATATYPES.get(field.dtype or "float32", "FP32"),
            "shape": [-1] if field.shape is None else list(field.shape),
        }
        for field in tensors(fields)
    ]
