"""A DEEPaaS 2.6 module, as its documentation writes one.

`deepaas_server.py` makes its entry point.
"""

import os
from pathlib import Path

import numpy as np
from network import Network, decode
from webargs import fields

NETWORK = None


def get_metadata():
    return {"name": "bench", "summary": "benchmark", "author": "", "license": ""}


def warm():
    """Runs in the worker too: it is a fork of the server."""
    global NETWORK
    NETWORK = Network(os.environ["BENCH_KIND"])


def get_predict_args():
    if os.environ["BENCH_KIND"] == "perceptron":
        return {"x": fields.List(fields.Float(), required=True)}
    return {"x": fields.Field(required=True, type="file", location="form")}


def predict(**arguments):
    if NETWORK is None:
        warm()
    value = arguments["x"]
    if NETWORK.kind == "perceptron":
        inputs = np.array(value, np.float32)
    else:
        inputs = decode(Path(value.filename).read_bytes())
    return NETWORK.predict([inputs])[0].tolist()
