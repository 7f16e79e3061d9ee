"""What is settled of a request once its head was read, and kept for the next one with this head.

A client that calls all day sends the same head each time, or one of a few: it is read once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import InvalidArguments
from ...schemas.permissions import Permission
from ...schemas.routes import JSON
from ...schemas.tensors import BARE, NPY, body_tensor
from ...schemas.transport import LINES, FilePart, RequestData
from ...serving.handle import ModelHandle
from ..access.gate import Gate
from ..access.principal import Principal
from ..access_log import trace_named
from ..body import ALL_IN_MEMORY, IN_MEMORY, kept_headers, suffix_of
from ..guard import BROWSERS, Hosts
from ..metrics import Requests
from ..services import argument_names, header_arguments
from ..terms import timeout_of
from .heads import Head, read_post

_KIND = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_READ_ELSEWHERE = ("multipart/", "text/plain", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Served:
    """A model as the lane serves it: `route` is how its address is declared."""

    handle: ModelHandle
    route: str
    requests: Requests


@dataclass(frozen=True)
class Kind:
    """All that one head tells. `described` is what the model said of itself when it was read.

    `generation` is the gate's when it was asked: as long as that
    is the same, the answer is too. `suffix` is that of a body that is a file, None where it is
    none; `form` what the body is (`RequestData.kind`).
    """

    served: Served
    described: Any
    taken: frozenset[str]
    length: int
    keeps_alive: bool
    content_type: str
    form: str
    suffix: str | None
    headers: dict[str, str]
    accept: str
    accepted: str
    timeout_s: float | None
    sticky: str | None
    forwarded: str
    trace: str | None
    principal: Principal
    generation: int

    @property
    def caller(self) -> str:
        """The name of who sends it; empty for everybody."""
        return self.principal.name

    @property
    def current(self) -> bool:
        """False once the model has described itself anew: its arguments may have changed."""
        return self.described is self.served.handle.description

    def request(self, body: bytes, folder: str) -> RequestData:
        """The request with its body."""
        if self.suffix is None:
            return RequestData(headers=self.headers, accept=self.accept, body=body, kind=self.form)
        raw = None
        if body:
            name = f"0001{self.suffix}"
            raw = FilePart(
                "", f"{folder}/{name}", f"body{self.suffix}", self.content_type, len(body),
                content=body,
            )  # fmt: skip
        return RequestData(headers=self.headers, accept=self.accept, raw=raw)


def kind_of(
    head: bytes, served: Mapping[str, Served], hosts: Hosts, gate: Gate, max_size: int
) -> Kind | None:
    """What this head asks for, if it is a plain predict call of a model that can be served now.

    `served` is by path. None: somebody else's to read, and to refuse if need be.
    """
    read = read_post(head)
    if read is None:
        return None
    model = served.get(read.target)
    if model is None or model.handle.description is None:
        return None
    headers = read.headers
    browser = any(name in headers for name in BROWSERS)
    if hosts.refusal(headers["host"], browser) is not None or "x-modelyard-weights" in headers:
        return None
    generation = gate.generation
    principal = gate.settled(headers.get("authorization"))
    if principal is None or Permission.PREDICT not in principal.permissions:
        return None
    if not principal.acting(Permission.PREDICT).sees(model.handle.name):
        return None
    try:
        timeout_s = timeout_of(headers.get("x-request-timeout"))
    except InvalidArguments:
        return None
    form, suffix = _form(read, model.handle)
    limit = ALL_IN_MEMORY if form == "json" and suffix is None else IN_MEMORY
    if form is None or read.length > min(limit, max_size or limit):
        return None
    described = model.handle.description
    kept = kept_headers(header_arguments(model.handle, "predict"))
    return Kind(
        served=model,
        described=described,
        taken=argument_names(model.handle, "predict"),
        length=read.length,
        keeps_alive=read.keeps_alive,
        content_type=read.content_type,
        form=form,
        suffix=suffix,
        headers={k: v for k, v in headers.items() if k in kept or k.startswith("x-")},
        accept=headers.get("accept", "*/*"),
        accepted=headers.get("accept-encoding", "").lower(),
        timeout_s=timeout_s,
        sticky=headers.get("x-modelyard-sticky"),
        forwarded=headers.get("x-forwarded-for", ""),
        trace=trace_named(headers.get("traceparent", "")),
        principal=principal,
        generation=generation,
    )


def _form(read: Head, handle: ModelHandle) -> tuple[str | None, str | None]:
    """What the body is, and the suffix of one that is a file; as `ModelRequestReader.read`."""
    kind = read.content_type
    if _KIND.fullmatch(kind) is None or kind in LINES or kind.startswith(_READ_ELSEWHERE):
        return None, None
    if not read.length or kind == JSON or kind.endswith("+json"):
        return "json", None
    described = handle.description
    arguments = described.predict_arguments if described else None
    if kind in (NPY, BARE) and body_tensor(arguments) is not None:
        return "tensor", None
    return "json", suffix_of("", kind)


def told_of_call(
    kind: Kind, status: int, seconds: float, peer: str, size: int | None, version: str | None
) -> dict[str, object]:
    """The access log's line, as `api/access_log.py` has it."""
    line: dict[str, object] = {
        "method": "POST",
        "route": kind.served.route,
        "model": kind.served.handle.name,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "peer": peer,
        "bytes_in": kind.length,
        "bytes_out": size,
    }
    if kind.caller:
        line["principal"] = kind.caller
    if version is not None:
        line["version"] = version
    if kind.trace is not None:
        line["trace"] = kind.trace
    return line
