"""A DEEPaaS 2.6 module, as its documentation writes one.

`deepaas_server.py` makes its entry point.
"""

import functools
import os
from pathlib import Path

import numpy as np
from network import Network, decode
from webargs import fields


@functools.cache
def network():
    """The worker is a fork of the server: made there, or here at the first call."""
    return Network(os.environ["BENCH_KIND"])


def get_metadata():
    return {"name": "bench", "summary": "benchmark", "author": "", "license": ""}


def warm():
    network()


def get_predict_args():
    if os.environ["BENCH_KIND"] == "perceptron":
        return {"x": fields.List(fields.Float(), required=True)}
    return {"x": fields.Field(required=True, type="file", location="form")}


def predict(**arguments):
    model = network()
    value = arguments["x"]
    if model.kind == "perceptron":
        inputs = np.array(value, np.float32)
    else:
        inputs = decode(Path(value.filename).read_bytes())
    return model.predict([inputs])[0].tolist()
