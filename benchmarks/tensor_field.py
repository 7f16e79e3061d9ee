"""A small image as an argument: marshmallow's list of numbers, or the bulk tensor field."""

import base64
import time

import numpy as np
from marshmallow import Schema, fields
from yard import quartiles

from modelyard.schemas.fields import Tensor

ROUNDS = 15


class Stock(Schema):
    x = fields.List(fields.List(fields.List(fields.Float())))


class Bulk(Schema):
    x = Tensor(shape=(3, 64, 64), dtype="float32")


def _ms(schema: Schema, value: object) -> float:
    started = time.perf_counter()
    schema.load({"x": value})
    return (time.perf_counter() - started) * 1000


def measure() -> dict[str, str]:
    """3 x 64 x 64 numbers; A: List(List(List(Float))), B: Tensor from lists, C: from base64."""
    image = np.random.default_rng(0).random((3, 64, 64), dtype="float32")
    lists, text = image.tolist(), base64.b64encode(image.tobytes()).decode()
    stock, bulk, encoded = [], [], []
    for _ in range(ROUNDS):
        stock.append(_ms(Stock(), lists))
        bulk.append(_ms(Bulk(), lists))
        encoded.append(_ms(Bulk(), text))
    return {
        "List of floats, ms": quartiles(stock),
        "Tensor from lists, ms": quartiles(bulk),
        "Tensor from base64, ms": quartiles(encoded),
        "ratio Tensor / List": quartiles([b / a for a, b in zip(stock, bulk, strict=True)]),
    }
