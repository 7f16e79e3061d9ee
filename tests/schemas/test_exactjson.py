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
