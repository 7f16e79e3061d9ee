"""The routes of weights versions."""

from __future__ import annotations

from ..schemas import weights_resources as resources
from ..schemas.routes import RouteDoc, problems
from . import weights
from .route import MODEL, WEIGHTS, Route, answer

WEIGHTS_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/", "weights", "All weights of a model", "weights",
            path_parameters=MODEL,
            responses={
                **answer("Newest first.", resources.WeightsListSchema), **problems(404, 503)
            },
        ),
        weights.list_weights,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/models/{model}/weights/{id}", "weights_version", "One version", "weights",
            path_parameters=WEIGHTS,
            responses={**answer("The version.", resources.WeightsSchema), **problems(404, 503)},
        ),
        weights.get_weights,
    ),
)  # fmt: skip
