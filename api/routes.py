"""Every route, declared once: what validates a request is what `/openapi.json` shows of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import web
from marshmallow import Schema, fields, validate

from ..schemas import resources
from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc, problems
from ..schemas.states import Status
from . import (
    describe,
    documents,
    events,
    health,
    models,
    predict,
    tensorboard,
    train,
    watch,
    weights,
)
from .query import parse_query
from .services import QUERY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = "[0-9a-f]{32}"
LONGEST_PAGE = 1000


EVERYWHERE = (403, 421)
"""Answers of the guard, which stands before every route."""


@dataclass(frozen=True)
class Route:
    """A declaration and its handler."""

    doc: RouteDoc
    handler: Handler


class ListRunsQuery(Schema):
    """The query of the list of runs."""

    limit = fields.Integer(
        validate=validate.Range(min=1, max=LONGEST_PAGE),
        metadata={"description": "How many, newest first. Without it all, oldest first."},
    )
    cursor = fields.String(metadata={"description": "Where a page goes on, from a `Link` header."})
    status = fields.String(
        validate=validate.OneOf([status.value for status in Status]),
        metadata={"description": "Only runs of this status."},
    )


class LogQuery(Schema):
    """The query of a run's log."""

    tail = fields.Integer(
        validate=validate.Range(min=0, max=1_000_000),
        metadata={"description": "Only so many last lines."},
    )
    follow = fields.Boolean(
        load_default=False, metadata={"description": "Go on until the run has ended."}
    )


class MetricsQuery(Schema):
    """The query of a run's metrics."""

    name = fields.List(
        fields.String(), metadata={"description": "Only this metric; may be repeated."}
    )
    since = fields.Integer(
        load_default=-1, metadata={"description": "Only what was reported after this step."}
    )


class EventsQuery(Schema):
    """The query of a run's events."""

    log = fields.Boolean(
        load_default=False, metadata={"description": "Send the lines of the log too."}
    )


class ReadyQuery(Schema):
    """The query of readiness."""

    model = fields.String(
        metadata={"description": "A model that must be loaded and warmed too, or `all`."}
    )


MODEL = {"model": PathParameter("The model's name.", "[A-Za-z0-9][A-Za-z0-9._-]{0,99}")}
RUN = {**MODEL, "id": PathParameter("The run's id.", ID)}
WEIGHTS = {**MODEL, "id": PathParameter("The version's id, or `latest`.", f"{ID}|latest")}
_WEIGHTS_HEADER = {"X-Modelyard-Weights": "The weights version that answered."}


class StartHeaders(Schema):
    """What the server itself reads from the head of a POST that starts a training."""

    key = fields.String(
        data_key="Idempotency-Key",
        validate=validate.Length(min=1, max=train.LONGEST_KEY),
        metadata={"description": "Makes a repeat safe: the same key starts one training."},
    )


class EventsHeaders(Schema):
    """Where a client that comes back goes on."""

    last = fields.String(
        data_key="Last-Event-ID", metadata={"description": "The id of the last event that came."}
    )


def _answer(about: str, schema: type[Schema], **headers: str) -> dict[int, ResponseDoc]:
    return {200: ResponseDoc(about, schema, headers=headers)}


def _text(about: str, content_type: str) -> dict[int, ResponseDoc]:
    return {200: ResponseDoc(about, None, (content_type,))}


_CALL = (400, 404, 406, 409, 413, 415, 422, 500, 501, 503, 504, 507)
_START = (400, 404, 409, 413, 415, 422, 500, 501, 503, 507)

ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/", "versions", "The versions of this API", "server",
            responses=_answer("The versions.", resources.VersionsSchema),
        ),
        documents.versions,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/", "version", "This version of the API", "server",
            responses=_answer("This version.", resources.VersionSchema),
        ),
        documents.version,
    ),
    Route(
        RouteDoc(
            "GET", "/healthz", "alive", "Whether the server is alive", "server",
            responses=_answer("It is.", resources.HealthSchema),
        ),
        health.healthz,
    ),
    Route(
        RouteDoc(
            "GET", "/readyz", "ready", "Whether the server can do its work", "server",
            query=ReadyQuery,
            responses={
                **_answer("It can.", resources.ReadySchema), **problems(404, 422, 503)
            },
        ),
        health.readyz,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/", "models", "All models", "models",
            responses=_answer(
                "The models, also those that cannot serve, with the reason.",
                resources.ModelsSchema,
            ),
        ),
        models.list_models,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/", "model", "One model", "models",
            path_parameters=MODEL,
            responses={**_answer("The model.", resources.ModelDetailSchema), **problems(404)},
        ),
        models.get_model,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/predict/", "predict", "Predict", "predict",
            path_parameters=MODEL,
            responses={
                200: ResponseDoc("The prediction.", headers=_WEIGHTS_HEADER),
                **problems(*_CALL),
            },
            model_body="predict",
        ),
        predict.predict,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/train/", "train", "Start a training", "train",
            "The record is on disk when this answers; the training starts by itself.",
            headers=StartHeaders,
            path_parameters=MODEL,
            responses={
                **_answer("The record.", resources.RunSchema, Location="The record's address."),
                **problems(*_START),
            },
            model_body="train",
        ),
        train.start,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/", "runs", "All trainings of a model", "train",
            query=ListRunsQuery,
            path_parameters=MODEL,
            responses={
                200: ResponseDoc("The records.", resources.RunSchema(many=True),
                                 headers={"Link": "The next page (RFC 8288)."}),
                **problems(404, 422, 503),
            },
        ),
        train.list_runs,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}", "run", "One training", "train",
            path_parameters=RUN,
            responses={**_answer("The record.", resources.RunSchema), **problems(404, 503)},
        ),
        train.get_run,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/models/{model}/train/{id}", "cancel", "Cancel a training", "train",
            "Its processes are gone within 5 seconds; its record stays. An ended one is unchanged.",
            path_parameters=RUN,
            responses={**_answer("The record.", resources.RunSchema), **problems(404, 503, 507)},
        ),
        train.cancel,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/log", "run_log", "A training's log", "train",
            query=LogQuery,
            path_parameters=RUN,
            responses={**_text("The log.", "text/plain"), **problems(404, 422, 503)},
        ),
        watch.log,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/metrics", "run_metrics",
            "What a training reported", "train",
            query=MetricsQuery,
            path_parameters=RUN,
            responses={
                **_answer("The series.", resources.MetricsSchema), **problems(404, 422, 503)
            },
        ),
        watch.metrics,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/events", "run_events",
            "A training as it happens", "train",
            "Server-Sent Events: `record` when the record changed, `metrics`, and `log` if asked. "
            "Ends after the record that tells the run's end.",
            query=EventsQuery,
            headers=EventsHeaders,
            path_parameters=RUN,
            responses={**_text("The events.", "text/event-stream"), **problems(404, 422, 503)},
        ),
        events.events,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/checkpoints", "run_checkpoints",
            "What a training has saved", "train",
            path_parameters=RUN,
            responses={
                **_answer("The checkpoints.", resources.CheckpointsSchema), **problems(404, 503)
            },
        ),
        watch.checkpoints,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/", "weights", "All weights of a model", "weights",
            path_parameters=MODEL,
            responses={
                **_answer("Newest first.", resources.WeightsListSchema), **problems(404, 503)
            },
        ),
        weights.list_weights,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}", "weights_version", "One version", "weights",
            path_parameters=WEIGHTS,
            responses={**_answer("The version.", resources.WeightsSchema), **problems(404, 503)},
        ),
        weights.get_weights,
    ),
    Route(
        RouteDoc(
            "GET", "/openapi.json", "openapi", "This document", "server",
            responses={
                200: ResponseDoc("OpenAPI 3.1.", resources.DocumentSchema),
                304: ResponseDoc("It has not changed.", None, ()),
            },
        ),
        describe.openapi,
    ),
    Route(
        RouteDoc(
            "GET", "/swagger.json", "swagger", "The same as Swagger 2.0", "server",
            "As DEEPaaS's clients read it.",
            responses={
                200: ResponseDoc("Swagger 2.0.", resources.SwaggerSchema),
                304: ResponseDoc("It has not changed.", None, ()),
            },
        ),
        describe.swagger,
    ),
)  # fmt: skip
"""The API. Pages for people (Swagger UI, TensorBoard) are added below and stand in no document."""


def add_routes(app: web.Application, base_path: str) -> None:
    """Registers everything under the prefix; every address answers with and without last slash."""
    for route in ROUTES:
        handler = _validated(route)
        path = base_path + route.doc.path
        for address in _both(path):
            app.router.add_route(route.doc.method, address, handler)
            if route.doc.method == "GET":
                app.router.add_route("HEAD", address, handler)
    for page in ("ui", "api"):
        app.router.add_get(f"{base_path}/{page}", documents.ui)
        app.router.add_get(f"{base_path}/{page}/", documents.ui)
        app.router.add_get(f"{base_path}/{page}/{{file}}", documents.ui_file)
    app.router.add_get(f"{base_path}/tensorboard", tensorboard.redirect)
    app.router.add_route("*", f"{base_path}/tensorboard/{{tail:.*}}", tensorboard.proxy)


def documented() -> list[RouteDoc]:
    """The declarations with the answers that every route has."""
    return [
        replace(route.doc, responses={**route.doc.responses, **problems(*EVERYWHERE)})
        for route in ROUTES
    ]


def _validated(route: Route) -> Handler:
    schema = route.doc.query
    if schema is None:
        return route.handler
    checker = schema() if isinstance(schema, type) else schema

    async def handle(request: web.Request) -> web.StreamResponse:
        request[QUERY] = await parse_query(request, checker)
        return await route.handler(request)

    return handle


def _both(path: str) -> list[str]:
    bare = path.rstrip("/")
    return [bare + "/", bare] if bare else ["/"]
