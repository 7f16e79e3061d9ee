"""Maps what plugin code raises onto the error family, in one place.

HTTP exceptions are known by the name of their class: a worker imports no web framework, and a
plugin may bring any. Python 3.8 syntax.
"""

from __future__ import annotations

import traceback
from types import TracebackType

from ..errors import (
    InvalidArguments,
    ModelyardError,
    NotSupported,
    PluginFailed,
    PluginRefused,
    safe_str,
)
from .memory import is_out_of_memory, limit_in_words
from .redaction import all_told_safely, told_safely

_MESSAGE_LIMIT = 2_000  # characters of one exception's text
_NAME_LIMIT = 200  # characters of the name of an exception's class
_TRACEBACK_LIMIT = 20_000  # characters: a recursion error's text would be megabytes


class plugin_code:
    """Runs plugin code: everything it raises leaves as one of our errors.

    `doing` says what was being done ("predicting with the model 'x'"). SystemExit and
    KeyboardInterrupt raised by the plugin are its failures too, and no way out of our process. A
    class, not a generator, which costs three times as much, several times a call.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, ModelyardError):
            return
        if isinstance(error, NotImplementedError):
            said = told_safely(safe_str(error))[:_MESSAGE_LIMIT]
            raise NotSupported(said or "This model does not implement that.") from error
        if not getattr(error, "of_server", False):  # the server's own is on its way through
            raise told(error, self._doing) from error


def told(error: BaseException, doing: str) -> ModelyardError:
    """The error of our family that tells a plugin's exception."""
    if is_validation_error(error):
        messages = all_told_safely(getattr(error, "messages", None))
        if isinstance(messages, dict):
            return InvalidArguments({str(key): value for key, value in messages.items()})
        return InvalidArguments({"_schema": [str(item) for item in messages or [error]]})
    refused = _http_status(error)
    if refused is not None:
        return PluginRefused(refused[0], refused[1])
    inner = _innermost(error)
    text = _in_words(error)
    if is_out_of_memory(error) or is_out_of_memory(inner):
        text = f"out of memory{limit_in_words()}: {text}"
    cause = safe_str(inner).strip()
    if inner is not error and (not cause or cause not in safe_str(error)):
        text = f"{text} (caused by {_in_words(inner)})"
    return PluginFailed(
        f"The model failed while {doing}: {text}",
        original_type=_name(error),
        traceback=_text(error),
    )


def _in_words(error: BaseException) -> str:
    name, text = _name(error), told_safely(safe_str(error)).strip()
    return f"{name}: {text[:_MESSAGE_LIMIT]}" if text else name


def _name(error: BaseException) -> str:
    return type(error).__name__[:_NAME_LIMIT]


def is_validation_error(error: BaseException) -> bool:
    """True for marshmallow's and webargs' ValidationError, whichever release raised it."""
    return any(cls.__name__ == "ValidationError" for cls in type(error).__mro__) and hasattr(
        error, "messages"
    )


def _http_status(error: BaseException) -> tuple[int, str] | None:
    """Status and reason of an HTTP exception (aiohttp, werkzeug, starlette), found by name."""
    if not any(cls.__name__ == "HTTPException" for cls in type(error).__mro__):
        return None
    for attribute in ("status", "status_code", "code"):
        status = getattr(error, attribute, None)
        if isinstance(status, int) and 400 <= status <= 599:
            return status, _why(error, status)
    return None


def _why(error: BaseException, status: int) -> str:
    """What the author said, and the innermost cause if that says more."""
    usual = _phrase(status)
    said = ""
    for attribute in ("told_reason", "reason", "text", "detail", "description"):
        value = getattr(error, attribute, None)
        text = told_safely(safe_str(value)).strip() if value else ""
        if text and text != usual and not text.startswith(f"{status}:"):
            said = text[:_MESSAGE_LIMIT]
            break
    inner = _innermost(error)
    if inner is error or (said and safe_str(inner).strip()[:_MESSAGE_LIMIT] in said):
        return said or usual
    return f"{said or usual} (caused by {_in_words(inner)})"


def _phrase(status: int) -> str:
    from http import HTTPStatus  # only here: most workers never need it

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def _innermost(error: BaseException) -> BaseException:
    seen = {id(error)}
    while True:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            return error
        seen.add(id(cause))
        error = cause


def _text(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=40)
    text = told_safely("".join(lines))
    return text if len(text) <= _TRACEBACK_LIMIT else "..." + text[-_TRACEBACK_LIMIT:]
