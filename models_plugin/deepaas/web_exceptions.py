"""Lets modules raise aiohttp's HTTP exceptions as they always did. Python 3.8 syntax.

`HTTPBadRequest(reason=error)` with an exception object, and reasons of several lines, are refused
by newer releases of aiohttp: the user would see that refusal instead of the cause.
"""

from __future__ import annotations

import functools
from typing import Any

from .hooks import after_import


def forgive_reasons() -> None:
    """Changes aiohttp of this process once it is imported, if ever."""
    after_import("aiohttp.web_exceptions", _forgive)


def _forgive(module: Any) -> None:
    cls = module.HTTPException
    made = cls.__init__

    @functools.wraps(made)
    def make(self: Any, *args: Any, reason: Any = None, **kwargs: Any) -> None:
        told = None if reason is None else str(reason)
        self.told_reason = told
        made(self, *args, reason=None if told is None else " ".join(told.split()), **kwargs)

    cls.__init__ = make
