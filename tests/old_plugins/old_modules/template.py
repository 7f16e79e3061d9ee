"""The pattern of the platform's advanced template.

Schemas with `Meta.ordered`, a field of its own that lists the model folder when it validates, a
decorator that adds `get_predict_args` to this module, `accept` as a required header, and
`HTTPException(reason=<exception object>)` round everything.
"""

import io
import json
import logging
import os
import sys
import time

import marshmallow
from aiohttp.web import HTTPException
from webargs import ValidationError, fields, validate

from . import paths

logger = logging.getLogger(__name__)
logger.setLevel(os.getenv("API_LOG_LEVEL", default="INFO").upper())

PARSERS = {
    "application/json": lambda result: result,
    "text/plain": lambda result: json.dumps(result),
    "application/octet-stream": lambda result: io.BytesIO(json.dumps(result).encode()),
}


class ModelName(fields.String):
    def _deserialize(self, value, attr, data, **kwargs):
        if value not in paths.folders(paths.MODELS):
            raise ValidationError(f"Checkpoint `{value}` not found.")
        return str(paths.MODELS / value)


class PredArgsSchema(marshmallow.Schema):
    class Meta:
        ordered = True

    model_name = ModelName(
        metadata={"description": "Checkpoint to predict with."},
        required=True,
    )
    input_file = fields.Field(
        metadata={"description": "File to predict.", "type": "file", "location": "form"},
        required=True,
    )
    batch_size = fields.Integer(required=False, validate=validate.Range(min=1))
    accept = fields.String(
        metadata={"description": "Return format.", "location": "headers"},
        required=True,
        validate=validate.OneOf(list(PARSERS)),
    )


class TrainArgsSchema(marshmallow.Schema):
    class Meta:
        ordered = True

    input_file = fields.Field(metadata={"type": "file", "location": "form"}, required=True)
    epochs = fields.Integer(load_default=1, validate=validate.Range(min=1))
    token = fields.String(load_only=True, load_default="", metadata={"format": "password"})


def arguments(name, schema):
    def keep(function):
        setattr(sys.modules[function.__module__], name, lambda: schema().fields)
        return function

    return keep


def get_metadata():
    try:
        return {
            "author": "A. Modeller",
            "description": "As the template has it",
            "models": paths.folders(paths.MODELS),
        }
    except Exception as err:
        raise HTTPException(reason=err) from err


def warm():
    logger.info("Warming up")


@arguments("get_predict_args", PredArgsSchema)
def predict(model_name, input_file, accept="application/json", **options):
    try:
        with open(input_file.filename, "rb") as file:
            size = len(file.read())
        result = {"model": os.path.basename(model_name), "size": size, "options": options}
        return PARSERS[accept](result)
    except Exception as err:
        raise HTTPException(reason=err) from err


@arguments("get_train_args", TrainArgsSchema)
def train(input_file, **options):
    try:
        with open(input_file.filename, "rb") as file:
            text = file.read().decode()
        folder = paths.MODELS / time.strftime("trained-%Y%m%d%H%M%S")
        folder.mkdir(parents=True)
        (folder / "weights.txt").write_text(text)
        logger.info("Trained with %s", sorted(options))
        return {"folder": str(folder), "file": input_file.original_filename}
    except Exception as err:
        raise HTTPException(reason=err) from err
