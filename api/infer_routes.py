"""The routes of the Open Inference Protocol (V2) beside those that it shares with ours."""

from __future__ import annotations

from dataclasses import replace

from ..schemas.inference_resources import (
    InferAnswerSchema,
    InferErrorSchema,
    InferRequestSchema,
    LiveSchema,
    ModelReadySchema,
    ServerReadySchema,
)
from ..schemas.permissions import Permission
from ..schemas.resources import ModelDetailSchema
from ..schemas.routes import JSON, PathParameter, ResponseDoc, RouteDoc, problems
from ..schemas.tensors import BARE
from . import infer
from .parameters import InferHeaders
from .route import ID, MODEL, Route, answer

VERSION = {
    **MODEL,
    "version": PathParameter(
        "A weights version, or an alias such as `latest`.", f"{ID}|[A-Za-z][A-Za-z0-9._-]{{0,99}}"
    ),
}
_CALL = (400, 404, 406, 409, 413, 415, 429, 500, 501, 503, 504, 507)


def _errors(*statuses: int) -> dict[int, ResponseDoc]:
    """The usual answers for these statuses, in the protocol's form."""
    return {
        status: ResponseDoc(doc.description, InferErrorSchema, headers=doc.headers)
        for status, doc in problems(*statuses).items()
    }


_HOW = (
    "As the Open Inference Protocol (V2) has it, for models whose arguments are tensors. With the "
    "header `Inference-Header-Content-Length` numbers may follow the JSON as bytes."
)

_INFER = RouteDoc(
    "POST",
    "/v2/models/{model}/infer",
    "infer",
    "Predict with tensors",
    "inference",
    _HOW,
    permission=Permission.PREDICT,
    headers=InferHeaders,
    body=InferRequestSchema,
    uploads=(BARE,),
    read_by_handler=True,
    path_parameters=MODEL,
    responses={
        200: ResponseDoc(
            "The output tensors; with binary ones `application/octet-stream`: the JSON, of "
            "`Inference-Header-Content-Length` bytes, and the numbers.",
            InferAnswerSchema,
            (JSON, BARE),
            headers={"X-Modelyard-Weights": "The weights version that answered."},
        ),
        **_errors(*_CALL),
    },
)

INFER_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/v2/health/live", "infer_live", "Whether the server is alive", "inference",
            permission=None,
            responses=answer("It is.", LiveSchema),
        ),
        infer.live,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/health/ready", "infer_ready", "Whether every model can answer",
            "inference",
            permission=None,
            responses={**answer("They can.", ServerReadySchema), **_errors(503)},
        ),
        infer.ready,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/ready", "infer_model_ready", "Whether a model can answer",
            "inference",
            permission=Permission.READ,
            path_parameters=MODEL,
            responses={**answer("It can.", ModelReadySchema), **_errors(404, 503)},
        ),
        infer.model_ready,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/versions/{version}/ready", "infer_version_ready",
            "Whether a version can answer", "inference",
            permission=Permission.READ,
            path_parameters=VERSION,
            responses={**answer("It can.", ModelReadySchema), **_errors(404, 503)},
        ),
        infer.model_ready,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/versions/{version}", "infer_version", "One version's model",
            "inference",
            permission=Permission.READ,
            path_parameters=VERSION,
            responses={**answer("The model.", ModelDetailSchema), **_errors(404, 503)},
        ),
        infer.metadata,
    ),
    Route(_INFER, infer.infer),
    Route(
        replace(
            _INFER,
            path="/v2/models/{model}/versions/{version}/infer",
            operation_id="infer_version_call",
            summary="Predict with tensors and a version",
            path_parameters=VERSION,
        ),
        infer.infer,
    ),
)  # fmt: skip
