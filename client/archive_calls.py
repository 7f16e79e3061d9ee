"""Weights versions as files: archives, share links, model cards, exports; and their lineage."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from .calls import Calls, new_key
from .content import FileContent, FormBody, Progress
from .downloads import save
from .transport import Call, path_of
from .weights import Export, Exports, Lineage, ShareLink, Weights

_TAKING_IN_S = 600.0
"""The server's silence while it verifies an archive."""
_EXPORTING_S = 900.0
"""The server's silence while a model writes an export and others wait before it."""


class ArchiveCalls(Calls):
    """What `AsyncClient` has for versions as files; `version` is an id or an alias."""

    async def export_archive(
        self,
        model: str,
        version: str,
        save_to: str | os.PathLike[str],
        *,
        format: str = "tar.gz",
        progress: Progress | None = None,
    ) -> int:
        """Saves a version with its manifest and model card as one archive (`tar.gz`, `tar.xz` or
        `zip`); returns its size in bytes. The file is whole when it appears.

        `progress` is called with the bytes that came; how many there will be is not known, for it
        is packed while it is sent.
        """
        call = Call(
            "GET", self._version(model, version, "archive"), {"format": format}, streamed=True
        )
        async with self._transport.open(call) as response:
            return await save(response, Path(save_to), progress)

    async def import_archive(
        self, model: str, archive: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Weights:
        """Has the server take in an archive of a version: verified, and listed under its own id.

        One that is there already changes nothing. `progress` is called with the bytes sent and in
        all. Raises Conflict for an archive of another model, RequestRefused for a damaged one.
        """
        content = await asyncio.to_thread(FileContent, archive)

        def told(sent: int) -> None:
            if progress is not None:
                progress(sent, content.size)

        call = Call(
            "POST",
            path_of("v2", "models", model, "weights", ""),
            headers=new_key(),
            body=FormBody(content, told),
            timeout_s=_TAKING_IN_S,
        )
        return Weights.from_data(model, await self._transport.json(call))

    async def share_link(
        self, model: str, version: str, *, expires_s: int | None = None, format: str = "tar.gz"
    ) -> ShareLink:
        """An address that gives the archive to whoever has it, for `expires_s` seconds (a day)."""
        body = {"format": format} | ({} if expires_s is None else {"expires_s": expires_s})
        path = self._version(model, version, "link")
        # A store is sent the archive first.
        more = {"headers": new_key(), "streamed": True, "timeout_s": _TAKING_IN_S}
        data = await self._send("POST", path, body, **more)
        return ShareLink.from_data(data)

    async def model_card(self, model: str, version: str) -> str:
        """Data, arguments, metrics, curves, environment and licence, in Markdown."""
        call = Call("GET", self._version(model, version, "card"), streamed=True)
        async with self._transport.open(call) as response:
            return (await response.read()).decode("utf-8", "replace")

    async def lineage(self, model: str, version: str) -> Lineage:
        """Data, code, environment, arguments, seed, parent and run of a version."""
        call = Call("GET", self._version(model, version, "lineage"), streamed=True)
        return Lineage.from_data(await self._transport.json(call))

    # -- exports ------------------------------------------------------------------------------

    async def exports(self, model: str, version: str) -> Exports:
        """In which formats a version can be had, and which of them have been made."""
        return Exports.from_data(await self._get(self._version(model, version, "exports", "")))

    async def make_export(
        self, model: str, version: str, format: str, *, timeout_s: float | None = None
    ) -> Export:
        """Makes an export (`onnx`, ...) if it is not there; takes seconds to minutes.

        `timeout_s` is the server's deadline for it; without one the model may take ten minutes.
        Raises ArgumentsRefused for a format that the model lacks, NotSupported naming the packages
        that the server would need for it.
        """
        path = self._version(model, version, "exports", "")
        headers, silence = new_key(), _EXPORTING_S
        if timeout_s is not None:
            headers["X-Request-Timeout"] = f"{timeout_s:g}"
            silence = timeout_s + 10  # the server's own words come first
        more = {"headers": headers, "streamed": True, "timeout_s": silence}
        return Export.from_data(await self._send("POST", path, {"format": format}, **more))

    async def download_export(
        self,
        model: str,
        version: str,
        format: str,
        save_to: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Saves an export that was made; returns its size in bytes. The file is whole when it
        appears. `progress` is called with the bytes that came and in all."""
        call = Call("GET", self._version(model, version, "exports", format), streamed=True)
        async with self._transport.open(call) as response:
            return await save(response, Path(save_to), progress)

    @staticmethod
    def _version(model: str, version: str, *parts: str) -> str:
        return path_of("v2", "models", model, "weights", version, *parts)
