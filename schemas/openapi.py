"""The OpenAPI 3.1 document, from the declarations of the routes and the served models.

Runs in the front. The same input gives the same document, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from .model_operations import (
    MULTIPART,
    ServedModel,
    argument_parameters,
    prediction_content,
    request_body,
    server_parameters,
)
from .paths import SCHEME, SIGNING_IN, PathsBuilder
from .routes import JSON, PathParameter, ResponseDoc, RouteDoc, body_is_required
from .tensors import BARE, NPY, body_tensor
from .transport import LINES

OPENAPI_VERSION = "3.1.0"

_ANSWERS = (
    "To JSON lines: one line for each, as they finish. `index` counts the lines that were sent, "
    "from 0; `status` 200 comes with `answer`, 422 with `errors`, others with `problem`."
)
_BYTES = {"type": "string", "format": "binary"}


def openapi_document(
    routes: Sequence[RouteDoc],
    models: Sequence[ServedModel],
    version: str,
    base_path: str = "",
    description: str = "",
    closed: bool = False,
) -> dict[str, Any]:
    """The document as JSON values. `closed`: callers have to say who they are."""
    spec = APISpec(
        title="Modelyard",
        version=version,
        openapi_version=OPENAPI_VERSION,
        plugins=[MarshmallowPlugin()],
        info={"description": description} if description else {},
        servers=[{"url": base_path or "/"}],
    )
    if closed:
        scheme = {"type": "http", "scheme": "bearer", "description": SIGNING_IN}
        spec.components.security_scheme(SCHEME, scheme)
    _Builder(spec, models, closed).add(routes)
    return spec.to_dict()


class _Builder(PathsBuilder):
    """Arguments in bodies of several content types; their schemas under `components`."""

    def _path_parameter(
        self, name: str, doc: PathParameter | None, schema: dict[str, Any]
    ) -> dict[str, Any]:
        about = {"description": doc.description} if doc else {}
        return {"name": name, "in": "path", "required": True, **about, "schema": schema}

    def _response(self, doc: ResponseDoc) -> dict[str, Any]:
        schema: Any = doc.schema if doc.schema is not None else {"type": "string"}
        response: dict[str, Any] = {"description": doc.description}
        if doc.headers:
            response["headers"] = {
                name: {"description": about, "schema": {"type": "string"}}
                for name, about in doc.headers.items()
            }
        if doc.schema is not None or tuple(doc.content_types) != (JSON,):
            content = {kind: {"schema": schema} for kind in doc.content_types}
            response.update({"content": content} if content else {})
        return response

    def _security(self, route: RouteDoc) -> list[dict[str, list[str]]]:
        # Of schemes other than OAuth 2 the list names roles (OpenAPI 3.1, Security Requirement).
        return [] if route.permission is None else [{SCHEME: [str(route.permission)]}]

    def _add_body(self, operation: dict[str, Any], route: RouteDoc) -> None:
        content: dict[str, Any] = {}
        if route.body is not None:
            content[JSON] = {"schema": route.body}
        for kind in route.uploads:
            one = {**_BYTES, "minLength": 1}
            content[kind] = {"schema": _form_of_a_file() if kind == MULTIPART else one}
        operation["requestBody"] = {"required": body_is_required(route), "content": content}

    def _model_operation(self, route: RouteDoc, model: ServedModel) -> dict[str, Any]:
        which = route.model_body
        assert which is not None
        fields = model.arguments(which) or []
        operation = self._operation(route, model)
        operation["parameters"] += argument_parameters(fields) + server_parameters(model, which)
        body = request_body(model, fields)
        if body is not None:
            self._name_schemas(f"{model.name}.{which}", body)
            operation["requestBody"] = body
        if which == "predict" and "200" in operation["responses"]:
            content = prediction_content(model)
            if body is not None and JSON in body["content"]:
                body["content"][LINES[0]] = _lines("Each line is a JSON body of a call of its own.")
                content = {**content, LINES[0]: _lines(_ANSWERS)}
            if body is not None and body_tensor(fields) is not None:
                body["content"].update({kind: {"schema": dict(_BYTES)} for kind in (NPY, BARE)})
            self._name_schemas(f"{model.name}.{which}.response", {"content": content})
            operation["responses"]["200"]["content"] = content
        return operation

    def _name_schemas(self, name: str, body: dict[str, Any]) -> None:
        """Moves schemas of objects to the components.

        Component names may hold what model names may, dots and dashes; what follows the name has
        no dash and ends in a fixed word, so two models never share one.
        """
        for content_type, media in body["content"].items():
            if media["schema"].get("type") != "object":
                continue
            component = f"{name}.{_WORDS[content_type]}"
            self._spec.components.schema(component, media["schema"])
            media["schema"] = {"$ref": f"#/components/schemas/{component}"}


def _lines(about: str) -> dict[str, Any]:
    return {"schema": {"type": "string", "description": about}}


def _form_of_a_file() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"file": dict(_BYTES)},
        "required": ["file"],
        "propertyNames": {"pattern": "^[ -~]+$"},  # what every writer of forms can say
    }


_WORDS = {
    "multipart/form-data": "multipart",
    "application/x-www-form-urlencoded": "form",
    "application/json": "json",
}
