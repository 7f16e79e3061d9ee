"""How the failures that no command handles itself are told."""

from __future__ import annotations

from ..client import ArgumentsRefused, ClientError


def told(error: Exception) -> tuple[str, int]:
    """The words and the exit code. Raises what is a fault of ours, and so needs its traceback."""
    if isinstance(error, ArgumentsRefused):
        return error.message, 2
    if isinstance(error, ClientError):
        return error.message, 1
    if isinstance(error, OSError):
        told = error.strerror or str(error)  # not Python's "[Errno 28] ..."
        return f"{error.filename}: {told}" if error.filename else f"{told}.", 1
    raise error
