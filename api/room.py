"""Room on the disk: asked for before anything is taken in. Runs in the front."""

from __future__ import annotations

import asyncio
import shutil

from aiohttp import web

from ..errors import DiskFull
from .services import Services, services


async def require_room(request: web.Request) -> None:
    """Raises DiskFull if what the request brings would take of the space that is to stay free.

    A body of unknown length counts as nothing: writing it fails where the disk ends.
    """
    await require(services(request), request.content_length or 0)


async def require(here: Services, needed: int) -> None:
    """The same for `needed` bytes. Raises DiskFull, which tells what there is."""
    reserve = here.settings.min_free
    if not reserve:
        return
    free = (await asyncio.to_thread(shutil.disk_usage, here.home.root)).free
    if free - needed < reserve:
        raise DiskFull(
            f"The server's disk has {free} bytes left; this needs {needed}, and {reserve} are to "
            "stay free (--min-free). Nothing was kept: try again when there is room.",
            free=free,
            needed=needed,
            reserve=reserve,
        )
