"""Everything that the front and a worker say to each other, as named messages.

One message is one frame (`frames.py`): its fields as the JSON header, `body` as the frame's body.
Standard library only (orjson if it is there), Python 3.8 syntax.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from .frames import SHARED_FROM, Parcel, encode, encode_shared

try:
    import orjson
except ImportError:  # a model's own interpreter may lack it
    orjson = None  # type: ignore[assignment]

LOST, SPOILED = 70, 71
"""Exit codes of a worker whose plugin has taken its connection, or something else that it needs."""

FORMAT = 1
"""Version of these messages; a worker of another version refuses to start."""


@dataclass
class Message:
    """`id` ties an answer to its question; each front counts its own."""

    id: int = 0


# -- from the front ------------------------------------------------------------------------------


@dataclass
class Start(Message):
    """The first: import this plugin (PluginSource data). Answered by Described or Failed.

    `path` is the front's `sys.path`, where it found the plugin's entry point; empty for a model
    that has an environment of its own. `memory_limit` and `answer_limit` are bytes, 0 for no limit.
    `temporary` is the worker's own folder for temporary files, if it has one.
    """

    format: int = FORMAT
    source: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    memory_limit: int = 0
    answer_limit: int = 0
    temporary: str | None = None


@dataclass
class Load(Message):
    """Load the weights in this folder (None: without), and warm up if `warm`.

    Answered by Done or Failed.
    """

    weights: str | None = None
    device: str = "cpu"
    warm: bool = True


@dataclass
class Describe(Message):
    """Describe the plugin anew. Answered by Described or Failed, also while it predicts."""


@dataclass
class Validate(Message):
    """Check arguments (RequestData, its body apart). Answered by Validated or Failed."""

    which: str = "train"
    request: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Predict(Message):
    """One call; `body` is its request's payload. `more`: the next message is of the same batch.

    Answered by Answered or Failed; the answers of a batch come together, when all are made.

    `trace` is the W3C `traceparent` that it belongs to, if the server is tracing.
    """

    request: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    more: bool = False
    body: bytes = b""
    trace: str = ""


# -- from the worker -----------------------------------------------------------------------------


@dataclass
class Described(Message):
    """ModelDescription data."""

    description: dict[str, Any] = field(default_factory=dict)
    max_batch: int = 1


@dataclass
class Done(Message):
    """What was asked for is done."""


@dataclass
class Validated(Message):
    """The arguments are valid: their JSON form for the record, the names of the secret ones."""

    record: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


@dataclass
class Answered(Message):
    """An encoded answer: the body, or a file in the call's folder; `headers` of the HTTP answer.

    `made`: there may be something in the call's folder. The last answer of a batch tells how long
    it was in the worker, and of that in the plugin's predict, in seconds.
    """

    content_type: str = "application/json"
    path: str | None = None
    filename: str | None = None
    body: bytes = b""
    worked_s: float = 0.0
    forward_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    made: bool = False


@dataclass
class Failed(Message):
    """An error of our family by its class name, with the arguments that make it again."""

    error: str = "PluginFailed"
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)


_KINDS: dict[str, type[Message]] = {
    cls.__name__: cls
    for cls in (
        Start, Load, Describe, Validate, Predict, Described, Done, Validated, Answered, Failed
    )
}  # fmt: skip
# What is as it is in most messages is left out: it would cost more than the rest of a small one.
_USUAL: dict[type[Message], dict[str, Any]] = {
    cls: {
        item.name: {} if item.default is MISSING else item.default
        for item in fields(cls)
        if item.name != "body"
    }
    for cls in _KINDS.values()
}


def pack(message: Message) -> bytes:
    """The message as one frame. Raises TypeError or ValueError for what has no JSON form."""
    return encode(_header(message), getattr(message, "body", b""))


def pack_large(message: Message) -> Parcel | None:
    """The same with the body in shared memory; None if it is small, or that cannot be had."""
    body = getattr(message, "body", b"")
    return encode_shared(_header(message), body) if len(body) >= SHARED_FROM else None


def pack_all(messages: Iterable[Message]) -> list[Parcel]:
    """Several, in as few pieces as can be."""
    parcels: list[Parcel] = []
    small: list[bytes] = []
    for message in messages:
        large = pack_large(message)
        if large is None:
            small.append(pack(message))
            continue
        if small:
            parcels.append((b"".join(small), None))
            small = []
        parcels.append(large)
    if small:
        parcels.append((small[0] if len(small) == 1 else b"".join(small), None))
    return parcels


def _header(message: Message) -> bytes:
    header = {
        name: value
        for name, usual in _USUAL[type(message)].items()
        if (value := getattr(message, name)) != usual
    }
    header["kind"] = type(message).__name__
    return _dumps(header)


def unpack(header: bytes, body: bytes) -> Message:
    """The message of a frame. Raises ValueError for what is none of ours."""
    values = _loads(header)
    try:
        message: Message = _KINDS[values.pop("kind")](**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from error
    if body:
        message.body = body  # type: ignore[attr-defined]
    return message


def _dumps(header: dict[str, Any]) -> bytes:
    """orjson refuses lone surrogates (bytes of a header that are no UTF-8 become such) and numbers
    of more than 64 bits. What it did not write it would read wrongly: that begins with a space."""
    if orjson is not None:
        try:
            return orjson.dumps(header)
        except TypeError:
            pass
    return b" " + json.dumps(header).encode()


def _loads(header: bytes) -> Any:
    if orjson is not None and not header.startswith(b" "):
        return orjson.loads(header)
    return json.loads(header)


# -- what the front's other rooms see ------------------------------------------------------------


@dataclass(frozen=True)
class WeightsRef:
    """A weights version: its id, and the folder that a plugin loads."""

    id: str
    folder: Path


@dataclass(frozen=True)
class Prediction:
    """An answer to pass through: `body`, or the file at `path`, which is in the call's folder.

    `made`: the worker may have left something in that folder.
    """

    content_type: str
    body: bytes
    path: str | None
    filename: str | None
    weights_id: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    made: bool = True
