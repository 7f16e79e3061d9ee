"""How many predictions one client may have at the same time. Runs in the front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from aiohttp import web

from ..errors import TooManyCalls
from .access.principal import caller_of

_RETRY_S = 1.0


class Door:
    """`most` calls of one client at once; 0 is no limit. A client is a principal or an address."""

    def __init__(self, most: int, refused: Callable[[str | None], None]) -> None:
        """`refused` is told the model's name, as the address has it, of each call that is not."""
        self._most = most
        self._refused = refused
        self._inside: Counter[str] = Counter()

    def entered(self, request: web.Request) -> AbstractContextManager[None]:
        """Counts the block as one call of the request's client. Raises TooManyCalls."""
        return self.entered_by(caller_of(request), request.match_info.get("model"))

    @contextmanager
    def entered_by(self, client: str, model: str | None) -> Iterator[None]:
        """The same for the client of this address, by whatever protocol it came."""
        self.enter(client, model)
        try:
            yield
        finally:
            self.leave(client)

    def enter(self, client: str, model: str | None) -> None:
        """One call more. Raises TooManyCalls; else `leave` is to follow."""
        if not self._most:
            return
        if self._inside[client] >= self._most:
            self._refused(model)
            raise TooManyCalls(
                f"You have {self._most} predictions under way, which is the most that this server "
                "answers one client at the same time (client_calls).",
                _RETRY_S,
            )
        self._inside[client] += 1

    def leave(self, client: str) -> None:
        """One less."""
        if not self._most:
            return
        self._inside[client] -= 1
        if not self._inside[client]:
            del self._inside[client]
