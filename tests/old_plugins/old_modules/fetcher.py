"""Fetches what it is told to, as image classifiers of old do (`urls`)."""

import io
import urllib.request

import requests
from webargs import fields

HOME = "http://127.0.0.1:1/of-the-module-itself"


def get_predict_args():
    return {
        "urls": fields.List(fields.Url(require_tld=False), missing=None),
        "image_url": fields.Str(missing=None),
        "text": fields.Str(missing=""),
        "tracker_url": fields.Str(missing=HOME),
        "by": fields.Str(missing="requests", enum=["requests", "urllib", "prefixed", "nothing"]),
    }


def _fetch(url, by):
    if by == "requests":
        return requests.get(url, timeout=20).text
    if by == "urllib":
        with urllib.request.urlopen(url, timeout=20) as answer:
            return io.BytesIO(answer.read()).getvalue().decode()
    if by == "prefixed":
        return requests.get(f"http://{url}", timeout=20).text
    return "not fetched"


def predict(**kwargs):
    urls = list(kwargs["urls"] or ())
    urls += [url for url in (kwargs["image_url"], kwargs["text"]) if url and ":" in url]
    return {"got": [_fetch(url, kwargs["by"]) for url in urls]}


def get_train_args():
    return {"data_url": fields.Str(required=True)}


def train(**kwargs):
    return {"got": _fetch(kwargs["data_url"], "requests")}
