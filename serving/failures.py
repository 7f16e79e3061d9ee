"""Errors across the socket: an error of our family as a message, and back. Python 3.8 syntax."""

from __future__ import annotations

from typing import Any

from .. import errors
from ..models_plugin.plugin import Plugin
from ..models_plugin.redaction import hidden_in, hiding
from ..models_plugin.refusals import told
from ..schemas.transport import RequestData
from .messages import Failed

_CARRIED = ("errors", "status", "original_type", "traceback")


def failed(id: int, error: errors.ModelyardError) -> Failed:
    """The message that tells this error."""
    details: dict[str, Any] = {
        name: getattr(error, name) for name in _CARRIED if hasattr(error, name)
    }
    return Failed(id, type(error).__name__, error.message, details)


def error_of(message: Failed) -> errors.ModelyardError:
    """The error that a worker told; one that we do not know is the plugin's failure."""
    details = message.details
    cls: Any = getattr(errors, message.error, None)
    if not (isinstance(cls, type) and issubclass(cls, errors.ModelyardError)):
        cls = errors.PluginFailed
    if cls is errors.InvalidArguments:
        return errors.InvalidArguments(details["errors"], message.message)
    if cls is errors.PluginRefused:
        return errors.PluginRefused(
            details["status"], message.message, original_type=details.get("original_type", "")
        )
    if issubclass(cls, errors.PluginFailed):
        return cls(
            message.message,
            original_type=details.get("original_type", ""),
            traceback=details.get("traceback", ""),
        )
    error: errors.ModelyardError = cls(message.message)
    return error


def secret_texts(plugin: Plugin | None, asked: Any) -> list[str]:
    """What the request of a message tells in secret; `asked` has it read if that was done."""
    if plugin is None or not hasattr(asked, "request"):
        return []
    request = asked.request
    if not isinstance(request, RequestData):
        request = RequestData.from_data(request, asked.body)
    return plugin.secret_texts(getattr(asked, "which", "predict"), request)


def failed_safely(plugin: Plugin | None, asked: Any, error: BaseException) -> Failed:
    """The answer that tells an error, whose words may hold what the client sent in secret."""
    ours = error if isinstance(error, errors.ModelyardError) else told(error, "answering")
    said = failed(asked.id, ours)
    hide = hiding(secret_texts(plugin, asked))
    said.message, said.details = hidden_in(said.message, hide), hidden_in(said.details, hide)
    return said
