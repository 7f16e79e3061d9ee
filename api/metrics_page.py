"""`GET /metrics`: what was counted, and what is the case now, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from ..serving.handle import ModelHandle
from .heads import listed
from .metrics import Metrics
from .services import services

METRICS = web.AppKey("metrics", Metrics)


async def metrics(request: web.Request) -> web.StreamResponse:
    """All series, as text or as OpenMetrics, whichever is asked for."""
    from .exposition import exposition  # only here: see there

    here, counted = services(request), request.config_dict[METRICS]
    body, content_type = await exposition(here, counted, listed(request, "Accept"))
    counted.keep(_loaded(here.pool.all()))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _loaded(handles: Iterable[ModelHandle]) -> set[tuple[str, str]]:
    return {
        (handle.name, group.calls.version or "") for handle in handles for group in handle.groups()
    }
