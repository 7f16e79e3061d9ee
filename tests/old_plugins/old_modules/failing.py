"""Every way to refuse; `do` chooses. What does worse is in `hostile`."""

import os
import time

from aiohttp import web
from webargs import ValidationError, fields


def get_predict_args():
    return {"do": fields.Str(missing="answer"), "seconds": fields.Float(missing=0.0)}


def get_train_args():
    return get_predict_args()


def predict(do, seconds):
    return globals()["_" + do](seconds)


def train(do, seconds):
    return globals()["_" + do](seconds)


def _answer(seconds):
    time.sleep(seconds)
    return {"pid": os.getpid(), "cwd": os.getcwd()}


def _bad_request(seconds):
    raise web.HTTPBadRequest(reason="the moon is full")


def _bad_request_of_error(seconds):
    try:
        {}["the moon"]
    except Exception as error:
        raise web.HTTPBadRequest(reason=error)


def _bare_of_error(seconds):
    try:
        raise ValueError("the moon is full")
    except Exception as err:
        raise web.HTTPException(reason=err) from err


def _bare_of_text(seconds):
    raise web.HTTPException(reason="the moon is full")


def _lines(seconds):
    raise web.HTTPBadRequest(reason="the moon\nis full")


def _lines_of_error(seconds):
    try:
        raise ValueError("the moon\nis full")
    except Exception as error:
        raise web.HTTPBadRequest(reason=error) from error


def _not_found(seconds):
    raise web.HTTPNotFound()


def _not_found_text(seconds):
    raise web.HTTPNotFound(reason="no such star", text="no such star on the map")


def _unprocessable(seconds):
    raise web.HTTPUnprocessableEntity(reason="cannot use it")


def _unavailable(seconds):
    raise web.HTTPServiceUnavailable(reason="the backend sleeps")


def _returned_exception(seconds):
    return web.HTTPBadRequest(reason="handed back")


def _ok(seconds):
    raise web.HTTPOk(text="fine")


def _redirect(seconds):
    raise web.HTTPFound("http://example.org/")


def _fail(seconds):
    raise ValueError("the moon is full")


def _chained(seconds):
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise RuntimeError("outer") from error


def _validation(seconds):
    raise ValidationError("cannot be that")


def _not_implemented(seconds):
    raise NotImplementedError("not yet")


def _attribute(seconds):
    return None.shape


def _status_error(seconds):
    return {"status": "error", "message": "the moon is full"}
