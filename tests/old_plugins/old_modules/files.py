"""Files as arguments, in every way that modules declare them."""

import os
import shutil

from deepaas.model.v2.wrapper import UploadedFile
from webargs import fields


def get_predict_args():
    return {
        "data": fields.Field(
            required=True, type="file", location="form", description="An image to look at"
        ),
        "second": fields.Field(missing=None, type="file", data_key="second-file"),
        "third": fields.Field(load_default=None, metadata={"type": "file", "location": "form"}),
        "bare": fields.Field(missing=None),
        "raw": fields.Raw(missing=None, type="file", location="form"),
        "remove": fields.Bool(missing=False),
    }


def _told(value):
    if not isinstance(value, UploadedFile):
        return [type(value).__name__, value]
    with open(value.filename, "rb") as file:
        content = file.read()
    return {
        "name": value.name,
        "filename": value.filename,
        "suffix": os.path.splitext(value.filename)[1],
        "content_type": value.content_type,
        "original_filename": value.original_filename,
        "size": len(content),
        "fields": list(value._fields),
        "as_tuple": len(tuple(value)),
        "replaced": value._replace(name="other").name,
    }


def predict(**kwargs):
    answer = {name: _told(value) for name, value in kwargs.items()}
    if kwargs["remove"]:
        os.remove(kwargs["data"].filename)
    return answer


def get_train_args():
    return {
        "data": fields.Field(required=True, type="file", location="form"),
        "labels": fields.Field(missing=None, type="file", location="form"),
    }


def train(data, labels=None):
    assert isinstance(data, UploadedFile), type(data)
    shutil.copy(data.filename, "copied.bin")  # in the folder that the server was started from
    with open("copied.bin", "rb") as file:
        size = len(file.read())
    os.remove("copied.bin")
    return {"size": size, "labels": labels is not None, "name": data.name}
