"""The routes of archives, model cards and share links."""

from __future__ import annotations

from ..schemas.archive_resources import ArchiveQuery, LinkRequestSchema, ShareLinkSchema
from ..schemas.permissions import Permission
from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc, problems
from ..schemas.weights_resources import WeightsSchema
from . import archives
from .route import MODEL, WEIGHTS, Route, answer

_UPLOADS = (
    "multipart/form-data",
    "application/octet-stream",
    "application/x-xz",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/zip",
    "application/x-zip-compressed",
)
_ARCHIVE = {
    200: ResponseDoc(
        "manifest.json, MODEL_CARD.md and files/, packed while they are sent. The connection is "
        "cut where a file turns out to be damaged.",
        None,
        ("application/gzip", "application/x-xz", "application/zip"),
        {
            "ETag": "Of its content.",
            "Content-Disposition": "A name for the file.",
            "Accept-Ranges": "`none`: it is always sent from its beginning.",
        },
    ),
    304: ResponseDoc("The client has it already (If-None-Match).", None, ()),
}

ARCHIVE_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}/archive", "weights_archive",
            "One version as a file", "weights",
            permission=Permission.READ,
            query=ArchiveQuery,
            path_parameters=WEIGHTS,
            responses={**_ARCHIVE, **problems(404, 409, 422, 500, 503)},
        ),
        archives.archive,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}/card", "weights_card",
            "The model card of a version", "weights",
            "Data, arguments, metrics, curves, environment and licence, in Markdown.",
            permission=Permission.READ,
            path_parameters=WEIGHTS,
            responses={
                200: ResponseDoc("The card.", None, ("text/markdown",)),
                **problems(404, 500, 503),
            },
        ),
        archives.card,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/", "weights_import",
            "Take in an archive of a version", "weights",
            "Every file is compared with the manifest before anything is kept.",
            permission=Permission.MANAGE,
            uploads=_UPLOADS,
            path_parameters=MODEL,
            responses={
                **answer("It was here already.", WeightsSchema, Location="Its address."),
                201: ResponseDoc("It is here now.", WeightsSchema,
                                 headers={"Location": "Its address."}),
                **problems(400, 404, 409, 413, 415, 503, 507),
            },
        ),
        archives.take_in,
        once=True,
        fills=True,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/{id}/link", "weights_link",
            "An address that gives a version to others", "weights",
            "Whoever has the address gets the archive until it ends.",
            permission=Permission.MANAGE,
            body=LinkRequestSchema,
            path_parameters=WEIGHTS,
            responses={
                201: ResponseDoc("The address.", ShareLinkSchema),
                **problems(400, 404, 409, 415, 422, 500, 503, 507),
            },
        ),
        archives.link,
        once=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/shared/{token}", "shared", "What a link gives", "weights",
            "The archive; the token is the permission.",
            permission=None,
            path_parameters={"token": PathParameter("The link's token.", "[A-Za-z0-9_.-]{1,1000}")},
            responses={**_ARCHIVE, **problems(404, 409, 500, 503)},
        ),
        archives.shared,
    ),
)  # fmt: skip
