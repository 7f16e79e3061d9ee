"""A request for a model as plain data: read by the front, validated in the model's worker.

The front reads transport only (query, form, multipart, body bytes) and never looks inside; the
worker applies the plugin's own schema. Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines")
"""Content types of JSON lines: each line is the body of a call of its own."""


@dataclass
class FilePart:
    """One uploaded file, on disk in the folder of its call, or in memory.

    `path` is a name chosen by the server that keeps the client's suffix; `filename` is what the
    client called it (never used as a path); `size` is in bytes; `sha256` is hex. With `content`
    nothing is at `path` yet: whoever needs it as a file writes it there. `content` travels beside
    this object, not in `to_data`.
    """

    field: str
    path: str
    filename: str
    content_type: str
    size: int
    sha256: str = ""
    content: bytes | None = None

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "field": self.field,
            "path": self.path,
            "filename": self.filename,
            "content_type": self.content_type,
            "size": self.size,
        }
        if self.sha256:
            data["sha256"] = self.sha256
        if self.content is not None:
            data["inline"] = True
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any], contents: Iterator[bytes]) -> FilePart:
        values = dict(data)
        inline = values.pop("inline", False)
        return cls(**values, content=next(contents) if inline else None)


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

    @property
    def parts(self) -> list[FilePart]:
        """Every file, a body that is one too."""
        return self.files if self.raw is None else [*self.files, self.raw]

    def payload(self) -> bytes:
        """The bytes that travel beside `to_data`: the body, and what files have in memory."""
        if not self.files and self.raw is None:
            return self.body
        contents = [part.content for part in self.parts if part.content is not None]
        return b"".join([self.body, *contents]) if contents else self.body

    def to_data(self) -> dict[str, Any]:
        """What is not as usual, as plain data."""
        # Not asdict(): it copies deeply, which was a fifth of a prediction's cost.
        data: dict[str, Any] = {}
        if self.query:
            data["query"] = self.query
        if self.form:
            data["form"] = self.form
        if self.headers:
            data["headers"] = self.headers
        if self.files:
            data["files"] = [part.to_data() for part in self.files]
        if self.raw is not None:
            data["raw"] = self.raw.to_data()
        if self.accept != "*/*":
            data["accept"] = self.accept
        if self.kind != "json":
            data["kind"] = self.kind
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any], payload: bytes = b"") -> RequestData:
        values = dict(data)
        files, raw = values.pop("files", ()), values.pop("raw", None)
        for name in ("query", "form"):
            if name in values:
                values[name] = [tuple(pair) for pair in values[name]]
        if files or raw:
            parts = [*files, *([raw] if raw else [])]
            sizes = [part["size"] for part in parts if part.get("inline")]
            payload, contents = _cut(payload, sizes)
            values["files"] = [FilePart.from_data(part, contents) for part in files]
            values["raw"] = FilePart.from_data(raw, contents) if raw else None
        return cls(body=payload, **values)


def _cut(payload: bytes, sizes: list[int]) -> tuple[bytes, Iterator[bytes]]:
    """The body, and the contents of so many bytes that follow it."""
    body_size = start = len(payload) - sum(sizes)
    contents = []
    for size in sizes:
        contents.append(payload[start : start + size])
        start += size
    return payload[:body_size], iter(contents)
