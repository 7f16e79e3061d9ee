"""What goes wrong in ways that nobody thinks of; `do` chooses."""

import os
import socket

from webargs import fields, validate


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def get_predict_args():
    return {
        "do": fields.Str(missing="fine"),
        "x": fields.Int(missing=0),
        "folder": fields.Str(missing=None, enum=["plain", os.fsdecode(b"mod\xe9le")]),
    }


def get_train_args():
    return {
        "do": fields.Str(missing="fine"),
        "x": fields.Int(missing=0),
        "made": fields.Int(missing=lambda: 0, validate=validate.Range(min=1)),
        "thing": fields.Raw(missing=object()),
    }


def predict(do, x, **kwargs):
    return globals()["_" + do](x)


def train(do, x, **kwargs):
    return globals()["_" + do](x)


def _fine(x):
    return {"x": x}


def _generator(x):
    return ({"label": name, "big": 10**30} for name in ("cat", "dog"))


def _failing_generator(x):
    def numbers():
        yield 1
        raise ValueError("the second row is broken")

    return numbers()


def _socket(x):
    return socket.socket()


def _module(x):
    return os


def _unspeakable(x):
    raise Unspeakable


def _surrogate(x):
    raise ValueError(os.fsdecode(b"caf\xe9 not found"))


def _group(x):
    raise BaseExceptionGroup("several", [KeyboardInterrupt("one"), ValueError("two")])


async def _async(x):
    return 1
