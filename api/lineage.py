"""`/v2/models/{model}/weights/{id}/lineage`: where a version comes from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..errors import Corrupt, WeightsNotFound
from ..schemas.export_resources import LineageSchema
from ..storage.weights import WeightsVersion
from .responses import json_response
from .services import model_name_of, services

_RECORDED = (
    "dataset", "uploads", "arguments", "secrets", "seed", "weights", "code", "environment",
    "earlier", "resumed_from", "repeats", "curves",
)  # fmt: skip


async def get_lineage(request: web.Request) -> web.StreamResponse:
    """What was recorded when it was trained; members of older releases' versions are null."""
    model, here = await model_name_of(request), services(request)
    version = await here.rooms.keeper.local(await here.version(model, request.match_info["id"]))
    manifest = await manifest_of(version)
    recorded = recorded_in(manifest)
    parent, path = manifest.get("parent"), f"/v2/models/{version.model}"
    links = {"version": here.url(f"{path}/weights/{version.id}")}
    if version.run is not None:
        links["run"] = here.url(f"{path}/train/{version.run}")
    if parent is not None:
        links["parent"] = here.url(f"{path}/weights/{parent}")
    data = {
        "id": version.id,
        "model": version.model,
        "run": version.run,
        "created_at": version.created_at,
        "origin": manifest.get("origin") or "training",
        "step": version.step,
        "checkpoint": version.checkpoint,
        "metrics": version.metrics,
        "parent": parent,
        **{name: recorded.get(name) for name in _RECORDED},
        "dataset": manifest.get("dataset"),
        "secrets": recorded.get("secrets") or [],
        "weights": recorded.get("weights") or {},
        "earlier": recorded.get("earlier") or [],
        "curves": recorded.get("curves") or {},
        "links": links,
    }
    return json_response(data, LineageSchema())


async def manifest_of(version: WeightsVersion) -> dict[str, Any]:
    """The manifest of a version on this disk. Raises WeightsNotFound if its files are not here,
    Corrupt if it is damaged."""
    try:
        text = await asyncio.to_thread((version.folder.parent / "manifest.json").read_bytes)
    except FileNotFoundError:
        raise WeightsNotFound(f"The files of the version {version.id} are not here.") from None
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise Corrupt.here("its manifest.json cannot be read") from error


def recorded_in(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What `training/lineage.py` wrote; empty for a version of an older release."""
    found = manifest.get("lineage")
    return dict(found) if isinstance(found, Mapping) else {}
