"""Whether who was let in still is: for answers that go on for hours. Runs in the front."""

from __future__ import annotations

from aiohttp import web

from ...errors import ModelyardError
from ..services import services
from .enforcing import NEEDS, admit


class Stay:
    """The caller of one request whose answer goes on, such as the events of a training.

    A key is asked about again only when a key or token may have changed, a session each time.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._gate = services(request).gate
        self._has_key = "Authorization" in request.headers
        self._needs = request.config_dict[NEEDS].get(request.match_info.route)
        self._generation = -1

    async def refusal(self) -> ModelyardError | None:
        """Why the answer is to end: its caller's key was revoked or has expired, or they have
        signed out. None: it goes on."""
        generation = self._gate.generation
        if generation == self._generation and (self._has_key or not self._gate.closed):
            return None
        try:
            await admit(self._request, self._needs)
        except ModelyardError as error:
            return error
        self._generation = generation
        return None
