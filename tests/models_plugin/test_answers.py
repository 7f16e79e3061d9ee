"""What plugins return becomes valid JSON or a file; what cannot is told."""

import collections
import dataclasses
import datetime
import decimal
import enum
import io
import ipaddress
import json
import math
import pathlib
import types
import uuid

import numpy as np
import pytest

from modelyard.errors import PluginFailed
from modelyard.models_plugin import ReturnedFile, answers
from modelyard.models_plugin.answers import STREAMED_FROM, file_answer, json_answer, json_bytes


@dataclasses.dataclass
class Box:
    left: int


class Colour(enum.Enum):
    RED = "red"


Pair = collections.namedtuple("Pair", "a b")

VALUES = [
    ({"a": 1, "b": [1.5, None, True]}, {"a": 1, "b": [1.5, None, True]}),
    (float("nan"), None),
    ([float("inf"), -float("inf")], [None, None]),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7),
    (np.bool_(True), True),
    (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
    (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
    (np.array(["a", "b"]), ["a", "b"]),
    (np.array([np.nan, 1.0]), [None, 1.0]),
    (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.timedelta(seconds=90), 90.0),
    (decimal.Decimal("1.5"), 1.5),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pathlib.PurePosixPath("a/b"), "a/b"),
    ({3, 1, 2}, [1, 2, 3]),
    (ipaddress.ip_address("::1"), "::1"),
    ((1, 2), [1, 2]),
    ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
    (Box(1), {"left": 1}),
    (Colour.RED, "red"),
    (b"abc", "YWJj"),
    (2**70, 2**70),
    (iter([1, 2]), [1, 2]),
]


@pytest.fixture(params=["orjson", "standard library"])
def encoder(request, monkeypatch):
    """Both encoders keep the same promise: a model's own interpreter may lack orjson."""
    if request.param != "orjson":
        monkeypatch.setattr(answers, "orjson", None)


@pytest.mark.parametrize(("value", "expected"), VALUES[:-1], ids=lambda value: repr(value)[:40])
def test_results_become_valid_json(encoder, value, expected):
    text = json_bytes(value)
    found = json.loads(text, parse_constant=pytest.fail)
    if isinstance(value, dict) and None in value:
        assert set(found.values()) == set(expected.values())
    else:
        assert found == expected


def test_a_generator_becomes_a_list(encoder):
    assert json_bytes(n for n in (1, 2)) == json_bytes([1, 2])


def test_what_has_no_json_form_is_told_by_its_type(encoder):
    with pytest.raises(PluginFailed, match="object"):
        json_bytes({"it": object()})


def test_a_value_that_holds_itself_is_told(encoder):
    ring: list = []
    ring.append(ring)
    with pytest.raises(PluginFailed):
        json_bytes(ring)


def test_a_small_answer_is_passed_as_bytes_and_a_large_one_as_a_file(tmp_path):
    assert json_answer({"a": 1}, tmp_path).path is None
    large = json_answer("x" * STREAMED_FROM, tmp_path)
    assert large.body == b""
    assert json.loads(pathlib.Path(large.path).read_text()) == "x" * STREAMED_FROM
    assert pathlib.Path(large.path).parent == tmp_path


@pytest.mark.parametrize("form", ["bytes", "path", "open file", "buffer", "text path"])
def test_a_returned_file_may_be_bytes_a_path_or_an_open_file(tmp_path, form):
    source = tmp_path / "result.png"
    source.write_bytes(b"content")
    buffer = io.BytesIO()
    buffer.write(b"content")
    content = {
        "bytes": b"content",
        "path": source,
        "text path": str(source),
        "open file": source.open("rb"),
        "buffer": buffer,
    }[form]
    folder = tmp_path / "call"
    answer = file_answer(ReturnedFile(content, "image/png", "a.png"), None, folder)
    assert (answer.content_type, answer.filename) == ("image/png", "a.png")
    body = answer.body or pathlib.Path(answer.path).read_bytes()
    assert body == b"content"
    assert source.exists()


def test_a_returned_path_that_is_no_file_is_told(tmp_path):
    with pytest.raises(PluginFailed, match="no file"):
        file_answer(tmp_path / "nothing", None, tmp_path)


def test_a_keras_history_is_its_numbers_by_epoch():
    history = types.SimpleNamespace(
        history={"loss": [np.float32(0.5), math.nan]}, epoch=[0, 1], model=object()
    )
    expected = {"history": {"loss": [0.5, None]}, "epoch": [0, 1]}
    assert json.loads(json_bytes(history)) == expected
