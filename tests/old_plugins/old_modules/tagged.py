"""The pattern of the detector modules.

Old keywords beside `metadata`, a bare Field for "a number or a list", a Bool with an `enum`, a
validator of `accept` with a wildcard, the environment mutated, a Python set returned by `train`.
"""

import datetime
import os

import marshmallow
from aiohttp.web import HTTPException
from deepaas.model.v2.wrapper import UploadedFile
from webargs import fields, validate

SETTINGS = {"name": None}


class PredArgsSchema(marshmallow.Schema):
    class Meta:
        ordered = True

    input = fields.Field(
        required=True,
        type="file",
        location="form",
        metadata={"description": "Input an image or a video.\nFormats: .png, .mp4"},
    )
    model = fields.Str(metadata={"description": "A timestamp"}, load_default=None)
    task_type = fields.Str(
        metadata={"description": "Task"}, load_default="det", enum=["det", "seg", "cls"]
    )
    conf = fields.Float(metadata={"description": "Threshold"}, load_default=0.25)
    augment = fields.Boolean(load_default=False, metadata={"description": "Augmentation"})
    classes = fields.Field(metadata={"description": "class=0, or class=[0,2,3]"}, load_default=None)
    accept = fields.String(
        missing="application/json",
        location="headers",
        description="Return format",
        validate=validate.OneOf(["application/json", "image/*", "text/csv"]),
    )


class TrainArgsSchema(marshmallow.Schema):
    model = fields.Str(enum=["n.yaml", "n.pt"], required=True)
    data = fields.Str(metadata={"description": "Config file"}, allow_none=True)
    resume = fields.Bool(load_default=True, enum=[True, False])
    lr0 = fields.Float(load_default=0.01)
    wandb_token = fields.Str(load_only=True, metadata={"format": "password"}, load_default=None)


def get_predict_args():
    return PredArgsSchema().fields


def get_train_args():
    return TrainArgsSchema().fields


def predict(**args):
    try:
        if not isinstance(args["input"], UploadedFile):
            raise TypeError(f"a file is expected, not {type(args['input']).__name__}")
        if args["task_type"] == "cls":
            raise ValueError("no weights for cls\nTrain first.")
        if args["accept"] == "text/csv":
            return "class,score\ncat,0.9\n"
        if args["accept"] == "image/*":
            with open(args["input"].filename, "rb") as file:
                return file.read()
        args["input"] = [args["input"].original_filename]
        return args
    except Exception as err:
        raise HTTPException(reason=err) from err


def train(**args):
    try:
        os.environ["WANDB_DISABLED"] = str(args["wandb_token"] is None)
        SETTINGS["name"] = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
        return {f"The model was trained and saved to: models/{args['model']}"}
    except Exception as err:
        raise HTTPException(reason=err) from err
