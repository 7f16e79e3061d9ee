"""`/v2/models/{model}/weights/{id}/exports/`: versions in formats that run elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from ..errors import InvalidArguments, NotFound
from ..schemas.export_resources import EXPORT_LIMIT_S, ExportSchema, ExportsSchema
from ..storage.exports import Export
from ..storage.weights import WeightsVersion
from .body import SENT
from .exporting import EXPORTER, SAFETENSORS, exports_of, has_safetensors
from .plugin_tasks import run_model_task
from .responses import json_response
from .services import BODY, Services, model_name_of, services
from .terms import timeout_of


async def list_exports(request: web.Request) -> web.StreamResponse:
    """What can be made of a version, and what has been."""
    here, version = services(request), await _version(request)
    found = await asyncio.to_thread(exports_of(version).all)
    data = {
        "formats": _formats(here, version),
        "exports": [_data(here, version, export) for export in found],
    }
    return json_response(data, ExportsSchema())


async def make_export(request: web.Request) -> web.StreamResponse:
    """Makes it in a process of its own; answers when it is there, or says why it cannot be."""
    begun, limit_s = time.monotonic(), timeout_of(request.headers.get("X-Request-Timeout"))
    here, version = services(request), await _version(request)
    wanted, formats = str(request[BODY]["format"]), _formats(here, version)
    if wanted not in formats:
        known = f"{wanted!r} is not one of: {', '.join(formats)}."
        none = f"This model exports to no other format, so not to {wanted!r}."
        place = here.url(_path(version).replace("/exports/", "/archive"))
        archives = f"Archives (tar.gz, tar.xz, zip) always work: GET {place}."
        raise InvalidArguments({"format": [f"{known if formats else none} {archives}"]})

    version = await here.rooms.keeper.local(version, limit_s)

    async def perform(parameters: Mapping[str, Any]) -> dict[str, Any]:
        return await run_model_task(
            *(here.settings, here.home, here.pool, version.model, "export", parameters),
            timeout_s=limit_s or EXPORT_LIMIT_S,
        )

    left_s = None if limit_s is None else limit_s - (time.monotonic() - begun)  # it was fetched
    export, made = await request.config_dict[EXPORTER].make(version, wanted, perform, left_s)
    data = _data(here, version, export)
    return json_response(
        data,
        ExportSchema(),
        status=201 if made else 200,
        headers={"Location": data["links"]["self"]},
    )


async def get_export(request: web.Request) -> web.StreamResponse:
    """The file of an export; several are one zip. Ranges can be asked for."""
    version, wanted = await _version(request), request.match_info["format"]
    exports = exports_of(version)
    export = await asyncio.to_thread(exports.find, wanted)
    if export is None:
        raise NotFound(
            f"The version {version.id} has no export {wanted!r} yet: make it with a POST to "
            f"{services(request).url(_path(version))}."
        )
    suffix = Path(export.file).suffix
    headers = {
        "Content-Disposition": f'attachment; filename="{version.model}-{version.id[:8]}{suffix}"',
        "X-Content-SHA256": export.sha256,
    }
    response = web.FileResponse(exports.path(export), SENT, headers=headers)
    response.content_type = "application/zip" if suffix == ".zip" else "application/octet-stream"
    return response


async def _version(request: web.Request) -> WeightsVersion:
    model = await model_name_of(request)
    return await services(request).version(model, request.match_info["id"])


def _formats(here: Services, version: WeightsVersion) -> list[str]:
    """The weights' own form, and what the model can write if it is served here."""
    formats = [SAFETENSORS] if has_safetensors(version) else []
    if version.model in here.pool:
        description = here.pool.get(version.model).description
        formats += description.export_formats if description is not None else []
    return formats


def _path(version: WeightsVersion) -> str:
    return f"/v2/models/{version.model}/weights/{version.id}/exports/"


def _data(here: Services, version: WeightsVersion, export: Export) -> dict[str, Any]:
    return {**asdict(export), "links": {"self": here.url(_path(version) + export.format)}}
