"""What a run reports: written in batches, read while it is written."""

from __future__ import annotations

import math
import resource
import struct
import time
from enum import Enum

import numpy
import pytest

from modelyard.training.context import RunContext
from modelyard.training.events import crc32c, record
from modelyard.training.messages import RunOrder
from modelyard.training.metrics import MetricsWriter, Point, read_points, read_series
from modelyard.training.paths import RunPaths, read_json
from modelyard.training.reporting import Reporter


class Name(str, Enum):
    LOSS = "loss"


@pytest.fixture
def reporting(tmp_path):
    """A run context whose reporter works, as in a run process."""
    paths = RunPaths(tmp_path)
    reporter = Reporter(paths)
    reporter.start()
    yield RunContext(paths, RunOrder(id="0" * 32, model="m", source={}), reporter), reporter, paths
    reporter.close()


def test_series_are_read_by_name_and_since_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write([Point(n, 10.0 + n, {"a": n * 1.0, "b": 0.5}) for n in range(4)])
    found = read_series(path, names=["a"], since=1)
    assert found.series == {"a": [[2, 12.0, 2.0], [3, 13.0, 3.0]]} and found.last_step == 3


def test_reading_goes_on_from_an_offset_and_waits_for_whole_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write([Point(1, 0.0, {"a": 1.0})])
    with path.open("ab") as file:
        file.write(b'{"step":2,"time":0.0,')
    points, offset = read_points(path)
    assert [point.step for point in points] == [1]
    with path.open("ab") as file:
        file.write(b'"values":{"a":2.0}}\n')
    points, offset = read_points(path, offset)
    assert [point.step for point in points] == [2]
    assert read_points(path, offset) == ([], offset)


def test_line_of_a_killed_writer_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1,"ti')
    MetricsWriter(path).write([Point(2, 0.0, {"a": 1.0})])
    assert [point.step for point in read_points(path)[0]] == [2]


def test_no_metrics_yet_is_an_empty_answer(tmp_path):
    assert read_series(tmp_path / "none").series == {}
    assert read_points(tmp_path / "none") == ([], 0)


def test_nan_is_null(reporting):
    run, reporter, paths = reporting
    run.report(1, loss=math.nan, accuracy=0.5, grad=math.inf)
    reporter.flush()
    assert read_points(paths.metrics)[0][0].values == {"loss": None, "accuracy": 0.5, "grad": None}


def test_value_that_is_no_number_fails_in_the_call_that_reports_it(reporting):
    run, _, _ = reporting
    for value in ("high", "1.5", None, [1.0], 1j, 10**400):
        with pytest.raises(ValueError, match="'loss'"):
            run.report(1, loss=value)


def test_values_of_other_number_types_are_reported_as_floats(reporting):
    run, reporter, paths = reporting
    run.report(numpy.int64(2), a=1, b=numpy.float32(0.5), c=numpy.float64(2.5), d=True)
    run.report(2**63 - 1, **{Name.LOSS: 1.0})
    reporter.flush()
    points = read_points(paths.metrics)[0]
    assert points[0].step == 2 and points[0].values == {"a": 1.0, "b": 0.5, "c": 2.5, "d": 1.0}
    assert points[1].step == 2**63 - 1 and points[1].values == {"loss": 1.0}


@pytest.mark.parametrize("step", [2**63, 2**70, -1, 1.5, "1", None])
def test_step_that_is_no_count_is_refused_in_the_call(reporting, step):
    run, reporter, paths = reporting
    with pytest.raises(ValueError, match="the step"):
        run.report(step, loss=1.0)
    reporter.flush()
    assert read_points(paths.metrics)[0] == []


@pytest.mark.parametrize("name", ["\ud800", "x" * 201])
def test_name_that_cannot_be_written_is_refused_in_the_call(reporting, name):
    run, _, _ = reporting
    run.report(1, **{"x" * 200: 1.0})
    with pytest.raises(ValueError, match="the name of a metric"):
        run.report(2, **{"x" * 200: 1.0, name: 1.0})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, "much", None, 10**400])
def test_progress_that_is_no_finite_number_is_refused_in_the_call(reporting, number):
    run, reporter, paths = reporting
    run.progress(1, 2)
    for done, total in ((number, 2), (2, number)):
        with pytest.raises(ValueError, match="progress"):
            run.progress(done, total)
    reporter.flush()
    assert (read_json(paths.status)["done"], read_json(paths.status)["total"]) == (1.0, 2.0)


def test_full_disk_delays_metrics_and_loses_none(reporting):
    run, reporter, paths = reporting
    run.report(1, loss=1.0)
    reporter.flush()
    limit = paths.metrics.stat().st_size + 20  # room for half a line
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        run.report(2, loss=0.5)
        reporter.flush()
        assert [point.step for point in read_points(paths.metrics)[0]] == [1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    reporter.flush()
    assert [point.step for point in read_points(paths.metrics)[0]] == [1, 2]


def test_first_report_begins_the_training_phase(reporting):
    run, reporter, paths = reporting
    reporter.changed(now=True)
    assert read_json(paths.status)["phase"] == "starting"
    run.report(1, loss=1.0)
    assert read_json(paths.status)["phase"] == "training"


def test_reports_are_seen_within_a_second_without_a_flush(reporting):
    run, _, paths = reporting
    run.report(1, loss=1.0)
    end = time.monotonic() + 5
    while not read_points(paths.metrics)[0]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_checksum_is_crc32c():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720, B.4)


def test_event_record_is_framed_as_tfrecord():
    framed = record(b"data")
    assert struct.unpack("<Q", framed[:8]) == (4,) and framed[12:16] == b"data"
    assert len(framed) == 8 + 4 + 4 + 4


@pytest.mark.slow
def test_asking_whether_to_stop_and_reporting_read_and_write_no_file(reporting, tmp_path):
    """They are called at every step: a file that is opened and written costs ten times as much."""
    run, _, _ = reporting

    def write():
        with (tmp_path / "file").open("w") as file:
            file.write("0.1")

    file_s = _seconds(write, 500)
    assert _seconds(lambda: run.should_stop, 20_000) < file_s / 3
    assert _seconds(lambda: run.report(1, loss=0.1, accuracy=0.2), 500) < file_s / 3


def _seconds(call, times: int) -> float:
    """This thread's own: what else the machine does is not counted. The best of ten."""
    took = []
    for _ in range(10):
        began = time.thread_time()
        for _ in range(times):
            call()
        took.append((time.thread_time() - began) / times)
    return min(took)


def test_what_an_interrupted_attempt_reported_after_its_checkpoint_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write([Point(n, 1.0, {"a": 1.0, "old": 1.0}) for n in range(6, 10)])
    again = MetricsWriter(path)
    again.resume_after(7)
    assert read_series(path).last_step == 7
    again.write([Point(8, 2.0, {"a": 2.0})])
    found = read_series(path)
    assert found.series == {
        "a": [[6, 1.0, 1.0], [7, 1.0, 1.0], [8, 2.0, 2.0]],
        "old": [[6, 1.0, 1.0], [7, 1.0, 1.0]],
    }
    assert found.last_step == 8
    assert [point.step for point in read_points(path)[0]] == [6, 7, 8, 9, 8]
