"""What every group of calls stands on: one server's transport, and lists that come in pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from yarl import URL

from .bodies import CallBody
from .errors import UnexpectedAnswer
from .transport import Call, Timeouts, Transport

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
LONGEST_PAGE = 1000
"""Items that the server gives at once, at most."""


def new_key() -> dict[str, str]:
    """The header of a call that creates: repeated after a lost connection it makes nothing twice,
    and is answered as the first would have been."""
    return {"Idempotency-Key": uuid.uuid4().hex}


class Calls:
    """A part of `AsyncClient`, which makes what stands here."""

    _transport: Transport
    _timeouts: Timeouts
    _reconnect_s: float

    async def _get(
        self, path: str, query: Mapping[str, Any] | None = None, retried: bool = True
    ) -> Any:
        return await self._transport.json(Call("GET", path, query or {}, retried=retried))

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        """The JSON value of the answer; None if there is none (204)."""
        call = Call(method, path, body=CallBody(body or {}), **more)
        async with self._transport.open(call) as response:
            return None if response.status == 204 else await self._transport.json_of(response)

    async def _delete(self, path: str, query: Mapping[str, Any] | None = None) -> None:
        """Has the server remove something. Raises ClientError's family, UnexpectedAnswer for any
        answer but "it is gone": a page that something else shows is none."""
        async with self._transport.open(Call("DELETE", path, query or {})) as response:
            if response.status != 204:
                raise UnexpectedAnswer(
                    f"The server answered {response.status} to DELETE {path}, not 204. Is it a "
                    "Modelyard server?",
                    response.status,
                )

    async def _page(self, path: str, query: Mapping[str, Any]) -> tuple[Any, dict[str, Any] | None]:
        """One page of a list, and the query of the next one, if there is one."""
        async with self._transport.open(Call("GET", path, query, streamed=True)) as response:
            data = await self._transport.json_of(response)
            following = _NEXT.search(response.headers.get("Link", ""))
        return data, None if following is None else _query_of(following.group(1))


def _query_of(link: str) -> dict[str, Any]:
    """The query of the next page's address; its host may be one that only the server knows."""
    from_link = URL(link).query
    return {name: from_link.getall(name) for name in from_link}
