"""The Swagger 2.0 document, as DEEPaaS's clients read it: of the same parts as the OpenAPI one.

Runs in the front. The same input gives the same document, byte for byte. Arguments are parameters
here, in the query and in forms, and the answer of a model is `ModelPredictionResponse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from .jsonschema import object_schema
from .model_operations import MULTIPART, ServedModel, Which, prediction_content
from .paths import SCHEME, SIGNING_IN, PathsBuilder
from .resources import PredictionSchema
from .routes import JSON, PathParameter, ResponseDoc, RouteDoc, body_is_required
from .swagger2_parameters import call_arguments
from .swagger2_schema import swagger_schema

SWAGGER_VERSION = "2.0"
RESPONSE = "ModelPredictionResponse"
"""The name that DEEPaaS gives to the answer of its model; clients look for it."""

_BYTES = {"type": "string", "format": "binary"}
"""An answer of bytes. 2.0 has the type `file` for it too, which its validator does not know."""

_ERRORS = "Errors but 422 are `application/problem+json`; their `message` says what went wrong."


def swagger_document(
    routes: Sequence[RouteDoc],
    models: Sequence[ServedModel],
    version: str,
    base_path: str = "",
    description: str = "",
    closed: bool = False,
) -> dict[str, Any]:
    """The document as JSON values: the same paths and answers as in the OpenAPI document."""
    spec = APISpec(
        title="Modelyard",
        version=version,
        openapi_version=SWAGGER_VERSION,
        plugins=[MarshmallowPlugin()],
        info={"description": f"{description} {_ERRORS}".strip()},
        basePath=base_path or "/",
    )
    if closed:  # 2.0 knows no bearer tokens: the whole header is the key
        told = f"`Bearer ` and the key. {SIGNING_IN}"
        scheme = {"type": "apiKey", "in": "header", "name": "Authorization", "description": told}
        spec.components.security_scheme(SCHEME, scheme)
    _Builder(spec, models, closed).add(routes)
    return _in_swagger_words(spec.to_dict())


class _Builder(PathsBuilder):
    """Arguments as parameters; schemas of objects under `definitions`."""

    def _path_parameter(
        self, name: str, doc: PathParameter | None, schema: dict[str, Any]
    ) -> dict[str, Any]:
        about = {"description": doc.description} if doc else {}
        return {"name": name, "in": "path", "required": True, **about, **schema}

    def _response(self, doc: ResponseDoc) -> dict[str, Any]:
        response: dict[str, Any] = {"description": doc.description}
        if doc.schema is not None:
            response["schema"] = doc.schema
        elif doc.content_types and tuple(doc.content_types) != (JSON,):
            text = all(kind.startswith("text/") for kind in doc.content_types)
            response["schema"] = {"type": "string"} if text else dict(_BYTES)
        if doc.headers:
            response["headers"] = {
                name: {"type": "string", "description": about}
                for name, about in doc.headers.items()
            }
        return response

    def _security(self, route: RouteDoc) -> list[dict[str, list[str]]]:
        return [] if route.permission is None else [{SCHEME: []}]

    def _operation(self, route: RouteDoc, model: ServedModel | None = None) -> dict[str, Any]:
        operation = super()._operation(route, model)
        # Of good answers only: the "try me" page makes a tab of each content type.
        good = [doc for status, doc in sorted(route.responses.items()) if status < 300]
        operation["produces"] = list(good[0].content_types) if good else [JSON]
        return operation

    def _add_body(self, operation: dict[str, Any], route: RouteDoc) -> None:
        # 2.0 knows one body or a form, and one schema for all content types: the most usual way
        # is a parameter, the other ways are told in words.
        kinds = [*([JSON] if route.body is not None else []), *route.uploads]
        required = body_is_required(route)
        if MULTIPART in route.uploads:
            shown = [MULTIPART]
            parameter = {"name": "file", "in": "formData", "type": "file", "required": required}
        elif route.body is not None:
            shown = [JSON]
            parameter = {"in": "body", "schema": route.body, "required": required}
        else:
            shown = list(route.uploads)
            parameter = {"name": "body", "in": "body", "schema": _BYTES, "required": required}
        operation["parameters"].append(parameter)
        operation["consumes"] = shown
        others = ", ".join(f"`{kind}`" for kind in kinds if kind not in shown)
        if others:
            told = f"Also taken as a body: {others}."
            operation["description"] = f"{operation.get('description', '')} {told}".strip()

    def _model_operation(self, route: RouteDoc, model: ServedModel) -> dict[str, Any]:
        which = route.model_body
        assert which is not None
        operation = self._operation(route, model)
        arguments = call_arguments(model, which)
        operation["parameters"] = arguments.parameters + operation["parameters"]
        if arguments.body is not None:
            operation["parameters"].append(self._body(model, which, arguments.body))
        if arguments.consumes:
            operation["consumes"] = arguments.consumes
        told = [operation.get("description", ""), *arguments.notes]
        if any(told):
            operation["description"] = " ".join(note for note in told if note)
        if which == "predict" and "200" in operation["responses"]:
            operation["produces"] = list(prediction_content(model))
            operation["responses"]["200"]["schema"] = self._answer(model, operation["produces"])
        return operation

    def _body(self, model: ServedModel, which: Which, schema: dict[str, Any]) -> dict[str, Any]:
        name = f"{model.name}.{which}.json"
        self._spec.components.schema(name, schema)
        return {
            "name": "body",
            "in": "body",
            "required": "required" in schema,
            "schema": {"$ref": f"#/definitions/{name}"},
        }

    def _answer(self, model: ServedModel, content_types: Sequence[str]) -> Any:
        """The schema of a good prediction.

        The plain name belongs to the model whose path is the first, as clients take the first path
        and that name to be of one model: if that model has no response schema, no one has it.
        """
        if JSON not in content_types:
            return dict(_BYTES)
        described = model.description
        if described is None or described.predict_response is None:
            return PredictionSchema
        predicting = [other for other in self._models if other.arguments("predict") is not None]
        name = RESPONSE if model is predicting[0] else f"{RESPONSE}.{model.name}"
        self._spec.components.schema(name, object_schema(described.predict_response))
        return {"$ref": f"#/definitions/{name}"}


def _in_swagger_words(document: dict[str, Any]) -> dict[str, Any]:
    """What was written in the words of JSON Schema, in those of Swagger 2.0."""
    definitions = document.get("definitions", {})
    document["definitions"] = {
        name: swagger_schema(definitions[name]) for name in sorted(definitions)
    }
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation["parameters"] = _unique(operation["parameters"])
    return document


def _unique(parameters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of each name and place: a plugin's own argument before the server's header."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for parameter in parameters:
        place = parameter["in"]
        name = parameter["name"].lower() if place == "header" else parameter["name"]
        found.setdefault((name, place), parameter)
    return list(found.values())
