"""What a route says of itself: one declaration from which it is documented and validated.

`api/` adds the handler. Runs in the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from marshmallow import Schema

from .permissions import Permission
from .resources import ArgumentErrorsSchema, ProblemSchema

JSON = "application/json"
PROBLEM = "application/problem+json"

SchemaLike = Schema | type[Schema]


class ResponseDoc(NamedTuple):
    """One answer. Without a schema the body is bytes of the content types, or nothing if none."""

    description: str
    schema: SchemaLike | None = None
    content_types: Sequence[str] = (JSON,)
    headers: Mapping[str, str] = {}
    """Names of headers, and what they say."""


class PathParameter(NamedTuple):
    """A `{name}` in a path; `pattern` is what a value has to match as a whole."""

    description: str
    pattern: str | None = None


@dataclass(frozen=True)
class RouteDoc:
    """One method of one path.

    `query` and `headers` are schemas whose fields are parameters. `body` is the schema of a JSON
    body; `uploads` are content types of a body that is one file, or of a form that holds it as its
    field `file`. With both, what is no JSON is an upload. `model_body` says that the arguments are
    those of a model's function: the document then has one operation for each model in place of the
    one with `{model}`. `permission` is what a caller needs, None where everybody may; with
    `every_model`, also a key that is for all models; `asks_in_part`: some of what it tells needs a
    key all the same.
    """

    method: str
    path: str
    operation_id: str
    summary: str
    tag: str
    description: str = ""
    query: SchemaLike | None = None
    headers: SchemaLike | None = None
    body: SchemaLike | None = None
    uploads: Sequence[str] = ()
    path_parameters: Mapping[str, PathParameter] = field(default_factory=dict)
    responses: Mapping[int, ResponseDoc] = field(default_factory=dict)
    permission: Permission | None = field(kw_only=True)
    every_model: bool = False
    asks_in_part: bool = False
    model_body: Literal["predict", "train"] | None = None
    read_by_handler: bool = False
    """The body is only documented here: a worker reads it."""


def body_is_required(route: RouteDoc) -> bool:
    """False where nothing has to be sent: an empty body is read as `{}`, and that is allowed."""
    if route.body is None:
        return bool(route.uploads)
    schema = route.body() if isinstance(route.body, type) else route.body
    return any(field.required for field in schema.fields.values())


PROBLEMS = {
    400: "The request cannot be read: malformed HTTP, JSON or form.",
    401: "A key is needed, or the one that was sent is not valid.",
    402: "The server was started without this endpoint.",
    403: "Not allowed: your key has not this permission, or is for other models; or the request "
    "comes from another site.",
    404: "There is no such thing here.",
    406: "None of the accepted content types can be made.",
    408: "The request did not come in time.",
    409: "The present state does not allow this.",
    413: "The request is larger than the server allows.",
    415: "The body's content type is not taken here.",
    417: "The header `Expect` names what this server does not meet.",
    421: "The request's Host is none of this server's names.",
    431: "The request's head is too large.",
    500: "The model's own code failed, or the shared store has lost or damaged what is needed: "
    "`detail` says which, and how to mend it.",
    501: "The model does not offer this; or the body has another transfer coding than `chunked`.",
    429: "You have too many calls at the same time; `Retry-After` says when to try again.",
    503: "The model or the server cannot do this now; `Retry-After` says when to try again.",
    504: "The model did not answer in time.",
    507: "The server's disk is full.",
}


def problems(*statuses: int) -> dict[int, ResponseDoc]:
    """The usual answers for these error statuses, to be merged into a route's `responses`."""
    found = {}
    for status in statuses:
        if status == 422:
            found[422] = ResponseDoc(
                "Arguments are wrong: `{field: [messages]}`.", ArgumentErrorsSchema
            )
        else:
            headers = {"Retry-After": "Seconds to wait."} if status in (429, 503) else {}
            if status == 401:
                headers = {"WWW-Authenticate": "`Bearer`: how to sign in (RFC 6750)."}
            found[status] = ResponseDoc(PROBLEMS[status], ProblemSchema, (PROBLEM,), headers)
    return found
