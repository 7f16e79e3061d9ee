"""`/healthz` (the process is alive) and `/readyz` (it can do its work)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from aiohttp import web

from ..errors import ModelUnavailable, NotSignedIn
from ..schemas.permissions import Permission
from ..serving.handle import ModelHandle
from .access.principal import NOBODY, Principal, principal_of
from .responses import json_response
from .services import QUERY, Services, services


async def healthz(request: web.Request) -> web.StreamResponse:
    """Alive: the loop answers."""
    return json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.StreamResponse:
    """Ready: records and home are usable; with `?model=NAME` (or `all`) that model is too."""
    here = services(request)
    wanted = request[QUERY].get("model")
    handles = []
    if wanted is not None:
        _check_may_know(request, wanted)
        handles = here.pool.all() if wanted == "all" else [here.pool.get(wanted)]
    await check_ready(here, handles, principal_of(request))
    return json_response({"status": "ready", "models": {h.name: h.state for h in handles}})


def _check_may_know(request: web.Request, wanted: str) -> None:
    """That the server is ready is for everybody, which models it has is not.

    Raises NotSignedIn and MissingPermission.
    """
    principal = principal_of(request)
    if principal is NOBODY:
        raise NotSignedIn("To ask for a model this needs a key: send `Authorization: Bearer KEY`.")
    principal = principal.acting(Permission.READ)
    principal.check(Permission.READ)
    if wanted == "all":
        principal.check_every_model()
    else:
        principal.check_model(wanted)


async def check_ready(here: Services, handles: Sequence[ModelHandle], who: Principal) -> None:
    """Raises ModelUnavailable if the server, or one of these models, cannot do its work; of the
    models it names those that `who` may know of. Raises StorageUnavailable."""
    if here.stopping.is_set():
        raise ModelUnavailable("The server is stopping.")
    await here.store.check()
    if not await asyncio.to_thread(os.access, here.home.root, os.W_OK):
        raise ModelUnavailable("The home folder cannot be written.")
    waiting = [handle for handle in handles if handle.state not in ("ready", "unloaded")]
    if waiting:
        reads, reader = Permission.READ in who.permissions, who.acting(Permission.READ)
        known = [handle for handle in waiting if reads and reader.sees(handle.name)]
        told = [f"{handle.name} ({handle.state})" for handle in known]
        if len(told) < len(waiting):
            told.append(f"{len(waiting) - len(told)} of the server's models")
        raise ModelUnavailable(f"Not ready: {', '.join(told)}.")
