"""Every way a call can fail, by what the caller can do about it.

    ClientError
    ├── ServerUnreachable     check the address, or whether the server runs
    ├── TimedOut              allow more time, or look why the server is slow
    ├── UnexpectedAnswer      that address is no Modelyard, or a proxy answered
    └── RequestRefused        the server said no (400, 406, 413, 415, ...)
        ├── ArgumentsRefused  mend the arguments in `errors` (422)
        ├── NotPermitted      get the right to do it (401, 403)
        ├── NotFound          ask for something that exists (404)
        ├── Conflict          the present state forbids it (409)
        ├── Busy              try again in `retry_after_s` (429, 503)
        ├── NotSupported      this model cannot do it (501)
        └── ServerFailed      tell the operator or the model's author (500, 502, 504)

The docstring of a class is its default message. aiohttp's errors end in `transport.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The call failed.

    `status` is the HTTP status, None if there was no answer. `errors` is `{argument: [messages]}`,
    empty unless arguments were refused.
    """

    def __init__(
        self,
        message: str | None = None,
        status: int | None = None,
        errors: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.status = status
        self.errors: dict[str, Any] = dict(errors or {})
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


class ServerUnreachable(ClientError):
    """The server cannot be reached."""


class TimedOut(ClientError):
    """The server did not answer in the time allowed."""


class UnexpectedAnswer(ClientError):
    """The answer is none that Modelyard gives."""


class RequestRefused(ClientError):
    """The server refused the request."""


class ArgumentsRefused(RequestRefused):
    """The arguments are not valid."""


class NotPermitted(RequestRefused):
    """This is not allowed to you."""


class NotFound(RequestRefused):
    """There is no such thing on this server."""


class Conflict(RequestRefused):
    """The present state does not allow this."""


class Busy(RequestRefused):
    """The server cannot do it now: try again later."""


class NotSupported(RequestRefused):
    """This model does not offer that."""


class ServerFailed(RequestRefused):
    """The server, or the model's own code, failed."""


_BY_STATUS: Mapping[int, type[RequestRefused]] = {
    401: NotPermitted,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    422: ArgumentsRefused,
    429: Busy,
    501: NotSupported,
    503: Busy,
}


def refusal(
    status: int, reason: str, document: Any, retry_after_s: float | None = None
) -> RequestRefused:
    """The error for an answer of `status` (400 or more) with this JSON document (None: no JSON).

    A 422 document is `{argument: [messages]}` and nothing else; every other one is problem JSON
    (RFC 9457), whose `detail` is the message.
    """
    kind = _BY_STATUS.get(status, ServerFailed if status >= 500 else RequestRefused)
    body = document if isinstance(document, dict) else {}
    if kind is ArgumentsRefused and not body:
        kind = RequestRefused
    if kind is ArgumentsRefused and "status" not in body:
        return kind(arguments_in_words(body), status, errors=body)
    words = body.get("detail") or body.get("message") or body.get("title")
    if not isinstance(words, str):
        # The framework's own page, a proxy's, or that of something else altogether.
        words = f"The server answered {status} {reason}".rstrip() + ", and not as Modelyard does."
    return kind(
        words,
        status,
        errors=body.get("errors") if isinstance(body.get("errors"), dict) else None,
        details=body,
        retry_after_s=retry_after_s,
    )


def arguments_in_words(errors: Mapping[str, Any]) -> str:
    """One line that names each refused argument and why."""
    told = (f"{name}: {' '.join(flat_messages(value))}" for name, value in errors.items())
    return "; ".join(told) or "The arguments are not valid."


def flat_messages(value: Any, path: str = "") -> list[str]:
    """The messages of one argument; of nested fields with their path (`items.0: ...`)."""
    if isinstance(value, dict):
        nested = (
            flat_messages(item, f"{path}.{key}" if path else str(key))
            for key, item in value.items()
        )
        return [message for messages in nested for message in messages]
    if isinstance(value, list):
        return [message for item in value for message in flat_messages(item, path)]
    return [f"{path}: {value}" if path else str(value)]
