"""The server's own log: one JSON object a line, on standard error (key=value on a terminal) or in a
file."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import orjson
import structlog

from ..errors import CannotStart

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _PlainLines(structlog.stdlib.ProcessorFormatter):
    """Writes by itself what has nothing to be worked out, the access log's lines above all.

    The same line as structlog's, which takes longer for it than a small model for a prediction.
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.args or record.exc_info or record.stack_info or not isinstance(record.msg, str):
            return super().format(record)
        extra = {n: value for n, value in vars(record).items() if n not in _OF_EVERY_RECORD}
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line = {
            "event": record.msg,
            "level": record.levelname.lower(),
            "logger": record.name,
            **extra,
            "timestamp": moment.replace("+00:00", "Z"),
        }
        return _as_json(line)


def _as_json(line: dict[str, Any], **_: Any) -> str:
    """One line: newlines are escaped, so that nobody can forge one."""
    try:
        return orjson.dumps(line, default=repr).decode()
    except TypeError:  # half a surrogate pair, say, or a number of more than 64 bits
        return json.dumps(line, default=repr, separators=(",", ":"))


def line_formatter(colours: bool = False) -> logging.Formatter:
    """One JSON object a line; with `colours`, what a person reads on a terminal."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if colours
        else structlog.processors.JSONRenderer(_as_json)
    )
    formatter = structlog.stdlib.ProcessorFormatter if colours else _PlainLines
    return formatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def configure_logging(level: str, file: Path | None = None) -> None:
    """Sets up logging for the whole process; called by `serve`, never by an import or an app.

    A file may be moved away while it is written, as logrotate does. Raises CannotStart.
    """
    if file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = WatchedFileHandler(file, encoding="utf-8")
        except OSError as error:
            raise CannotStart(
                f"The log file {file} cannot be written: {error.strerror}."
            ) from error
    handler.setFormatter(line_formatter(colours=file is None and sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Malformed HTTP is the client's fault, and a port scan must not fill the log.
    logging.getLogger("aiohttp.server").setLevel("DEBUG" if level == "debug" else "CRITICAL")
    logging.getLogger("modelyard.access").setLevel(
        logging.DEBUG if level == "debug" else logging.INFO if level == "info" else logging.WARNING
    )
