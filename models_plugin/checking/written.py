"""Notes how and where each marshmallow field is written: its keywords, file and line.

Runs in the process that checks, before the module is imported. Python 3.8 syntax.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, NamedTuple

from marshmallow import fields

_KEY = "_modelyard_written"
_NOT_AUTHORS = ("marshmallow", "webargs", "modelyard", "functools")


class Written(NamedTuple):
    """`loose` are the keywords that marshmallow 4 does not know."""

    keywords: tuple[str, ...]
    loose: tuple[str, ...]
    where: str


def listen() -> None:
    """From now on fields made in this process are noted; after `translate()`."""
    made = fields.Field.__init__
    known = set(inspect.signature(made).parameters)

    @functools.wraps(made)
    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        loose = tuple(name for name in kwargs if name not in known)
        self.__dict__[_KEY] = Written(tuple(kwargs), loose, _author())

    fields.Field.__init__ = make  # type: ignore[method-assign]


def written(field: Any) -> Written:
    found = field.__dict__.get(_KEY)
    return found if isinstance(found, Written) else Written((), (), "")


def _author() -> str:
    """file:line of the innermost code that is the module's own."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in _NOT_AUTHORS:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
