"""The routes of a weights version's exports and of its lineage."""

from __future__ import annotations

from ..schemas import export_resources as resources
from ..schemas.permissions import Permission
from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc, problems
from . import exports, lineage
from .parameters import ExportHeaders
from .route import WEIGHTS, Route, answer

_EXPORT = {**WEIGHTS, "format": PathParameter("Its format.", resources.FORMAT_NAME)}

EXPORT_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}/lineage", "weights_lineage",
            "Where a version comes from", "weights",
            "Data, code, environment, arguments, seed, parent and run. `train?like={id}` repeats "
            "that training.",
            permission=Permission.READ,
            path_parameters=WEIGHTS,
            responses={
                **answer("Its lineage.", resources.LineageSchema), **problems(404, 500, 503)
            },
        ),
        lineage.get_lineage,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}/exports/", "exports",
            "A version's exports", "weights",
            permission=Permission.READ,
            path_parameters=WEIGHTS,
            responses={**answer("By format.", resources.ExportsSchema), **problems(404, 503)},
        ),
        exports.list_exports,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/{id}/exports/", "export",
            "Export a version to another format", "weights",
            "Written by the model in a process of its own, read again, and compared with the "
            "model's own answers to sample inputs. Takes seconds to minutes: a model makes one at "
            f"a time, and is given up after {resources.EXPORT_LIMIT_S:g} s, or what "
            "`X-Request-Timeout` says.",
            permission=Permission.TRAIN,
            headers=ExportHeaders,
            body=resources.ExportRequestSchema,
            path_parameters=WEIGHTS,
            responses={
                201: ResponseDoc("It was made.", resources.ExportSchema),
                **answer("It was there already.", resources.ExportSchema),
                **problems(400, 404, 413, 415, 422, 500, 501, 503, 504, 507),
            },
        ),
        exports.make_export,
        once=True,
        fills=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}/exports/{format}", "export_file",
            "Download an export", "weights",
            permission=Permission.READ,
            path_parameters=_EXPORT,
            responses={
                200: ResponseDoc(
                    "The file; several are one zip.", None,
                    ("application/octet-stream", "application/zip"),
                    {"X-Content-SHA256": "The SHA-256 of the whole file, in hex."},
                ),
                206: ResponseDoc("The part that was asked for.", None,
                                 ("application/octet-stream", "application/zip")),
                304: ResponseDoc("It has not changed.", None, ()),
                **problems(404, 503),
            },
        ),
        exports.get_export,
    ),
)  # fmt: skip
