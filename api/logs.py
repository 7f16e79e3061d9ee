"""The server's own log: one JSON object a line, on standard error (key=value on a terminal) or in a
file."""

from __future__ import annotations

import itertools
import json
import logging
import re
import sys
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import orjson
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam

from ..errors import CannotStart

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_UNSEEN = "\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Beyond ASCII: what ends lines for some readers, steers terminals, or turns text around."""
_CONTROLS = re.compile(f"[\\x00-\\x08\\x0b-\\x1f\\x7f{_UNSEEN}]")
_BEYOND_ASCII = re.compile(f"[{_UNSEEN}]")
_COLOURS = (
    (logging.ERROR, "\x1b[31;1m"),
    (logging.WARNING, "\x1b[33;1m"),
    (logging.INFO, "\x1b[32m"),
    (logging.NOTSET, "\x1b[34m"),
)


class _Lines(logging.Formatter):
    """One JSON object a line. The access log's are most of it: nothing is done that a line may do
    without, and no library is asked (structlog and what it imports take 4 MB of the front)."""

    def format(self, record: logging.LogRecord) -> str:
        return _as_json(self.told(record))

    def told(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line says: event, level, logger, what the caller added, time, traceback."""
        extra = {n: value for n, value in vars(record).items() if n not in _OF_EVERY_RECORD}
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            **extra,
            "timestamp": moment.replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return line


class _ForPeople(_Lines):
    """The same for a terminal, by colours; tracebacks as they are, below their line."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.told(record)
        below = [line.pop(name) for name in ("exception", "stack") if name in line]
        event, level, logger, time = (
            line.pop(name) for name in ("event", "level", "logger", "timestamp")
        )
        colour = next(code for least, code in _COLOURS if record.levelno >= least)
        extra = "".join(f" \x1b[36m{name}\x1b[0m={value!r}" for name, value in line.items())
        event = _harmless(str(event))
        head = f"\x1b[2m{time}\x1b[0m {colour}{level:<8}\x1b[0m {event} \x1b[2m[{logger}]\x1b[0m"
        return "\n".join([head + extra, *(_harmless(text) for text in below)])


def _harmless(text: str) -> str:
    """For a terminal: nothing steers it, and what begins at its left edge is a line of ours."""
    return _CONTROLS.sub(_escaped, text).replace("\n", "\n    ")


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _as_json(line: dict[str, Any]) -> str:
    """One line: newlines are escaped, so that nobody can forge one."""
    try:
        text = orjson.dumps(line, default=repr).decode()
        return text if text.isascii() else _BEYOND_ASCII.sub(_escaped, text)
    except TypeError:  # half a surrogate pair, say, or a number of more than 64 bits
        return json.dumps(line, default=repr, separators=(",", ":"))


def line_formatter(colours: bool = False) -> logging.Formatter:
    """One JSON object a line; with `colours`, what a person reads on a terminal."""
    return _ForPeople() if colours else _Lines()


LOOK_EVERY = 256
"""Lines after which a file's size is looked at."""
KEPT_FILES = 3
"""Older files that are kept, FILE.1 the newest."""


class BoundedFileHandler(WatchedFileHandler):
    """Appends to a file, and begins a new one when it has `limit` bytes (0: never); KEPT_FILES
    older ones stay. The file may also be moved away by others, as logrotate does."""

    def __init__(self, file: Path, limit: int) -> None:
        super().__init__(file, encoding="utf-8")
        self._limit = limit
        self._lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)  # under the handler's lock
        self._lines += 1
        if self._limit and self._lines % LOOK_EVERY == 1:
            with suppress(OSError):  # told by what is logged next, if it cannot be written
                if Path(self.baseFilename).stat().st_size >= self._limit:
                    self._begin_anew()

    def _begin_anew(self) -> None:
        names = [self.baseFilename, *(f"{self.baseFilename}.{n + 1}" for n in range(KEPT_FILES))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with suppress(FileNotFoundError):
                Path(newer).replace(older)
        self.reopenIfNeeded()


def configure_logging(level: str, file: Path | None = None, limit: int = 0) -> None:
    """Sets up logging for the whole process; called by `serve`, never by an import or an app.

    A file is bounded to `limit` bytes. Raises CannotStart.
    """
    if file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = BoundedFileHandler(file, limit)
        except OSError as error:
            raise CannotStart(
                f"The log file {file} cannot be written: {error.strerror}."
            ) from error
    handler.setFormatter(line_formatter(colours=file is None and sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Else they are printed beside the log, with whatever text a client sent. Those of bad forms are
    # left out: the client is told, and the interpreter would remember each text for ever.
    logging.captureWarnings(True)
    for bad in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=bad)
    # Malformed HTTP is the client's fault, and a port scan must not fill the log.
    # gRPC tells there of each client that leaves before it has its answer.
    for name in ("aiohttp.server", "grpc._cython.cygrpc"):
        logging.getLogger(name).setLevel("DEBUG" if level == "debug" else "CRITICAL")
    logging.getLogger("modelyard.access").setLevel(
        logging.DEBUG if level == "debug" else logging.INFO if level == "info" else logging.WARNING
    )
