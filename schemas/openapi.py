"""The OpenAPI 3.1 document, from the declarations of the routes and the served models.

Runs in the front. The same input gives the same document, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from .model_operations import (
    ServedModel,
    argument_parameters,
    prediction_content,
    request_body,
    server_parameters,
)
from .routes import JSON, ResponseDoc, RouteDoc

OPENAPI_VERSION = "3.1.0"
_MODEL = "{model}"


def openapi_document(
    routes: Sequence[RouteDoc],
    models: Sequence[ServedModel],
    version: str,
    base_path: str = "",
    description: str = "",
) -> dict[str, Any]:
    """The document as JSON values.

    A path on which a model's function is called stands once for each model that has that function,
    with literal name and that model's arguments.
    """
    models = sorted(models, key=lambda model: model.name)
    spec = APISpec(
        title="Modelyard",
        version=version,
        openapi_version=OPENAPI_VERSION,
        plugins=[MarshmallowPlugin()],
        info={"description": description} if description else {},
        servers=[{"url": base_path or "/"}],
    )
    builder = _Builder(spec, models)
    for path, group in _by_path(routes):
        if models and any(route.model_body for route in group):
            for model in models:
                builder.add_model_path(path, group, model)
        else:
            builder.add_path(path, group)
    for tag in builder.tags():
        spec.tag(tag)
    return spec.to_dict()


class _Builder:
    """Adds paths to one document."""

    def __init__(self, spec: APISpec, models: Sequence[ServedModel]) -> None:
        self._spec = spec
        self._models = models
        self._names = [model.name for model in models]
        self._operation_ids: set[str] = set()
        self._tags: dict[str, None] = {}

    def add_path(self, path: str, routes: Sequence[RouteDoc]) -> None:
        operations = {route.method.lower(): self._operation(route) for route in routes}
        self._add(path, operations, routes)

    def add_model_path(self, path: str, routes: Sequence[RouteDoc], model: ServedModel) -> None:
        called = [route.model_body for route in routes if route.model_body]
        if all(model.arguments(which) is None for which in called):
            return  # not even the list of its trainings: there are none
        operations = {}
        for route in routes:
            if route.model_body is None:
                operation = self._operation(route, model)
            elif model.arguments(route.model_body) is None:
                continue
            else:
                operation = self._model_operation(route, model)
            operations[route.method.lower()] = operation
        self._add(path.replace(_MODEL, model.name), operations, routes)

    def tags(self) -> list[dict[str, str]]:
        """The models first, as they are what people come for; then the rooms of the server."""
        about = {model.name: model.about for model in self._models}
        names = [name for name in about if name in self._tags]
        names += [name for name in self._tags if name not in about]
        return [
            {"name": name, **({"description": about[name]} if about.get(name) else {})}
            for name in names
        ]

    def _add(
        self,
        path: str,
        operations: dict[str, Any],
        routes: Sequence[RouteDoc],
    ) -> None:
        declared = {name: doc for route in routes for name, doc in route.path_parameters.items()}
        parameters = []
        for name in re.findall(r"{(\w+)}", path):
            doc = declared.get(name)
            schema: dict[str, Any] = {"type": "string"}
            if doc and doc.pattern:
                schema["pattern"] = f"^(?:{doc.pattern})$"
            if name == "model" and self._names:
                schema = {"type": "string", "enum": self._names}
            about = {"description": doc.description} if doc else {}
            parameters.append(
                {"name": name, "in": "path", "required": True, **about, "schema": schema}
            )
        self._spec.path(path=path, operations=operations, parameters=parameters)

    def _operation(self, route: RouteDoc, model: ServedModel | None = None) -> dict[str, Any]:
        of_model = "" if model is None else f": {model.name}"
        tag = route.tag if model is None else model.name
        self._tags[tag] = None
        operation: dict[str, Any] = {
            "operationId": self._unique(route.operation_id, model),
            "summary": route.summary + of_model,
            "tags": [tag],
            "parameters": [
                {"in": where, "schema": schema}
                for where, schema in (("query", route.query), ("header", route.headers))
                if schema is not None
            ],
            "responses": {
                str(status): _response(doc) for status, doc in sorted(route.responses.items())
            },
        }
        if route.description:
            operation["description"] = route.description
        return operation

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

    def _unique(self, operation_id: str, model: ServedModel | None) -> str:
        """Generators of clients make a function's name of it: letters, digits, underscores."""
        word = operation_id
        if model is not None:
            word += "_" + re.sub(r"\W", "_", model.name)
        unique, count = word, 1
        while unique in self._operation_ids:
            count += 1
            unique = f"{word}_{count}"
        self._operation_ids.add(unique)
        return unique


_WORDS = {
    "multipart/form-data": "multipart",
    "application/x-www-form-urlencoded": "form",
    "application/json": "json",
}


def _response(doc: ResponseDoc) -> dict[str, Any]:
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


def _by_path(routes: Iterable[RouteDoc]) -> list[tuple[str, list[RouteDoc]]]:
    groups: dict[str, list[RouteDoc]] = {}
    for route in routes:
        groups.setdefault(route.path, []).append(route)
    return list(groups.items())
