"""Every function in a decorator that turns what went wrong into a bad request."""

import functools

from aiohttp.web import HTTPBadRequest
from webargs import fields


def catch_error(function):
    @functools.wraps(function)
    def wrap(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as e:
            raise HTTPBadRequest(reason=e)

    return wrap


def catch_text(function):
    @functools.wraps(function)
    def wrap(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as e:
            raise HTTPBadRequest(reason=str(e))

    return wrap


@catch_error
def get_metadata():
    return {"name": "decorated", "description": "All in a decorator"}


@catch_error
def warm():
    print("nothing to warm")


@catch_error
def get_predict_args():
    return {"text": fields.Bool(missing=False), "number": fields.Int(missing=0)}


@catch_error
def get_train_args():
    return {"number": fields.Int(missing=0)}


def predict(text, **kwargs):
    return (_predict_text if text else _predict)(**kwargs)


@catch_error
def _predict(number):
    return {"inverse": 1 / number}


@catch_text
def _predict_text(number):
    return {"inverse": 1 / number}


@catch_error
def train(number):
    return {"inverse": 1 / number}
