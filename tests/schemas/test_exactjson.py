"""Reading JSON: whole numbers of any length stay what they are, and small floats cost nothing."""

import json

import pytest

from modelyard.schemas import exactjson

LONG = 12345678901234567890123


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG}",
        f"-{LONG}",
        f"[1, {LONG}]",
        f"[0.0001234567890123456789, {LONG}]",
        f"[0.{'1' * 60}, {LONG}]",
        f'{{"a": [{LONG}]}}',
        f"[0.{'1' * 19}, 18446744073709551616]",
    ],
)
def test_long_whole_numbers_are_exact(text):
    assert exactjson.loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["0.00012345678901234567", "[0.%s]" % ("12" * 40), "1e5", "[]", '"0.5"', "[1.5, 2]"]
)
def test_fractions_are_read_by_the_fast_reader(text):
    assert not exactjson._has_long_integer(text.encode())
    assert exactjson.loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize("reader", [exactjson.orjson, None])
@pytest.mark.parametrize("beside", ["", f", {LONG}"])
@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (r'"\ud83d\ude00"', True),
        (r'"\uD83D\uDE00\u0041"', True),
        (r'"\\ud83d"', True),
        (r'"\\\\ud83d"', True),
        ("1e308", True),
        (r'"\ud83d"', False),
        (r'"\ude00"', False),
        (r'"\ud83d\ud83d\ude00"', False),
        (r'"\ud83d\\ude00"', False),
        (r'{"\ud83d": 1}', False),
        ("1e309", False),
        ("-1e999", False),
        ("NaN", False),
    ],
)
def test_each_reader_takes_and_refuses_the_same(text, taken, beside, reader, monkeypatch):
    monkeypatch.setattr(exactjson, "orjson", reader)
    whole = f"[{text}{beside}]".encode()
    if taken:
        assert exactjson.loads(whole) == json.loads(whole)
    else:
        with pytest.raises(ValueError):
            exactjson.loads(whole)
