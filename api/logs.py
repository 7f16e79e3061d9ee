"""The server's own log: one JSON object a line on standard error (key=value on a terminal)."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(level: str) -> None:
    """Sets up logging for the whole process; called by `serve`, never by an import or an app."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()  # escapes newlines: a log line cannot be forged
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Malformed HTTP is the client's fault, and a port scan must not fill the log.
    logging.getLogger("aiohttp.server").setLevel("DEBUG" if level == "debug" else "CRITICAL")
    logging.getLogger("modelyard.access").setLevel(
        logging.DEBUG if level == "debug" else logging.INFO if level == "info" else logging.WARNING
    )
