"""Large answers: packed if the client takes that, a file piece by piece. Runs in the front."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from ...serving.messages import Prediction
from ..body import SENT
from ..compression import Packer, coding_of, packable, packed
from ..predict import headers_of
from .answers import begin

Push = Callable[[bytes], Awaitable[None]]


async def send_large(prediction: Prediction, accepted: str, end: bytes, push: Push) -> int:
    """Hands all of the answer to `push`; the body's bytes as they were sent.

    `accepted` is what the client says of codings; `end` the last headers and the empty line.
    """
    headers = headers_of(prediction)
    coding = None
    if packable(prediction.content_type):
        headers["Vary"] = "Accept-Encoding"
        coding = coding_of(accepted)
    if coding is not None:
        headers["Content-Encoding"] = coding
    head = begin(200, headers)
    if prediction.path is None:
        body = prediction.body
        if coding is not None:
            body = await asyncio.to_thread(packed, body, coding)
        await push(b"%sContent-Length: %d\r\n%s%s" % (head, len(body), end, body))
        return len(body)
    with Path(prediction.path).open("rb") as file:
        if coding is None:
            size = Path(prediction.path).stat().st_size
            await push(b"%sContent-Length: %d\r\n%s" % (head, size, end))
            while chunk := await asyncio.to_thread(file.read, SENT):
                await push(chunk)
            return size
        packer, sent = Packer(coding), 0
        await push(b"%sTransfer-Encoding: chunked\r\n%s" % (head, end))
        while chunk := await asyncio.to_thread(file.read, SENT):
            sent += await _push_chunk(await asyncio.to_thread(packer.pack, chunk), push)
        sent += await _push_chunk(packer.rest(), push)
        await push(b"0\r\n\r\n")
        return sent


async def _push_chunk(piece: bytes, push: Push) -> int:
    if piece:  # an empty one would be the last
        await push(b"%x\r\n%s\r\n" % (len(piece), piece))
    return len(piece)
