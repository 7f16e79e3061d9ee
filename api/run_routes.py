"""The routes that stop a run and go on with it."""

from __future__ import annotations

from ..schemas import resources
from ..schemas.permissions import Permission
from ..schemas.routes import RouteDoc, problems
from ..schemas.run_resources import ResumeSchema
from . import resume
from .route import RUN, Route, answer

RUN_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/train/{id}/pause", "pause", "Pause a training", "train",
            "It saves a checkpoint and ends its processes; its phase is `paused` once that is done "
            "(30 seconds at most). Its arguments and files are kept. Only trainings that can go on "
            "from a checkpoint are paused.",
            permission=Permission.TRAIN,
            path_parameters=RUN,
            responses={
                **answer("The record.", resources.RunSchema), **problems(404, 409, 503, 507)
            },
        ),
        resume.pause,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/models/{model}/train/{id}/resume", "resume", "Go on with a training",
            "train",
            "A paused one goes on under its own id. Of one that has ended and is not done a new "
            "one is made, which begins at its last checkpoint; its secret arguments have to be "
            "given again.",
            permission=Permission.TRAIN,
            path_parameters=RUN,
            body=ResumeSchema,
            responses={
                **answer(
                    "The record of the training that goes on: `resumed_from` is set if it is a new "
                    "one.",
                    resources.RunSchema, Location="The record's address.",
                ),
                **problems(400, 404, 409, 413, 415, 422, 500, 503, 507),
            },
        ),
        resume.resume,
        once=True,
        fills=True,
    ),
)  # fmt: skip
