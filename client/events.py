"""Server-Sent Events: read from a stream of lines, and taken up again where they broke off.

Format and reconnecting: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from .errors import ClientError, ServerUnreachable, TimedOut
from .runs import RUNNING, Event
from .transport import Call, Transport

_RECONNECT_S = 0.5
_LONGEST_PAUSE_S = 5.0


class EventParser:
    """Makes events of lines. `last_id` is that of the last whole event."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self._id = last_id
        self._type = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """One line without its end; the event that it completes, if it does."""
        if not line:
            return self._complete()
        name, _, value = line.partition(":")  # a comment has an empty name
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value or None
        return None

    def _complete(self) -> Event | None:
        kind, data = self._type or "message", "\n".join(self._data)
        self._type, self._data = "", []
        self.last_id = self._id
        if not data:
            return None
        try:
            return Event(kind, json.loads(data), self.last_id)
        except ValueError:
            return Event(kind, data, self.last_id)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of a stream of UTF-8 bytes, without their ends; a last one without an end too."""
    rest = b""
    async for chunk in chunks:
        rest += chunk
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


async def follow(
    transport: Transport,
    call: Call,
    last_event_id: str | None,
    reconnect_s: float,
    has_ended: Callable[[], Awaitable[bool]],
) -> AsyncIterator[Event]:
    """The events of a run until the record that tells its end.

    A lost connection, also through a restart of the server, is made again with Last-Event-ID;
    after `reconnect_s` seconds without success the error is raised. So is every refusal.
    `has_ended` is asked when the server ends the stream without telling the run's end: it told
    it before `last_event_id`, or it is being stopped.
    """
    parser = EventParser(last_event_id)
    loop = asyncio.get_running_loop()
    good_until, pause_s = loop.time() + reconnect_s, _RECONNECT_S
    while True:
        try:
            async for event in _events(transport, call, parser):
                good_until, pause_s = loop.time() + reconnect_s, _RECONNECT_S
                yield event
                if _tells_the_end(event):
                    return
            if await has_ended():
                return
        except (ServerUnreachable, TimedOut):
            if loop.time() > good_until:
                raise
        except ClientError as error:
            if error.status not in (502, 503, 504) or loop.time() > good_until:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
        # What a broken stream left half read is sent again from the last whole event.
        parser = EventParser(parser.last_id)


async def _events(transport: Transport, call: Call, parser: EventParser) -> AsyncIterator[Event]:
    headers = dict(call.headers)
    if parser.last_id is not None:
        headers["Last-Event-ID"] = parser.last_id
    async with transport.open(replace(call, headers=headers)) as response:
        async for line in lines_of(response.content.iter_any()):
            if (event := parser.feed(line)) is not None:
                yield event


def _tells_the_end(event: Event) -> bool:
    return (
        event.type == "record"
        and isinstance(event.data, dict)
        and event.data.get("status", RUNNING) != RUNNING
        and event.data.get("phase") in (None, "finished")
    )
