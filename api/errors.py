"""The one place where errors become status codes and bodies.

Argument errors are exactly `{field: [messages]}` at 422 (webargs' shape, which DEEPaaS clients
read). Everything else is a problem document (RFC 9457) whose `message` equals its `detail`.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from aiohttp import web

from .. import errors
from ..models_plugin.answers import json_bytes
from .discretion import discreet

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
REALM = 'Bearer realm="modelyard"'
STORE_RETRY_S = 5.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

STATUS: dict[type[errors.ModelyardError], int] = {
    errors.ModelyardError: 500,
    errors.InvalidRequest: 400,
    errors.UnsupportedMediaType: 415,
    errors.NotAcceptable: 406,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.InvalidArguments: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotSignedIn: 401,
    errors.NotPermitted: 403,
    errors.EndpointDisabled: 402,  # DEEPaaS's, which its clients know
    errors.NotSupported: 501,
    errors.PluginFailed: 500,
    errors.DeadlineExceeded: 504,
    errors.Busy: 503,
    errors.TooManyCalls: 429,
    errors.StorageUnavailable: 503,
    errors.DiskFull: 507,
    errors.Corrupt: 500,  # not 503, nor 502: clients try again, which does not help
}
"""A class that is not here has its parent's status; `PluginRefused` carries its own."""


def status_of(error: errors.ModelyardError) -> int:
    """The status code of an error: that of the nearest class in its method resolution order."""
    if isinstance(error, errors.PluginRefused):
        return error.status
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


class Told(NamedTuple):
    """An error's answer as plain data; `headers` beside its content type."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str]

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=self.body,
            content_type=self.content_type,
            headers=self.headers,
        )


def error_response(error: errors.ModelyardError) -> web.Response:
    """The whole answer for an error of our family."""
    return told(error).response()


def told(error: errors.ModelyardError) -> Told:
    """The same as plain data."""
    if isinstance(error, errors.InvalidArguments):
        return Told(422, json_bytes(error.errors), "application/json", {})
    details = dict(error.details)
    if isinstance(error, errors.PluginFailed) and error.original_type:
        details["error_type"] = error.original_type
    seconds = retry_after_s(error)
    headers = {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}
    challenge = _challenge(error)
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    return _problem(status_of(error), error.message, kind_of(error), headers, details)


def _challenge(error: errors.ModelyardError) -> str | None:
    """What is asked for, as RFC 6750 section 3 writes it."""
    if isinstance(error, errors.NotSignedIn):
        return f'{REALM}, error="invalid_token"' if error.presented else REALM
    if isinstance(error, errors.MissingPermission):
        return f'{REALM}, error="insufficient_scope"'
    return None


def retry_after_s(error: errors.ModelyardError) -> float | None:
    """The seconds after which trying again may help; None where it does not."""
    if isinstance(error, errors.Busy | errors.NotSignedIn):
        return error.retry_after_s
    store = isinstance(error, errors.StorageUnavailable) and status_of(error) == 503
    return STORE_RETRY_S if store else None


def kind_of(error: errors.ModelyardError) -> str:
    """The error's kind as a word that programs may test, such as `no-weights`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()


def problem(
    status: int,
    detail: str,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    details: Mapping[str, Any] = MappingProxyType({}),
) -> web.Response:
    """A problem document; `code` is the last part of its `type`, a word that programs may test."""
    return _problem(status, detail, code, headers or {}, details).response()


def told_problem(
    status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Told:
    """The same as plain data."""
    return _problem(status, detail, code, headers or {}, {})


def _problem(
    status: int,
    detail: str,
    code: str | None,
    headers: Mapping[str, str],
    details: Mapping[str, Any],
) -> Told:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    body = {
        **details,
        "type": f"urn:modelyard:{code}" if code else "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "message": detail,
    }
    return Told(status, json_bytes(body), PROBLEM, headers)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BEGUN = web.RequestKey("begun", bool)
"""Set on a request whose answer has begun to leave."""


async def mark_begun(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`."""
    request[BEGUN] = True


@web.middleware
async def errors_to_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer; nothing of our own is ever a text page.

    After an answer has begun no other can be given: the connection is cut, so that the client
    does not take what came for the whole.
    """
    try:
        return await handler(request)
    except ConnectionResetError:
        raise
    except Exception as error:
        if BEGUN in request:
            log.exception("an answer was cut off: %s %s", request.method, request.path)
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the answer failed after it had begun") from error
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        return _answer_for(request, error)


def _answer_for(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, web.HTTPException):
        headers = {k: v for k, v in error.headers.items() if k in ("Allow", "Retry-After")}
        return problem(error.status, _in_words(error, request), headers=headers)
    return told_of(discreet(request, error), f"{request.method} {request.path}").response()


def told_of(error: BaseException, doing: str) -> Told:
    """The answer for whatever was raised while `doing`; what is our fault is logged."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        error = errors.DiskFull()
    if isinstance(error, errors.ModelyardError):
        if isinstance(error, errors.PluginFailed) and error.traceback:
            log.error("%s\n%s", error.message, error.traceback)
        return told(error)
    log.error("a fault of the server: %s", doing, exc_info=error)
    return _problem(500, "The server itself failed; its log says why.", None, {}, {})


def _in_words(error: web.HTTPException, request: web.Request) -> str:
    if error.status == 404:
        return "There is nothing at this address. See /openapi.json for what there is."
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return f"{request.method} is not possible here; allowed: {allowed}."
    return error.text or error.reason
