"""Event files are written without protobuf, and are byte for byte what it would write."""

import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
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


def test_a_resumed_training_begins_a_session_as_protobuf_would(tmp_path):
    event = event_pb2.Event(wall_time=3.5, step=11)
    event.session_log.status = event_pb2.SessionLog.START
    assert events._session_start(3.5, 11) == event.SerializeToString()


def test_tensorboard_drops_what_an_interrupted_attempt_said_of_later_steps(tmp_path):
    first = events.EventsWriter(tmp_path / "1")
    first.write([Point(step, 1.0, {"loss": 1.0}) for step in range(1, 16)])
    first.close()
    again = events.EventsWriter(tmp_path / "2", resumed_after=10)
    again.write([Point(step, 2.0, {"loss": 2.0}) for step in range(11, 14)])
    again.close()
    folder = tmp_path / "both"
    folder.mkdir()
    for number, file in enumerate(sorted(tmp_path.glob("[12]/*"))):
        file.rename(folder / f"events.out.tfevents.{number}")
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    shown = [(one.step, one.value) for one in accumulator.Scalars("loss")]
    assert shown == [(n, 1.0) for n in range(1, 11)] + [(n, 2.0) for n in range(11, 14)]
