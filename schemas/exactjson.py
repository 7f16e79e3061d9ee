"""Reads JSON fast and exactly. Python 3.8 syntax; orjson if it is there."""

from __future__ import annotations

import json
import re
from typing import Any

try:
    import orjson
except ImportError:  # a model's own interpreter may lack it
    orjson = None  # type: ignore[assignment]

_LONG_INTEGER = re.compile(rb"\d{19}")


def loads(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, or RecursionError if it is nested too deeply.

    orjson makes a float of an integer that has more than 64 bits: the standard library reads those.
    """
    if orjson is not None and _LONG_INTEGER.search(text) is None:
        return orjson.loads(text)
    return json.loads(text)
