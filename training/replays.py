"""Idempotency-Key: a request that is sent again makes no second run. Runs in the server.

The key, who sent it and to which route are kept as one hash; the request as a digest keyed with
the client's key, so that what the records hold tells nothing of secret arguments.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..schemas.exactjson import loads
from ..schemas.transport import FilePart, RequestData


def key_hash(key: str, principal: str, model: str) -> str:
    """What stands in the records for a client's key on one model's train route."""
    return hashlib.sha256(json.dumps([principal, "train", model, key]).encode()).hexdigest()


def request_digest(
    key: str,
    request: RequestData,
    args: Mapping[str, Any],
    files_folder: Path | None,
    named: Mapping[str, str | None] | None = None,
) -> str:
    """Equal for requests with the same arguments and files, however the arguments were sent.

    Only what the client gave counts: a default that a function makes differs each time. `named` is
    what it named beside the arguments (a dataset), in its words. Blocking (reads uploads whose hash
    is not known yet).
    """
    given = _given(request)
    named = {name: value for name, value in (named or {}).items() if value is not None}
    values = {
        # The validated value where there is one (`1` by query is 1 by JSON), else as sent: secrets.
        name: args.get(name, sent)
        for name, sent in given.items()
        if name not in {part.field for part in request.parts}
    }
    hashes = sorted(
        (part.field, part.sha256 or _sha256(part, files_folder)) for part in request.parts
    )
    known = [values, hashes, *([named] if named else [])]
    text = json.dumps(known, sort_keys=True, default=str)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def sent_digest(
    key: str, request: RequestData, files_folder: Path | None, named: Mapping[str, str | None]
) -> str:
    """Equal for requests that were sent alike; what they mean does not matter, and may be gone: a
    version or dataset that was deleted, a model that takes other arguments by now.

    Blocking, as `request_digest`.
    """
    hashes = sorted(
        (part.field, part.sha256 or _sha256(part, files_folder)) for part in request.parts
    )
    body = hashlib.sha256(request.body).hexdigest()
    given = sorted((name, value) for name, value in named.items() if value is not None)
    text = json.dumps([request.query, request.form, body, hashes, given])
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _given(request: RequestData) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, text in [*request.query, *request.form]:
        given.setdefault(name, []).append(text)
    if request.body:
        with suppress(ValueError):
            data = loads(request.body)
            given = {**data, **given} if isinstance(data, dict) else {**given, "": data}
    return given


def _sha256(part: FilePart, folder: Path | None) -> str:
    with ((folder or Path()) / part.path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
