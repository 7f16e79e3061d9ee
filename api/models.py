"""`GET /v2/models/` and `/v2/models/{model}/`: what is served, its state, and what to send."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..models_plugin.plugin import DEEPAAS_GROUP
from ..schemas.tensors import can_infer, tensor_metadata
from ..serving.handle import ModelHandle
from .access.principal import principal_of
from .responses import json_response
from .services import Services, model_of, services

CHOICES_SHOWN = 100
_GENERIC = "A model served by Modelyard; its plugin gives no description."
_UNKNOWN = "A model served by Modelyard."
"""As long as the plugin has not been imported, or if it cannot be."""


async def list_models(request: web.Request) -> web.StreamResponse:
    """Every model that the caller may know of, also those that cannot serve, with the reason."""
    here = services(request)
    principal = principal_of(request)
    seen = [handle for handle in here.pool.all() if principal.sees(handle.name)]
    return json_response({"models": [_model(here, handle) for handle in seen]})


async def get_model(request: web.Request) -> web.StreamResponse:
    """One model with its arguments, its worker processes and its newest weights."""
    here = services(request)
    handle = model_of(request)
    data = _model(here, handle)
    data["arguments"] = handle.description.to_data() if handle.description else None
    data["workers"] = handle.workers
    data["traffic"] = handle.traffic.to_data(handle.weights)
    newest = await here.rooms.versions.list(handle.name, CHOICES_SHOWN)
    data["choices"] = {"weights": [version.id for version in newest]}
    if can_infer(handle.description):
        data["versions"] = data["choices"]["weights"]
    return json_response(data)


def _model(here: Services, handle: ModelHandle) -> dict[str, Any]:
    """Metadata of the plugin under the keys of the server, which win.

    `id` is the name in the URL (DEEPaaS clients build addresses from it), and so is `name`, except
    that DEEPaaS modules keep the one that they give themselves.
    """
    path = here.url(f"/v2/models/{handle.name}/")
    described = handle.description
    data: dict[str, Any] = dict(described.metadata) if described else {}
    data.setdefault("description", data.get("summary") or (_GENERIC if described else _UNKNOWN))
    own_name = data.get("name") if handle.source.group == DEEPAAS_GROUP else None
    data.update(
        id=handle.name,
        name=own_name if isinstance(own_name, str) and own_name else handle.name,
        state=handle.state,
        contract=described.contract if described else None,
        capabilities=described.capabilities if described else [],
        weights=handle.weights,
        distribution=handle.source.distribution,
        version=data.get("version") or handle.source.distribution_version,
        links=[{"rel": "self", "type": "application/json", "href": path}],
    )
    if described is not None and can_infer(described):
        data.update(
            platform="modelyard",
            inputs=tensor_metadata(described.predict_arguments),
            outputs=tensor_metadata(described.predict_response),
        )
    if handle.problem is not None:
        data["error"] = handle.problem
    if handle.weights_error is not None:
        data["weights_error"] = handle.weights_error
    return data
