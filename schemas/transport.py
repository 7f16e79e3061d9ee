"""A request for a model as plain data: read by the front, validated in the model's worker.

The front reads transport only (query, form, multipart, body bytes) and never looks inside; the
worker applies the plugin's own schema. Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines")
"""Content types of JSON lines: each line is the body of a call of its own."""


@dataclass
class FilePart:
    """One uploaded file, already on disk in the folder of its call.

    `path` is a name chosen by the server that keeps the client's suffix; `filename` is what the
    client called it (never used as a path); `size` is in bytes; `sha256` is hex.
    """

    field: str
    path: str
    filename: str
    content_type: str
    size: int
    sha256: str = ""


@dataclass
class RequestData:
    """What came with one request.

    `query` and `form` are pairs in the order sent (repeated names stay apart). `body` is the JSON
    text as sent, empty if there was none; it travels beside this object, not in `to_data`.
    `raw` is set when the whole body is one file (`image/png`, ...): its `field` is empty.
    `accept` is the Accept header; `headers` has lower-case names. `document` stands in the place of
    `body` where the values are in this process already (a command line); it is not in `to_data`.
    `kind` is what the body is: `json`, `tensor` (one array, see `models_plugin/npy.py`), or `infer`
    (the Open Inference Protocol); what that says of the answer is put into `wanted` where the
    arguments are read.
    """

    query: list[tuple[str, str]] = field(default_factory=list)
    form: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    files: list[FilePart] = field(default_factory=list)
    raw: FilePart | None = None
    accept: str = "*/*"
    body: bytes = b""
    document: dict[str, Any] | None = None
    kind: str = "json"
    wanted: Any = None

    def to_data(self) -> dict[str, Any]:
        # Not asdict() for the whole: it copies deeply, which was a fifth of a prediction's cost.
        data: dict[str, Any] = {
            "query": self.query,
            "form": self.form,
            "headers": self.headers,
            "files": [asdict(part) for part in self.files],
            "raw": asdict(self.raw) if self.raw else None,
            "accept": self.accept,
        }
        if self.kind != "json":
            data["kind"] = self.kind
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any], body: bytes = b"") -> RequestData:
        values = dict(data)
        values["query"] = [tuple(pair) for pair in values.get("query", ())]
        values["form"] = [tuple(pair) for pair in values.get("form", ())]
        values["files"] = [FilePart(**part) for part in values.get("files", ())]
        if values.get("raw"):
            values["raw"] = FilePart(**values["raw"])
        return cls(body=body, **values)
