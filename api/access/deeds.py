"""What a request changes is changed whole, also if its client hangs up. Runs in the front.

A handler is cancelled when its client has gone. But a change has several steps: what the records
say, and who goes by them. So they are one piece of work, which ends before the handler does, and
what came of it is for the audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

Answer = TypeVar("Answer", bound=web.StreamResponse)

DONE = web.RequestKey("done", web.StreamResponse)
"""The answer that nobody took: its client had hung up. Not there if there is none."""


async def carry_out(request: web.Request, work: Awaitable[Answer]) -> Answer:
    """The answer of `work`, which goes on to its end whatever happens to the client, but for a
    server that stops. Raises what `work` raises."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            answer: web.StreamResponse = task.result()
            request[DONE] = answer
        raise
