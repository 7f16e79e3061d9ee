"""The pattern of the plankton classifier: every setting is a string that holds JSON.

26 train arguments with `enum` of JSON texts, `fields` imported from webargs and then again from
marshmallow, files under another `data_key`, errors returned as `{"status": "error"}` with 200.
"""

import functools
import json
from collections import OrderedDict

from deepaas.model.v2.wrapper import UploadedFile
from webargs import fields
from marshmallow import fields

VALUES = {
    "base_directory": ".",
    "images_directory": "/srv/data/images",
    "modelname": "EfficientNetV2B0",
    "image_size": 224,
    "num_classes": None,
    "mode": "normal",
    "initial_lr": 0.001,
    "batch_size": 32,
    "epochs": 3,
    "ckpt_freq": None,
    "lr_schedule_mode": "step",
    "lr_step_decay": 0.1,
    "lr_step_schedule": [0.7, 0.9],
    "l2_reg": 0.0001,
    "freeze_layers": False,
    "use_class_weights": False,
    "use_validation": True,
    "use_early_stopping": False,
    "use_multiprocessing": True,
    "use_tensorboard": True,
    "use_remote": False,
    "mean_RGB": None,
    "std_RGB": None,
    "preprocess_mode": "tf",
    "train_mode": {"h_flip": 0.5, "v_flip": 0.5},
    "val_mode": {"h_flip": 0.0},
}
CONF = {name: {"value": value} for name, value in VALUES.items()}
CONF["mode"]["choices"] = ["normal", "fast"]
for _name, _setting in CONF.items():
    if isinstance(_setting["value"], bool):
        _setting["choices"] = [True, False]


def _status(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        try:
            return {"status": "OK", "predictions": function(*args, **kwargs)}
        except Exception as error:
            return {"status": "error", "message": str(error)}

    return inner


def _arguments(arguments):
    for name, setting in CONF.items():
        options = {
            "load_default": json.dumps(setting["value"]),
            "metadata": {"description": "<font>Group name: **general**</font>"},
            "required": False,
        }
        if "choices" in setting:
            choices = [json.dumps(choice) for choice in setting["choices"]]
            options["metadata"]["enum"] = choices
            options["validate"] = fields.validate.OneOf(choices)
        arguments[name] = fields.Str(**options)
    return arguments


def get_train_args():
    return _arguments(OrderedDict())


def get_predict_args():
    arguments = OrderedDict()
    for name, key in (("image", "image"), ("zip", "zip_data")):
        arguments[name] = fields.Field(
            required=False,
            load_default=None,
            data_key=key,
            metadata={"description": f"Select the {name}.", "type": "file", "location": "form"},
        )
    return arguments


@_status
def predict(**args):
    if not any([args["image"], args["zip"]]):
        raise Exception("You must provide either 'image' or 'zip' in the payload")
    chosen = args["zip"] or args["image"]
    assert isinstance(chosen, UploadedFile)
    return {"name": chosen.name, "file": chosen.original_filename}


def train(**args):
    for name, text in args.items():
        CONF[name]["value"] = json.loads(text)
    print(json.dumps({name: CONF[name]["value"] for name in sorted(CONF)}))
    return {"modelname": "2026-01-02_030405", "epochs": CONF["epochs"]["value"]}


schema = {
    "status": fields.Str(),
    "message": fields.Str(),
    "predictions": fields.Field(),
}
