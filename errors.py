"""Every way the service fails, by what the caller can do about it.

    ModelyardError
    ├── InvalidRequest            mend the request's form
    │   ├── UnsupportedMediaType
    │   ├── NotAcceptable
    │   ├── TooLarge
    │   ├── TooSlow
    │   └── BadArchive
    ├── InvalidArguments          mend the named arguments
    ├── NotFound                  ask for something that exists
    │   ├── ModelNotFound
    │   ├── RunNotFound
    │   ├── WeightsNotFound
    │   ├── DatasetNotFound
    │   ├── UploadNotFound
    │   └── ObjectMissing
    ├── Conflict                  the state of the thing forbids it now
    │   ├── NoWeights
    │   ├── RunConflict
    │   └── IdempotencyConflict
    ├── NotSignedIn               say who you are, with a key that is valid
    ├── NotPermitted              get the right to do it
    │   ├── MissingPermission
    │   └── EndpointDisabled
    ├── NotSupported              this model cannot do it
    ├── PluginFailed              tell the model's author
    │   ├── PluginRefused
    │   ├── WorkerDied
    │   └── DeadlineExceeded
    ├── Busy                      try again later
    │   ├── ModelUnavailable
    │   ├── IssuerUnavailable
    │   └── TooManyCalls
    ├── StorageUnavailable        tell the operator; nothing was lost
    │   ├── DiskFull
    │   ├── StoreUnavailable      the shared store: try again later
    │   ├── StoreRefused          the shared store: mend credentials, bucket or URL
    │   └── Corrupt               the shared store: mend it from where a whole copy is
    ├── CannotLaunch              tell the operator; the run is in its record
    └── CannotStart               tell the operator: settings, home or a named model
        ├── InvalidSettings
        ├── HomeInUse
        └── ModelFailedToLoad

Status codes are no business of this file: `api/errors.py` maps the tree once. The docstring of a
class is its default message. Standard library only, Python 3.8 syntax: this file is also read by
the interpreter of a model that has an environment of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ModelyardError(Exception):
    """Something went wrong in the server."""

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = _text(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.details: dict[str, Any] = details
        super().__init__(self.message)


class InvalidRequest(ModelyardError):
    """The request could not be read."""


class UnsupportedMediaType(InvalidRequest):
    """The body has a content type that this route does not take."""


class NotAcceptable(InvalidRequest):
    """None of the content types in the Accept header can be made by this route."""


class TooLarge(InvalidRequest):
    """The request is larger than the server allows."""


class TooSlow(InvalidRequest):
    """The request did not come in time: its head has to be complete, and its body to get on by so
    many bytes a second (client_timeout, client_rate)."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class BadArchive(InvalidRequest):
    """The archive is damaged, or holds what is not taken."""


class InvalidArguments(ModelyardError):
    """The arguments are not valid.

    `errors` is what the client gets as the whole body: `{field: [messages]}` (nested fields nest).
    Validators put anything in it (the places of a list's items are numbers): here it becomes what
    JSON can hold, and the first `MOST_TOLD` messages of it: a small body may hold a fault a byte.
    """

    def __init__(self, errors: Mapping[str, Any], message: str | None = None) -> None:
        super().__init__(message)
        self.errors: dict[str, Any] = _plain(errors, [MOST_TOLD])

    def __reduce__(self) -> Any:
        return (type(self), (self.errors, self.message))


MOST_TOLD = 100
_LONGEST_TOLD = 2000
"""Messages of one error about arguments, and characters of one or of the name before it."""


def _plain(value: Any, left: list[int]) -> Any:
    """`left[0]` is how many messages may still be told; below 0: that there are more was told."""
    if isinstance(value, Mapping):
        named = {}
        for key, item in value.items():
            if left[0] < 0:
                break
            named[_cut(_text(key))] = _plain(item, left)
        return named
    if isinstance(value, (list, tuple, set, frozenset)):
        listed = []
        for item in value:
            if left[0] < 0:
                break
            listed.append(_plain(item, left))
        return listed
    left[0] -= 1
    if left[0] < 0:
        return f"More is wrong: only the first {MOST_TOLD} faults are told."
    return _cut(_text(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TOLD else text[:_LONGEST_TOLD] + "..."


def _text(value: Any) -> str:
    """Half of a surrogate pair, which a client's text may bring along, is no UTF-8."""
    text = safe_str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def safe_str(value: Any) -> str:
    """`str(value)`, whatever that raises: an author's own class may not know how to be told."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}, which cannot be told as text>"


class NotFound(ModelyardError):
    """There is no such thing here."""


class ModelNotFound(NotFound):
    """There is no such model here."""


class RunNotFound(NotFound):
    """This model has no such run."""


class WeightsNotFound(NotFound):
    """This model has no such weights version."""


class DatasetNotFound(NotFound):
    """There is no such dataset."""


class UploadNotFound(NotFound):
    """There is no such upload; it may have been completed or removed."""


class ObjectMissing(NotFound):
    """The store has no such object."""


class Conflict(ModelyardError):
    """The present state does not allow this."""


class NoWeights(Conflict):
    """This model has no weights yet: train it first."""


class RunConflict(Conflict):
    """The run is not in a state that allows this."""


class IdempotencyConflict(Conflict):
    """This Idempotency-Key was used before with another request."""


class NotSignedIn(ModelyardError):
    """This needs a key: send it in the header `Authorization: Bearer KEY`.

    `presented`: there was one, and it is not valid. Why is not told: who guesses learns nothing.
    """

    def __init__(
        self,
        message: str | None = None,
        presented: bool = False,
        retry_after_s: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.presented = presented
        self.retry_after_s = retry_after_s


class NotPermitted(ModelyardError):
    """This is not allowed to you."""


class MissingPermission(NotPermitted):
    """Your key does not have the permission for this."""


class EndpointDisabled(NotPermitted):
    """This server was started without this endpoint."""


class NotSupported(ModelyardError):
    """This model does not offer that."""


class PluginFailed(ModelyardError):
    """The model's own code failed.

    `original_type` is the name of the exception's class in the child process and `traceback` its
    text there; the exception object itself never crosses a process boundary.
    """

    def __init__(
        self,
        message: str | None = None,
        original_type: str = "",
        traceback: str = "",
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.original_type = _text(original_type)
        self.traceback = _text(traceback)


class PluginRefused(PluginFailed):
    """The model refused the call with a status of its own."""

    def __init__(self, status: int, message: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.status = status


class WorkerDied(PluginFailed):
    """The model's process ended during the call."""


class DeadlineExceeded(PluginFailed):
    """The model did not answer in time."""


class Busy(ModelyardError):
    """The server has too much to do: try again later."""

    def __init__(
        self, message: str | None = None, retry_after_s: float = 1.0, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class TooManyCalls(Busy):
    """This client has as many calls at the same time as one may have."""


class IssuerUnavailable(Busy):
    """Tokens cannot be verified at present: their issuer does not answer this server."""


class ModelUnavailable(Busy):
    """The model cannot serve at the moment."""


class StorageUnavailable(ModelyardError):
    """The server's storage cannot be reached; nothing that was stored is lost."""


class DiskFull(StorageUnavailable):
    """The server's disk is full; nothing that was stored is lost."""


class StoreUnavailable(StorageUnavailable):
    """The shared store does not answer; nothing that was stored is lost."""


class StoreRefused(StorageUnavailable):
    """The shared store refuses this server: its credentials, bucket or URL must be mended."""


class Corrupt(StorageUnavailable):
    """The bytes are lost, or not those that their digest promises, also when asked for again."""

    MEND_HERE = (
        "If the shared store has this version, stop the server and give `modelyard doctor"
        " --repair`: it is brought anew. Else import its archive again (`modelyard weights"
        " import`), put it back from a backup, or delete it."
    )

    @classmethod
    def here(cls, what: str) -> Corrupt:
        """Of a version whose copy on this disk is not what it was; `what` is wrong with it."""
        told = f"The copy of this version on this server's disk is damaged: {what.rstrip('.')}."
        return cls(f"{told} {cls.MEND_HERE}")


class CannotLaunch(ModelyardError):
    """The run's processes cannot be started."""


class CannotStart(ModelyardError):
    """The server cannot start."""

    exit_code = 1


class InvalidSettings(CannotStart):
    """A setting is not valid.

    `errors` names each setting and what is wrong with it.
    """

    exit_code = 2

    def __init__(self, message: str | None = None, errors: Mapping[str, list[str]] | None = None):
        super().__init__(message)
        self.errors = dict(errors or {})

    @classmethod
    def of(cls, errors: Mapping[str, list[str]]) -> InvalidSettings:
        """With a message that names each setting on a line of its own."""
        lines = "\n".join(f"  {name}: {' '.join(texts)}" for name, texts in errors.items())
        return cls(f"Some settings are not valid:\n{lines}", errors)


class HomeInUse(CannotStart):
    """Another server uses this home."""

    exit_code = 4


class ModelFailedToLoad(CannotStart):
    """A model that was asked for by name could not be loaded."""

    exit_code = 3
