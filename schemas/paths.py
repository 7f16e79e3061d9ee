"""Which operations stand in a document of the API: the same in OpenAPI 3.1 and in Swagger 2.0.

Runs in the front.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from apispec import APISpec

from .model_operations import ServedModel
from .routes import PathParameter, ResponseDoc, RouteDoc

SCHEME = "key"
SIGNING_IN = (
    "A key of `modelyard keys create`. Each operation names the permission that it needs; a key "
    "may be for some models only."
)
_MODEL = "{model}"


class PathsBuilder(ABC):
    """Adds the paths of the routes to one document; its children say how each part is written.

    A path on which a model's function is called stands once for each model that has that function,
    with literal name and that model's arguments.
    """

    def __init__(self, spec: APISpec, models: Iterable[ServedModel], closed: bool = False) -> None:
        """`closed`: callers have to say who they are."""
        self._spec = spec
        self._closed = closed
        self._models = sorted(models, key=lambda model: model.name)
        self._names = [model.name for model in self._models]
        self._operation_ids: set[str] = set()
        self._tags: dict[str, None] = {}

    def add(self, routes: Sequence[RouteDoc]) -> None:
        """All paths in the order of the routes, and their tags."""
        for path, group in _by_path(routes):
            if self._models and any(route.model_body for route in group):
                for model in self._models:
                    self._add_model_path(path, group, model)
            else:
                operations = {route.method.lower(): self._operation(route) for route in group}
                self._add(path, operations, group)
        for tag in self._described_tags():
            self._spec.tag(tag)

    # -- what differs between the formats -----------------------------------------------------

    @abstractmethod
    def _path_parameter(
        self, name: str, doc: PathParameter | None, schema: dict[str, Any]
    ) -> dict[str, Any]:
        """A `{name}` of a path; `schema` is its JSON Schema."""

    @abstractmethod
    def _response(self, doc: ResponseDoc) -> dict[str, Any]:
        """One answer."""

    @abstractmethod
    def _add_body(self, operation: dict[str, Any], route: RouteDoc) -> None:
        """Writes into the operation what its body may be; the route takes one."""

    @abstractmethod
    def _model_operation(self, route: RouteDoc, model: ServedModel) -> dict[str, Any]:
        """The call of a model's function; the model has it."""

    @abstractmethod
    def _security(self, route: RouteDoc) -> list[dict[str, list[str]]]:
        """What a caller has to show; empty: nothing."""

    # -- what they share ----------------------------------------------------------------------

    def _add_model_path(self, path: str, routes: Sequence[RouteDoc], model: ServedModel) -> None:
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

    def _described_tags(self) -> list[dict[str, str]]:
        """The models first, as they are what people come for; then the rooms of the server."""
        about = {model.name: model.about for model in self._models}
        names = [name for name in about if name in self._tags]
        names += [name for name in self._tags if name not in about]
        return [
            {"name": name, **({"description": about[name]} if about.get(name) else {})}
            for name in names
        ]

    def _add(self, path: str, operations: dict[str, Any], routes: Sequence[RouteDoc]) -> None:
        declared = {name: doc for route in routes for name, doc in route.path_parameters.items()}
        parameters = []
        for name in re.findall(r"{(\w+)}", path):
            doc = declared.get(name)
            schema: dict[str, Any] = {"type": "string"}
            if doc and doc.pattern:
                schema["pattern"] = f"^(?:{doc.pattern})$"
            if name == "model" and self._names:
                schema = {"type": "string", "enum": self._names}
            parameters.append(self._path_parameter(name, doc, schema))
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
                str(status): self._response(doc) for status, doc in sorted(route.responses.items())
            },
        }
        if self._closed:
            operation["security"] = self._security(route)
        if route.description:
            operation["description"] = route.description
        if route.body is not None or route.uploads:
            self._add_body(operation, route)
        return operation

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


def _by_path(routes: Iterable[RouteDoc]) -> list[tuple[str, list[RouteDoc]]]:
    groups: dict[str, list[RouteDoc]] = {}
    for route in routes:
        groups.setdefault(route.path, []).append(route)
    return list(groups.items())
