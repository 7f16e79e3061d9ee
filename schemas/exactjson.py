"""Reads JSON fast and exactly. Python 3.8 syntax; orjson if it is there."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

try:
    import orjson
except ImportError:  # a model's own interpreter may lack it
    orjson = None  # type: ignore[assignment]

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19
_TOO_DEEP = (
    "lists and objects are nested too deeply: about a thousand levels can be read, send fewer"
)
_TOO_LONG = (
    "a whole number has more than 4300 digits, which is the most: send it as a text (in quotes)"
)

_HALF = (
    "a \\ud800 to \\udfff stands for half a character: send both halves, or the character itself"
)
_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)", re.DOTALL)
"""What begins with a backslash; with a group where it is one half of a character alone."""

_DEEP = 100
_DEEP_HERE = f"The value is nested too deeply: send less than {_DEEP} levels."
_TOO_LARGE = "The number is too large: it is beyond 1.8e308, the largest of floating point."


def loads(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also if it is nested too deeply or has a whole
    number of more than 4300 digits (Python's own limits, which keep either from being costly).

    orjson makes a float of an integer that has more than 64 bits: the standard library reads those,
    and is told to refuse what orjson refuses.
    """
    try:
        if orjson is not None and not _has_long_integer(text):
            return orjson.loads(text)
        value = _DECODER.decode(text.decode())
        if _has_half_a_character(text):
            raise ValueError(_HALF)
        return value
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        told = str(error)
        if "depth limit" in told or "ecursion limit" in told:  # orjson's words, by release
            raise ValueError(_TOO_DEEP) from error
        if "integer string conversion" in told:
            raise ValueError(_TOO_LONG) from error
        raise


def _no_number(word: str) -> Any:
    """NaN and infinity are Python's, and no JSON (RFC 8259, section 6)."""
    raise ValueError(f"{word} is no number of JSON: send null")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is beyond 1.8e308, the largest of floating point")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _has_half_a_character(text: bytes) -> bool:
    """True if an escape of this JSON is a lone surrogate (RFC 8259, section 8.2): no text in UTF-8
    has one, so whoever writes the value down fails."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return False
    return any(found[1] for found in _ESCAPES.finditer(text))


def _has_long_integer(text: bytes) -> bool:
    """True if there are 19 digits in a row that are not the fraction of a number.

    Translated and found, not matched by a regular expression, which took ten times as long as
    reading the text. A small float is written with more than 19 digits behind its point.
    """
    digits = text.translate(_DIGITS)
    at = digits.find(_LONG)
    while at >= 0:
        if digits[at - 1 : at] not in (b".", b"0"):  # "0": further digits of the same fraction
            return True
        at = digits.find(_LONG, at + len(_LONG))
    return False


def beyond_floats(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """What to tell of each member that holds a whole number which no float comes near."""
    return {name: [_TOO_LARGE] for name, value in given.items() if _is_huge(value)}


def nested_deeply(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """What to tell of each member that Python may not be able to compare, or to write as a text."""
    return {name: [_DEEP_HERE] for name, value in given.items() if _levels_exceed(value, _DEEP)}


def _levels_exceed(value: Any, most: int) -> bool:
    left = [(value, 0)]
    while left:
        one, level = left.pop()
        if level > most:
            return True
        if isinstance(one, dict):
            left += [(item, level + 1) for item in one.values()]
        elif isinstance(one, (list, tuple)):
            left += [(item, level + 1) for item in one]
    return False


def _is_huge(value: Any) -> bool:
    """No call for each level: the value may be nested as deeply as it could be read."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, int) and abs(one) > sys.float_info.max:
            return True
    return False
