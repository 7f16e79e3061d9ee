"""`/v2/models/{model}/weights/`: the versions that predictions can use."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..schemas.weights_resources import WeightsSchema
from ..storage.weights import WeightsVersion
from .responses import json_response
from .services import model_name_of, services


async def list_weights(request: web.Request) -> web.StreamResponse:
    """Every version of a model, newest first."""
    model = await model_name_of(request)
    versions = await services(request).versions.list(model)
    data = [weights_data(version) for version in versions]
    return json_response({"weights": WeightsSchema(many=True).dump(data)})


async def get_weights(request: web.Request) -> web.StreamResponse:
    """One version, by its id or by `latest`."""
    model = await model_name_of(request)
    version = await services(request).versions.get(model, request.match_info["id"])
    return json_response(weights_data(version), WeightsSchema())


def weights_data(version: WeightsVersion) -> dict[str, Any]:
    """What a client sees of a version."""
    return {
        "id": version.id,
        "model": version.model,
        "run": version.run,
        "created_at": version.created_at,
        "state": version.state,
        "step": version.step,
        "checkpoint": version.checkpoint,
        "metrics": version.metrics,
        "files": version.files,
        "size": version.size,
        "aliases": list(version.aliases),
    }
