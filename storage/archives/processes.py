"""Runs the short-lived processes of archives. In the front, on its event loop.

They get no credentials and no settings, end with the call that asked for them, and with the front.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from pathlib import Path

from ... import errors
from ...errors import Corrupt, ModelyardError, StorageUnavailable
from ...seclusion import plain_environment
from ...standstill import end, watched
from .formats import DAMAGED, UNREADABLE, ArchiveFormat

log = logging.getLogger(__name__)

# Named and not imported: the front is to stay small.
_EXPORT, _IMPORT = f"{__package__}.export", f"{__package__}.import_"

CHUNK = 256 << 10  # bytes
_SAID = 4 << 10
"""Bytes of what a process that failed says that are told."""
_ANSWER = 256 << 10


async def exported(folder: Path, kind: ArchiveFormat) -> AsyncGenerator[bytes, None]:
    """The archive of the version's folder, in pieces, as fast as the caller takes them.

    Close it (`aclosing`), or the process waits. Raises Corrupt where the version is damaged, and
    StorageUnavailable: then what came so far is no whole archive.
    """
    process = await asyncio.create_subprocess_exec(
        *_command(_EXPORT, str(folder), kind.value),
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=plain_environment(os.environ), limit=CHUNK,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    said = asyncio.ensure_future(process.stderr.read())
    try:
        with watched(process):
            while piece := await process.stdout.read(CHUNK):
                yield piece
            code = await process.wait()
        if code != 0:
            raise _failed(code, (await said)[-_SAID:].decode("utf-8", "replace").strip())
    finally:
        await end(process, said)


def _failed(code: int, said: str) -> ModelyardError:
    if code == DAMAGED:
        return Corrupt.here(said)
    if code == UNREADABLE:
        return StorageUnavailable(f"The version cannot be read: {said}.")
    if code < 0:
        return StorageUnavailable(f"The process that packs was ended (signal {-code}). Try again.")
    log.error("an archive could not be packed (exit code %d): %s", code, said)
    return ModelyardError("The version cannot be packed; the server's log says why.")


async def imported(archive: Path, folder: Path, name: str, model: str) -> None:
    """Makes `folder` the version in the file `archive`, verified; it must not exist.

    Raises BadArchive, Conflict (another model's), DiskFull.
    """
    process = await asyncio.create_subprocess_exec(
        *_command(_IMPORT, str(archive), str(folder)),
        *(f"--model={model}", f"--name={name}", "--attached"),
        stdin=PIPE, stdout=PIPE, stderr=PIPE, env=plain_environment(os.environ),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    said = asyncio.ensure_future(process.stderr.read())
    try:
        with watched(process):
            answer = await process.stdout.read(_ANSWER)
            code = await process.wait()
        _raise_what_it_says(answer, code, (await said)[-_SAID:])
    finally:
        await end(process, said)


def _raise_what_it_says(answer: bytes, code: int, said: bytes) -> None:
    try:
        told = json.loads(answer)
    except ValueError:
        told = {}
    if code == 0 and "id" in told:
        return
    if "error" in told:
        # The name of one of our own classes, from a process of our own code.
        raise getattr(errors, told["error"])(told["message"], **told.get("details", {}))
    raise ModelyardError(f"The import ended with code {code}: {said.decode('utf-8', 'replace')}")


def _command(module: str, *arguments: str) -> list[str]:
    # -P: the folder that the server was started from is not on the path.
    return [sys.executable, "-P", "-m", module, *arguments]
