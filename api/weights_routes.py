"""The routes of weights versions."""

from __future__ import annotations

from ..schemas import weights_resources as resources
from ..schemas.permissions import Permission
from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc, problems
from . import parameters, weights
from .route import MODEL, RUN, WEIGHTS, Route, answer

_ALIAS = {
    **MODEL,
    "alias": PathParameter(
        "The name; no id of a version, and no word of the addresses of versions (`archive`). "
        "`latest` moves by itself.",
        "(?!latest$)[A-Za-z][A-Za-z0-9._-]{0,99}",
    ),
}
_CHECKPOINT = {**RUN, "name": PathParameter("Which of its checkpoints.", "best|last")}
_NOTHING = {204: ResponseDoc("Done.", None, ())}
_VERSION = answer("The version.", resources.WeightsSchema)
_ALIAS_ANSWER = answer("The alias.", resources.AliasSchema)
_BODY = (400, 413, 415, 422)

WEIGHTS_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/", "weights", "All weights of a model", "weights",
            "Newest first, a page at a time.",
            permission=Permission.READ,
            query=parameters.ListWeightsQuery,
            path_parameters=MODEL,
            responses={
                200: ResponseDoc("A page.", resources.WeightsListSchema,
                                 headers={"Link": "The next page (RFC 8288)."}),
                **problems(404, 422, 503),
            },
        ),
        weights.list_weights,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/aliases/", "aliases",
            "The aliases of a model's weights", "weights",
            permission=Permission.READ,
            path_parameters=MODEL,
            responses={
                **answer("`latest` first.", resources.AliasListSchema), **problems(404, 503)
            },
        ),
        weights.list_aliases,
    ),
    Route(
        RouteDoc(
            "PUT", "/v2/models/{model}/weights/aliases/{alias}", "move_alias",
            "Move an alias to a version", "weights",
            "`production` is what predictions use that name no version: they move without a "
            "restart. `latest` moves by itself. Several `versions` divide the calls by weight; "
            "a `shadow` gets copies of calls, and nobody waits for it.",
            permission=Permission.MANAGE,
            body=resources.MoveAliasSchema,
            path_parameters=_ALIAS,
            responses={**_ALIAS_ANSWER, **problems(404, 503, 507, *_BODY)},
        ),
        weights.move_alias,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/models/{model}/weights/aliases/{alias}", "remove_alias",
            "Remove an alias", "weights",
            permission=Permission.MANAGE,
            path_parameters=_ALIAS,
            responses={**_NOTHING, **problems(404, 422, 503, 507)},
        ),
        weights.remove_alias,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/aliases/{alias}/rollback", "roll_back_alias",
            "Move an alias back", "weights",
            "To the version that it named before; again, to the one before that.",
            permission=Permission.MANAGE,
            path_parameters=_ALIAS,
            responses={**_ALIAS_ANSWER, **problems(404, 409, 422, 503, 507)},
        ),
        weights.roll_back_alias,
        once=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}", "weights_version", "One version", "weights",
            permission=Permission.READ,
            path_parameters=WEIGHTS,
            responses={**_VERSION, **problems(404, 503)},
        ),
        weights.get_weights,
    ),
    Route(
        RouteDoc(
            "PATCH", "/v2/models/{model}/weights/{id}", "change_weights",
            "Set tags and notes of a version", "weights",
            permission=Permission.MANAGE,
            body=resources.LabelsSchema,
            path_parameters=WEIGHTS,
            responses={**_VERSION, **problems(404, 503, 507, *_BODY)},
        ),
        weights.change_weights,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/models/{model}/weights/{id}", "delete_weights", "Delete a version",
            "weights",
            "Here, and in the shared store for all servers. Refused while an alias that was set "
            "by hand names it, predictions use it or a run may need it.",
            permission=Permission.MANAGE,
            path_parameters=WEIGHTS,
            responses={**_NOTHING, **problems(404, 409, 503, 507)},
        ),
        weights.delete_weights,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/{id}/retry", "retry_weights",
            "Publish a version again", "weights",
            "Tries now what could not be published. A version that the shared store has is read "
            "again there, byte by byte, and what is missing or wrong is put again from this "
            "server's copy; it is `publishing` and served until then. Refused where its files are "
            "not on this server's disk.",
            permission=Permission.MANAGE,
            path_parameters=WEIGHTS,
            responses={**_VERSION, **problems(404, 409, 503, 507)},
        ),
        weights.retry_weights,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/weights/{id}/fetch", "fetch_weights",
            "Bring a version to this server's disk", "weights",
            "From the shared store, verified; using it does that too. Answers when it is here: "
            "`transfer` of the version tells how far it is.",
            permission=Permission.TRAIN,
            path_parameters=WEIGHTS,
            responses={**_VERSION, **problems(404, 500, 503, 507)},
        ),
        weights.fetch_weights,
        fills=True,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/train/{id}/checkpoints/{name}/promote",
            "promote_checkpoint", "Make a version of a training's other checkpoint", "train",
            "The training may be going on, or have ended in any way. `latest` stays where it is.",
            permission=Permission.TRAIN,
            path_parameters=_CHECKPOINT,
            responses={
                200: ResponseDoc("There is a version of it already.", resources.WeightsSchema),
                201: ResponseDoc("The version.", resources.WeightsSchema,
                                 headers={"Location": "The version's address."}),
                **problems(404, 422, 503, 507),
            },
        ),
        weights.promote_checkpoint,
        once=True,
        fills=True,
    ),
)  # fmt: skip
