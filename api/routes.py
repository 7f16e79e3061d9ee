"""Every route, declared once: what validates a request is what `/openapi.json` shows of it."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web
from marshmallow import Schema

from ..errors import EndpointDisabled
from ..schemas import resources
from ..schemas.permissions import Permission
from ..schemas.routes import ResponseDoc, RouteDoc, SchemaLike, problems
from ..settings import Settings
from . import (
    debug,
    describe,
    documents,
    events,
    health,
    issuer_sign_in,
    metrics_page,
    models,
    parameters,
    predict,
    sign_in,
    tensorboard,
    train,
    watch,
)
from .access.enforcing import NEEDS, PUBLIC, Needs
from .archive_routes import ARCHIVE_ROUTES
from .dataset_routes import DATASET_ROUTES
from .export_routes import EXPORT_ROUTES
from .idempotency import once
from .infer_routes import INFER_ROUTES
from .json_body import parse_body
from .path_templates import templates
from .query import parse_query
from .room import require_room
from .route import MODEL, RUN, Handler, Route, answer, text
from .run_routes import RUN_ROUTES
from .services import BODY, QUERY, model_name_of
from .weights_routes import WEIGHTS_ROUTES

SWITCHES = {
    "/v2/models/{model}/train/": "train_endpoint",
    "/v2/models/{model}/predict/": "predict_endpoint",
    "/v2/models/{model}/infer": "predict_endpoint",
    "/v2/models/{model}/versions/{version}/infer": "predict_endpoint",
}
"""The settings that switch off all addresses below a path: they answer 402, as under DEEPaaS."""

EVERYWHERE = (400, 403, 408, 417, 421, 431, 501)
"""Answers of what stands before every route: the guard, and the port's limits of time."""


_WEIGHTS_HEADER = {"X-Modelyard-Weights": "The weights version that answered."}


_CALL = (400, 404, 406, 409, 413, 415, 422, 429, 500, 501, 503, 504, 507)
_START = (400, 404, 409, 413, 415, 422, 500, 501, 503, 507)

ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/", "versions", "The versions of this API", "server",
            permission=None,
            responses=answer("The versions.", resources.VersionsSchema),
        ),
        documents.versions,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/", "version", "This version of the API", "server",
            permission=None,
            responses=answer("This version.", resources.VersionSchema),
        ),
        documents.version,
    ),
    Route(
        RouteDoc(
            "GET", "/.well-known/oauth-protected-resource", "protected_resource",
            "Where to get a token for this server", "server",
            permission=None,
            responses=answer("The issuers.", resources.ProtectedResourceSchema),
        ),
        documents.protected_resource,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/debug/", "debug", "What the server and the models print", "server",
            "The server's log and the end of each model's output, if --debug-endpoint is on.",
            permission=Permission.MANAGE,
            every_model=True,
            responses={
                **text("The logs, under headings.", "text/plain"),
                204: ResponseDoc("It is switched off.", None, ()),
            },
        ),
        debug.debug,
    ),
    Route(
        RouteDoc(
            "GET", "/healthz", "alive", "Whether the server is alive", "server",
            permission=None,
            responses=answer("It is.", resources.HealthSchema),
        ),
        health.healthz,
    ),
    Route(
        RouteDoc(
            "GET", "/readyz", "ready", "Whether the server can do its work", "server",
            permission=None,
            asks_in_part=True,
            query=parameters.ReadyQuery,
            responses={
                **answer("It can.", resources.ReadySchema), **problems(404, 422, 503)
            },
        ),
        health.readyz,
    ),
    Route(
        RouteDoc(
            "GET", "/metrics", "metrics", "What the server counts, for Prometheus", "server",
            "Text, or OpenMetrics if `Accept` asks for it. docs/metrics.md has the series.",
            permission=Permission.READ,
            every_model=True,
            responses={
                200: ResponseDoc(
                    "The series.", None, ("text/plain", "application/openmetrics-text")
                )
            },
        ),
        metrics_page.metrics,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/", "models", "All models", "models",
            permission=Permission.READ,
            responses=answer(
                "The models, also those that cannot serve, with the reason.",
                resources.ModelsSchema,
            ),
        ),
        models.list_models,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/", "model", "One model", "models",
            permission=Permission.READ,
            path_parameters=MODEL,
            responses={**answer("The model.", resources.ModelDetailSchema), **problems(404)},
        ),
        models.get_model,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/predict/", "predict", "Predict", "predict",
            permission=Permission.PREDICT,
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
            permission=Permission.TRAIN,
            headers=parameters.KeyHeaders,
            path_parameters=MODEL,
            responses={
                **answer("The record.", resources.RunSchema, Location="The record's address."),
                **problems(*_START),
            },
            model_body="train",
        ),
        train.start,
        fills=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/", "runs", "All trainings of a model", "train",
            permission=Permission.READ,
            query=parameters.ListRunsQuery,
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
            permission=Permission.READ,
            path_parameters=RUN,
            responses={**answer("The record.", resources.RunSchema), **problems(404, 503)},
        ),
        train.get_run,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/models/{model}/train/{id}", "cancel", "Cancel a training", "train",
            "Its processes are gone within 5 seconds; its record stays. An ended one is unchanged, "
            "but for `purge`.",
            permission=Permission.TRAIN,
            query=parameters.EndRunQuery,
            path_parameters=RUN,
            responses={
                **answer("The record.", resources.RunSchema), **problems(404, 409, 422, 503, 507)
            },
        ),
        train.cancel,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/log", "run_log", "A training's log", "train",
            permission=Permission.READ,
            query=parameters.LogQuery,
            path_parameters=RUN,
            responses={**text("The log.", "text/plain"), **problems(404, 422, 503)},
        ),
        watch.log,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/metrics", "run_metrics",
            "What a training reported", "train",
            permission=Permission.READ,
            query=parameters.MetricsQuery,
            path_parameters=RUN,
            responses={
                **answer("The series.", resources.MetricsSchema), **problems(404, 422, 503)
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
            permission=Permission.READ,
            query=parameters.EventsQuery,
            headers=parameters.EventsHeaders,
            path_parameters=RUN,
            responses={**text("The events.", "text/event-stream"), **problems(404, 422, 503)},
        ),
        events.events,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/train/{id}/checkpoints", "run_checkpoints",
            "What a training has saved", "train",
            permission=Permission.READ,
            path_parameters=RUN,
            responses={
                **answer("The checkpoints.", resources.CheckpointsSchema), **problems(404, 503)
            },
        ),
        watch.checkpoints,
    ),
    *INFER_ROUTES,
    *RUN_ROUTES,
    *WEIGHTS_ROUTES,
    *ARCHIVE_ROUTES,
    *EXPORT_ROUTES,
    *DATASET_ROUTES,
    Route(
        RouteDoc(
            "GET", "/openapi.json", "openapi", "This document", "server",
            permission=Permission.READ,
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
            permission=Permission.READ,
            responses={
                200: ResponseDoc("Swagger 2.0.", resources.SwaggerSchema),
                304: ResponseDoc("It has not changed.", None, ()),
            },
        ),
        describe.swagger,
    ),
)  # fmt: skip
"""The API. Pages for people (Swagger UI, TensorBoard) are added below and stand in no document."""


def add_routes(app: web.Application, settings: Settings) -> None:
    """Registers everything under the prefix; every address answers with and without last slash."""
    base_path = settings.base_path
    needs: dict[web.AbstractRoute, Needs] = {}
    declared = [route.doc.path for route in ROUTES]

    def add(method: str, address: str, handler: Handler, needed: Needs) -> None:
        for one in (method, "HEAD") if method == "GET" else (method,):
            needs[app.router.add_route(one, address, handler)] = needed

    for route in ROUTES:
        handler = _validated(route) if _is_on(route, settings) else _switched_off
        needed = Needs(route.doc.permission, route.doc.every_model)
        for template in templates(route.doc.path, declared, base_path):
            add(route.doc.method, template, handler, needed)
    for page in ("ui", "api") if settings.doc_endpoint else ():
        for address in (page, f"{page}/"):
            add("GET", f"{base_path}/{address}", documents.ui, PUBLIC)
        add("GET", f"{base_path}/{page}/{{file}}", documents.ui_file, PUBLIC)
    add("GET", f"{base_path}/sign-in", sign_in.page, PUBLIC)
    add("POST", f"{base_path}/sign-in", sign_in.sign_in, PUBLIC)
    add("GET", f"{base_path}/sign-in/start", issuer_sign_in.start, PUBLIC)
    add("GET", f"{base_path}/sign-in/callback", issuer_sign_in.callback, PUBLIC)
    add("POST", f"{base_path}/sign-out", sign_in.sign_out, PUBLIC)
    all_runs = Needs(Permission.READ, every_model=True, page=True)
    add("GET", f"{base_path}/tensorboard", tensorboard.redirect, all_runs)
    add("*", f"{base_path}/tensorboard/{{tail:.*}}", tensorboard.proxy, all_runs)
    app[NEEDS] = needs


def documented(settings: Settings) -> list[RouteDoc]:
    """The declarations of what is not switched off, with the answers that many routes have."""
    docs = []
    for route in ROUTES:
        if _is_on(route, settings):
            doc, more = route.doc, problems(*EVERYWHERE, *((402,) if _switch(route) else ()))
            if route.once:
                doc = replace(doc, headers=doc.headers or parameters.KeyHeaders)
                more = {**problems(409, 422), **more}
            if route.fills:
                more = {**problems(507), **more}
            docs.append(replace(doc, responses={**more, **doc.responses}))
    return docs


def _switch(route: Route) -> str | None:
    return next((SWITCHES[path] for path in SWITCHES if route.doc.path.startswith(path)), None)


def _is_on(route: Route, settings: Settings) -> bool:
    name = _switch(route)
    return name is None or bool(getattr(settings, name))


async def _switched_off(request: web.Request) -> web.StreamResponse:
    await model_name_of(request)
    raise EndpointDisabled


def _validated(route: Route) -> Handler:
    query, body, uploads = _made(route.doc.query), _made(route.doc.body), route.doc.uploads
    repeats = route.once and not uploads
    if route.doc.read_by_handler:
        body, uploads = None, ()
    if query is None and body is None and not (uploads or repeats or route.fills):
        return route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.fills:
            await require_room(request)
        if query is not None:
            request[QUERY] = await parse_query(request, query)
        if body is not None or uploads:
            parsed = await parse_body(request, body, uploads)
            if parsed is not None:
                request[BODY] = parsed
        if not repeats:
            return await route.handler(request)
        given = [request.get(QUERY), request.get(BODY)]
        return await once(request, given, lambda: route.handler(request))

    return handle


def _made(schema: SchemaLike | None) -> Schema | None:
    return schema() if isinstance(schema, type) else schema
