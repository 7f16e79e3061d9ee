"""What a plugin's code may replace and everybody needs, put back. In workers and run processes.

Functions of Python and of libraries that this server's own code calls there: the built-in ones, of
the standard library, marshmallow's schemas and fields, numpy, orjson. What a plugin replaces while
it is imported or loaded is meant to be so: it is remembered after that. To look costs some
microseconds: the names of one module or class are fetched at once, and compared by what they are.
Nothing here needs a built-in name to do its work. Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

_EXCEPTIONS = (
    *("BaseException", "Exception", "OSError", "ValueError", "TypeError", "KeyError"),
    *("AttributeError", "ImportError", "IndexError", "RuntimeError", "FileNotFoundError"),
    *("RecursionError", "MemoryError", "KeyboardInterrupt", "OverflowError", "UnicodeError"),
)
_MODULES: dict[str, tuple[str, ...]] = {
    "builtins": (
        *("__import__", "__build_class__", "all", "any", "ascii", "bool", "bytearray", "bytes"),
        *("callable", "classmethod", "dict", "enumerate", "filter", "float", "format"),
        *("frozenset", "getattr", "hasattr", "hash", "id", "int", "isinstance", "issubclass"),
        *("iter", "len", "list", "map", "max", "memoryview", "min", "next", "object", "open"),
        *("print", "property", "range", "repr", "reversed", "set", "setattr", "sorted"),
        *("staticmethod", "str", "sum", "super", "tuple", "type", "vars", "zip", *_EXCEPTIONS),
    ),
    "json": ("loads", "dumps", "load", "dump", "JSONEncoder", "JSONDecoder"),
    "time": ("time", "sleep", "monotonic", "perf_counter", "strftime"),
    "os": (
        *("open", "read", "write", "close", "stat", "fstat", "access", "getpid", "getcwd"),
        *("fspath", "unlink", "mkdir", "listdir", "scandir", "replace", "fsync", "umask", "chdir"),
        *("pread", "pwrite", "ftruncate", "dup2", "fdopen", "memfd_create", "_exit"),
    ),
    "socket": ("socket", "CMSG_SPACE"),
    "threading": ("Thread", "Lock", "Event", "get_ident"),
    "tempfile": ("tempdir", "gettempdir"),
    "marshmallow": ("Schema", "ValidationError", "missing", "EXCLUDE"),
    "numpy": (
        *("array", "asarray", "ascontiguousarray", "frombuffer", "empty", "isfinite", "dtype"),
        *("ndarray", "trunc", "logical_and"),
    ),
    "orjson": ("loads", "dumps"),
}
"""Names of each that a worker or a run process uses."""

_CLASSES: dict[str, tuple[str, ...]] = {
    "marshmallow": ("Schema",),
    "marshmallow.fields": ("Field", "String", "Number", "Boolean", "List", "Nested", "Mapping"),
}
"""Classes whose own methods they use, all of them; what inherits from them has theirs."""

_set, _ANY = setattr, BaseException


class _Watched(NamedTuple):
    """Some names of one module or class, and what they were."""

    owner: Any
    space: Mapping[str, Any]
    were: tuple[tuple[str, Any], ...]


class Originals:
    """All as it is when this is made, or `remember` is called; `put_back` makes it so again."""

    def __init__(self) -> None:
        self.remember()

    def remember(self) -> None:
        """All as it is now."""
        self._absent = [name for name in _MODULES if name not in sys.modules]
        self._watched = list(_all())
        self._fetches = [
            (itemgetter(*(name for name, _ in one.were)), one.space) for one in self._watched
        ]
        self._values = [tuple(value for _, value in one.were) for one in self._watched]

    def put_back(self) -> list[str]:
        """Puts back what was replaced or removed; its names, such as `json.dumps`."""
        changed: list[str] = []
        try:
            same = [fetch(space) for fetch, space in self._fetches] == self._values
        except _ANY:  # a name was removed; or what stands there cannot be compared
            same = False
        if not same:
            for watched in self._watched:
                _put_back(watched, changed)
        for name in self._absent:
            if name in sys.modules:  # imported by a call: as it is now, it is what there is
                self.remember()
                break
        return changed


def _put_back(watched: _Watched, changed: list[str]) -> None:
    for name, value in watched.were:
        if watched.space.get(name) is not value:
            _set(watched.owner, name, value)
            changed.append(watched.owner.__name__ + "." + name)


def _all() -> Iterator[_Watched]:
    for module, names in _MODULES.items():
        if module in sys.modules:
            yield from _watched(sys.modules[module], names)
    for module, classes in _CLASSES.items():
        for name in classes:
            kind = getattr(sys.modules.get(module), name, None)
            if isinstance(kind, type):
                yield from _watched(
                    kind, [key for key, value in vars(kind).items() if _is_method(value)]
                )


def _watched(owner: Any, names: Iterable[str]) -> Iterator[_Watched]:
    space = vars(owner)
    were = tuple((name, space[name]) for name in names if name in space)
    if len(were) > 1:  # of one alone itemgetter gives no tuple
        yield _Watched(owner, space, were)


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod, property))
