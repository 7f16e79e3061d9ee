"""Every kind of result that a module hands back; `do` chooses."""

import datetime
import io
import os
import tempfile
import zipfile

from deepaas.model.v2.wrapper import ReturnedFile
from webargs import fields, validate

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364"
    "f80f00010501012718e3660000000049454e44ae426082"
)


def get_predict_args():
    return {
        "do": fields.Str(missing="dict"),
        "accept": fields.Str(
            missing="application/json",
            validate=validate.OneOf(
                ["application/json", "text/plain", "image/png", "image/*", "application/zip"]
            ),
        ),
    }


def predict(do, accept):
    return globals()["_" + do]()


def _dict():
    return {"label": "cat", "scores": [0.75, 0.25], "none": None, 1: "a number as key"}


def _list():
    return [1, "two", 3.0]


def _text():
    return "some text"


def _none():
    return None


def _number():
    return 0.5


def _tuple():
    return ("a", 1)


def _numpy():
    import numpy as np

    return {
        "scalar": np.float32(0.5),
        "whole": np.int64(7),
        "flag": np.bool_(True),
        "array": np.arange(4).reshape(2, 2),
    }


def _nan():
    return {"nan": float("nan"), "infinite": [float("inf"), -float("inf")]}


def _dates():
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    return {"moment": moment, "day": moment.date(), "set": {1}, "bytes": b"abc"}


def _object():
    return object()


def _bytes():
    return PNG


def _buffer():
    buffer = io.BytesIO()
    buffer.write(PNG)  # left at its end, as many do
    return buffer


def _rewound():
    return io.BytesIO(PNG)


def _write(suffix=".png", content=PNG):
    handle, path = tempfile.mkstemp(suffix)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path


def _file():
    return open(_write(), "rb")


def _path():
    return _write()


def _returned():
    return ReturnedFile(filename=_write(), content_type="image/png", original_filename="p.png")


def _archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("point.png", PNG)
    buffer.seek(0)
    return buffer
