"""Which gRPC status each error becomes: the table beside that of `api/errors.py`.

The codes' meanings: https://grpc.github.io/grpc/core/md_doc_statuscodes.html. Every class of
`errors.py` stands here by name, so that a new one is thought of.
"""

from __future__ import annotations

from grpc import StatusCode

from ... import errors
from ..errors import kind_of, retry_after_s

CODE: dict[type[errors.ModelyardError], StatusCode] = {
    errors.ModelyardError: StatusCode.INTERNAL,
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedMediaType: StatusCode.INVALID_ARGUMENT,
    errors.NotAcceptable: StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: StatusCode.RESOURCE_EXHAUSTED,  # as gRPC itself says of a large message
    errors.TooSlow: StatusCode.CANCELLED,
    errors.BadArchive: StatusCode.INVALID_ARGUMENT,
    errors.InvalidArguments: StatusCode.INVALID_ARGUMENT,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.ModelNotFound: StatusCode.NOT_FOUND,
    errors.RunNotFound: StatusCode.NOT_FOUND,
    errors.WeightsNotFound: StatusCode.NOT_FOUND,
    errors.DatasetNotFound: StatusCode.NOT_FOUND,
    errors.UploadNotFound: StatusCode.NOT_FOUND,
    errors.ObjectMissing: StatusCode.NOT_FOUND,
    errors.Conflict: StatusCode.FAILED_PRECONDITION,
    errors.NoWeights: StatusCode.FAILED_PRECONDITION,
    errors.RunConflict: StatusCode.FAILED_PRECONDITION,
    errors.IdempotencyConflict: StatusCode.FAILED_PRECONDITION,
    errors.NotSignedIn: StatusCode.UNAUTHENTICATED,
    errors.NotPermitted: StatusCode.PERMISSION_DENIED,
    errors.MissingPermission: StatusCode.PERMISSION_DENIED,
    errors.EndpointDisabled: StatusCode.UNIMPLEMENTED,  # "not enabled in this service"
    errors.NotSupported: StatusCode.UNIMPLEMENTED,
    errors.PluginFailed: StatusCode.INTERNAL,
    errors.PluginRefused: StatusCode.UNKNOWN,  # with a status that _REFUSED does not have
    errors.WorkerDied: StatusCode.INTERNAL,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    # Not RESOURCE_EXHAUSTED: clients and proxies try again, elsewhere too, on UNAVAILABLE alone.
    errors.Busy: StatusCode.UNAVAILABLE,
    errors.TooManyCalls: StatusCode.RESOURCE_EXHAUSTED,
    errors.ModelUnavailable: StatusCode.UNAVAILABLE,
    errors.IssuerUnavailable: StatusCode.UNAVAILABLE,
    errors.StorageUnavailable: StatusCode.UNAVAILABLE,
    errors.DiskFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: StatusCode.UNAVAILABLE,
    errors.StoreRefused: StatusCode.UNAVAILABLE,
    errors.Corrupt: StatusCode.DATA_LOSS,
    errors.CannotLaunch: StatusCode.INTERNAL,
    errors.CannotStart: StatusCode.INTERNAL,
    errors.InvalidSettings: StatusCode.INTERNAL,
    errors.HomeInUse: StatusCode.INTERNAL,
    errors.ModelFailedToLoad: StatusCode.INTERNAL,
}

_REFUSED = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,
    415: StatusCode.INVALID_ARGUMENT,
    422: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
"""For a model that refuses with an HTTP status of its own."""

_LONGEST = 2048
"""Bytes of a message: it goes in a header, of which clients take 8 KiB in all."""


def code_of(error: errors.ModelyardError) -> StatusCode:
    """The status code of an error: that of the nearest class in its method resolution order."""
    if isinstance(error, errors.PluginRefused) and error.status in _REFUSED:
        return _REFUSED[error.status]
    return next(CODE[cls] for cls in type(error).__mro__ if cls in CODE)


def trailers_of(error: errors.ModelyardError) -> tuple[tuple[str, str], ...]:
    """What goes with the status: the kind of the error and, if it helps, when to come again.

    `retry-after` is HTTP's, in seconds; `grpc-retry-pushback-ms` is what gRPC's own clients obey
    (https://github.com/grpc/proposal/blob/master/A6-client-retries.md).
    """
    trailers = [("modelyard-error", kind_of(error))]
    seconds = retry_after_s(error)
    if seconds is not None:
        trailers.append(("retry-after", str(max(1, round(seconds)))))
        trailers.append(("grpc-retry-pushback-ms", str(max(1, round(seconds * 1000)))))
    return tuple(trailers)


def cut(message: str) -> str:
    """The message, no longer than a client can take."""
    data = message.encode("utf-8", "replace")
    if len(data) <= _LONGEST:
        return message
    return data[: _LONGEST - 4].decode("utf-8", "ignore") + " …"
