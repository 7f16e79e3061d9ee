"""Answers that become files: streamed, and whole when they appear under their name."""

from __future__ import annotations

import asyncio
import glob
import hashlib
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import aiohttp

from .content import Progress
from .errors import UnexpectedAnswer

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_CHUNK = 256 * 1024
_SHA256 = "X-Content-SHA256"


async def save(
    response: aiohttp.ClientResponse, path: Path, progress: Progress | None = None
) -> int:
    """Streams an answer to `path`; returns its size in bytes.

    It is written under another name beside it, which is removed if anything goes wrong, and is on
    the disk before it gets its own. What a client that was killed has left there of the same file
    is removed. Raises UnexpectedAnswer if the server told a SHA-256 and it is
    another one, OSError.
    """
    await asyncio.to_thread(_remove_left, path)
    part, file = await asyncio.to_thread(_open_part, path)
    expected = response.headers.get(_SHA256)
    digest = hashlib.sha256() if expected else None
    done = 0
    try:
        with file:
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


def _open_part(path: Path) -> tuple[Path, BinaryIO]:
    """A new part, held."""
    while True:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        file = part.open("xb")
        if _hold(file.fileno()) and os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # another download took it for one that was left, in this moment


def _remove_left(path: Path) -> None:
    """Parts of this file that no living download holds."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.part"):
        with suppress(OSError), left.open("rb") as file:
            if fcntl is not None and _hold(file.fileno()):
                left.unlink()


def _hold(descriptor: int) -> bool:
    """Locks an open file until it is closed, by whatever end; False if another one has it."""
    if fcntl is None:  # no Linux: what is left stays
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def offered_name(response: aiohttp.ClientResponse) -> str | None:
    """The name in Content-Disposition: the last part only, since it comes from elsewhere."""
    header = response.headers.get("Content-Disposition", "")
    match = re.search(r"filename\*=UTF-8''([^;]+)", header) or re.search(
        r'filename="?([^";]+)', header
    )
    return Path(unquote(match.group(1))).name or None if match else None
