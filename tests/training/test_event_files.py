"""Event files are written without protobuf, and are byte for byte what it would write."""

import math

import pytest
from tensorboard.compat.proto import event_pb2

from modelyard.training import events
from modelyard.training.metrics import Point

VALUES = [
    {},
    {"loss": 0.0, "accuracy": -0.0},
    {"größe/ü": 1.5, "x" * 200: math.nan, "": 2.0},
    {"i": math.inf, "beyond": 1e300, "below": -1e300, "tiny": 1e-50, "none": None},
    {f"metric-{number}": float(number) for number in range(40)},
]


def by_protobuf(point):
    event = event_pb2.Event(wall_time=point.time, step=point.step)
    for name, value in point.values.items():
        if value is not None:
            event.summary.value.add(tag=name, simple_value=value)
    return event.SerializeToString()


@pytest.mark.parametrize("step", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
@pytest.mark.parametrize("values", VALUES, ids=range(len(VALUES)))
def test_a_point_is_what_protobuf_writes(step, values):
    point = Point(step, 1764000000.25, values)
    assert events._event(point) == by_protobuf(point)


def test_a_file_says_its_version_as_protobuf_would():
    event = event_pb2.Event(wall_time=3.5, file_version="brain.Event:2")
    assert events._version(3.5) == event.SerializeToString()
