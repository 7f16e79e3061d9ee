"""Answers that become files: streamed, and whole when they appear under their name."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import uuid
from pathlib import Path
from urllib.parse import unquote

import aiohttp

from .content import Progress
from .errors import UnexpectedAnswer

_CHUNK = 256 * 1024
_SHA256 = "X-Content-SHA256"


async def save(
    response: aiohttp.ClientResponse, path: Path, progress: Progress | None = None
) -> int:
    """Streams an answer to `path`; returns its size in bytes.

    It is written under another name beside it, which is removed if anything goes wrong, and is on
    the disk before it gets its own. Raises UnexpectedAnswer if the server told a SHA-256 and it is
    another one, OSError.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    expected = response.headers.get(_SHA256)
    digest = hashlib.sha256() if expected else None
    done = 0
    try:
        with part.open("xb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                await asyncio.to_thread(file.write, chunk)
                done += len(chunk)
                if digest is not None:
                    digest.update(chunk)
                if progress is not None:
                    progress(done, response.content_length)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        if digest is not None and digest.hexdigest() != expected:
            raise UnexpectedAnswer(f"{path.name} came with other bytes than were sent: try again.")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def offered_name(response: aiohttp.ClientResponse) -> str | None:
    """The name in Content-Disposition: the last part only, since it comes from elsewhere."""
    header = response.headers.get("Content-Disposition", "")
    match = re.search(r"filename\*=UTF-8''([^;]+)", header) or re.search(
        r'filename="?([^";]+)', header
    )
    return Path(unquote(match.group(1))).name or None if match else None
