"""The pattern of the breed classifier.

Metadata built from its own fields (`.missing`, `.metadata["description"]`), a file or an address,
the uploaded file removed by the module itself, a Keras history returned by `train`.
"""

import os

from aiohttp.web import HTTPBadRequest
from deepaas.model.v2 import wrapper
from marshmallow import Schema
from webargs import fields


class PredictArgsSchema(Schema):
    network = fields.Str(
        required=False,
        missing="Resnet50",
        enum=["Resnet50", "VGG16"],
        description="Neural model to use",
    )
    files = fields.Field(
        required=False,
        missing=None,
        type="file",
        data_key="data",
        location="form",
        description="Select the image you want to classify.",
    )
    urls = fields.Url(required=False, missing=None, description="Address of the image")


class TrainArgsSchema(Schema):
    num_epochs = fields.Integer(required=False, missing=10, description="Epochs")
    sys_info = fields.Boolean(
        required=False, missing=False, enum=[True, False], description="Print about the run"
    )


class History:
    """What Keras' `fit` returns: an object that no JSON encoder knows."""

    def __init__(self):
        self.epoch = [0, 1]
        self.history = {"loss": [0.5, 0.25], "acc": [0.6, 0.7]}
        self.model = object()


def _described(arguments):
    return {
        name: {
            "default": field.missing,
            "type": str(type(field.missing)),
            "help": field.metadata["description"],
            "choices": field.metadata.get("enum"),
            "required": field.required,
        }
        for name, field in arguments.items()
    }


def get_metadata():
    return {
        "name": "breeds",
        "version": None,
        "help-train": _described(get_train_args()),
        "help-predict": _described(get_predict_args()),
    }


def get_predict_args():
    return PredictArgsSchema().fields


def get_train_args():
    return TrainArgsSchema().fields


def predict(**kwargs):
    try:
        if bool(kwargs["urls"]) == bool(kwargs["files"]):
            raise Exception("You must provide either 'url' or 'data' in the payload")
        if kwargs["urls"]:
            return {"Error": "Not (yet) implemented"}
        file = kwargs["files"]
        assert isinstance(file, wrapper.UploadedFile), type(file)
        size = os.path.getsize(file.filename)
        os.remove(file.filename)
        return [{"file": file.original_filename, "size": size, "network": kwargs["network"]}]
    except Exception as e:
        raise HTTPBadRequest(reason=str(e)) from e


def train(**kwargs):
    arguments = TrainArgsSchema().load(kwargs)
    for epoch in range(arguments["num_epochs"]):
        print("epoch", epoch)
    return History()
