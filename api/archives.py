"""A weights version as one file: its archive, its model card, links to it, and taking one in."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from ..clearing import make_folder
from ..errors import Busy, Conflict, Corrupt, InvalidRequest, StoreUnavailable
from ..records.weights import find_weights
from ..schemas.archive_resources import DAY_S, ShareLinkSchema
from ..schemas.transport import RequestData
from ..schemas.weights_resources import WeightsSchema
from ..storage.archives.card import model_card
from ..storage.archives.formats import ArchiveFormat
from ..storage.archives.links import Share, link_key, sign, verify
from ..storage.archives.manifests import as_bytes, check_exportable, load
from ..storage.archives.processes import exported, imported
from ..storage.stores.url import parse_store_url
from ..storage.versions import BadVersion, in_words, read_manifest
from ..storage.weights import WeightsVersion
from .body import ModelRequestReader
from .heads import listed
from .idempotency import files_given, idempotency_key, once
from .responses import json_response
from .services import BODY, QUERY, Services, model_name_of, services
from .weights import weights_data

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Archives that are packed or unpacked at the same time: a process each."""
LONGEST_PRESIGNED_S = 7 * DAY_S
"""What the signatures of S3 allow."""


class Places:
    """How many processes of archives there may be at once."""

    def __init__(self, free: int = AT_ONCE) -> None:
        self._free = free

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises Busy if all are taken."""
        if self._free == 0:
            raise Busy(f"{AT_ONCE} archives are under way already.", retry_after_s=5)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


PLACES = web.AppKey("archive_places", Places)


async def archive(request: web.Request) -> web.StreamResponse:
    """The version in one file, packed while it is sent."""
    version = await _version_of(request)
    return await _send(request, version, ArchiveFormat(request[QUERY]["format"]))


async def card(request: web.Request) -> web.StreamResponse:
    """What is known of the version, in Markdown."""
    version = await _version_of(request)
    folder = await _folder(services(request), version)
    text = await asyncio.to_thread(lambda: model_card(_manifest(folder)))
    headers = {"Content-Type": "text/markdown; charset=utf-8"}
    return web.Response(body=text, headers=headers)


async def link(request: web.Request) -> web.StreamResponse:
    """An address of the archive for others, by the store if that can, else by this server."""
    here = services(request)
    version = await _version_of(request)
    asked = request[BODY]
    kind, seconds = ArchiveFormat(asked["format"]), asked["expires_s"]
    expires_at = int(time.time()) + seconds
    by, url = "store", await _presigned(request, version, kind, seconds)
    if url is None:
        key = await asyncio.to_thread(link_key, here.home.root / "link.key")
        token = sign(key, Share(version.model, version.id, kind, expires_at))
        by, url = "server", f"{_root(request)}/v2/shared/{token}"
    told = {"url": url, "expires_at": datetime.fromtimestamp(expires_at, UTC), "by": by}
    return json_response(told, ShareLinkSchema(), status=201)


async def shared(request: web.Request) -> web.StreamResponse:
    """The archive that a link gives; the link is all that is asked for."""
    here = services(request)
    key = await asyncio.to_thread(link_key, here.home.root / "link.key")
    share = verify(key, request.match_info["token"], time.time())
    version = await here.version(share.model, share.version)
    return await _send(request, version, share.format)


async def take_in(request: web.Request) -> web.StreamResponse:
    """Lists the version that an archive holds: 201, or 200 if it was here already."""
    model = await model_name_of(request)
    folder = services(request).home.calls / uuid.uuid4().hex
    try:
        with request.config_dict[PLACES].one():
            archive = await _received(request, folder)
            work = partial(_unpacked, request, model, archive, folder / "version")
            taking = asyncio.ensure_future(once(request, files_given(archive), work))
            try:
                return await asyncio.shield(taking)
            except asyncio.CancelledError:
                if idempotency_key(request) is None:
                    taking.cancel()
                raise
            finally:  # the folder stays as long
                await asyncio.wait([taking])
    finally:
        if folder.exists():
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _received(request: web.Request, folder: Path) -> RequestData:
    """What came: one archive as a file of ours."""
    limit = services(request).settings.client_max_size
    hashed = idempotency_key(request) is not None
    data = await ModelRequestReader(request, folder, limit, hash_files=hashed).read()
    count = 1 if data.raw is not None else len(data.files)
    if count != 1:
        raise InvalidRequest(f"Send one archive, as the body or in a form: {count} came.")
    return data


async def _unpacked(
    request: web.Request, model: str, archive: RequestData, bundle: Path
) -> web.Response:
    here, file = services(request), archive.raw or archive.files[0]
    name = file.filename[:200].encode("utf-8", "replace").decode()
    printable = "".join(c if c.isprintable() else "?" for c in name)
    await imported(Path(file.path), bundle, printable, model)
    # From here on a client that hangs up changes nothing.
    keeping = asyncio.ensure_future(_keep(here, bundle))
    try:
        version, is_new = await asyncio.shield(keeping)
    finally:
        await asyncio.wait([keeping])
    headers = {"Location": here.url(f"/v2/models/{model}/weights/{version.id}")}
    status = 201 if is_new else 200
    return json_response(weights_data(here, version), WeightsSchema(), status, headers)


async def _keep(here: Services, bundle: Path) -> tuple[WeightsVersion, bool]:
    """Installs and lists a version that was verified. Raises Conflict if its id means another."""
    manifest = await asyncio.to_thread(read_manifest, bundle)
    known = await here.store.read(lambda c: find_weights(c, manifest.id))
    if known is None:
        return await _publish(here, bundle), True
    if known.model != manifest.model or _content(known.files) != _content(manifest.files):
        raise Conflict(f"Another version has the id {manifest.id} here.")
    if known.local:  # whole, as a rule; if not, this mends it
        await here.rooms.versions.install(bundle, mend=True)
    version = await here.rooms.versions.find(manifest.model, manifest.id)
    if version is None:  # deleted in this moment
        return await _publish(here, bundle), True
    return version, False


async def _publish(here: Services, bundle: Path) -> WeightsVersion:
    version = await here.rooms.versions.publish(bundle)
    await here.added(version)
    return version


def _content(files: Any) -> list[tuple[str, int, str]]:
    return sorted((item["path"], item["size"], item["sha256"]) for item in files)


async def _version_of(request: web.Request) -> WeightsVersion:
    model = await model_name_of(request)
    return await services(request).version(model, request.match_info["id"])


async def _folder(here: Services, version: WeightsVersion) -> Path:
    """The version's folder on this disk, fetched from the store if it was not here."""
    return (await here.rooms.keeper.local(version)).folder.parent


async def _send(
    request: web.Request, version: WeightsVersion, kind: ArchiveFormat
) -> web.StreamResponse:
    here = services(request)
    # Held before it is asked for: a copy of what the store has may be dropped at any time else.
    async with here.rooms.cache.holding([version.id]):
        return await _send_held(request, version, await _folder(here, version), kind)


async def _send_held(
    request: web.Request, version: WeightsVersion, folder: Path, kind: ArchiveFormat
) -> web.StreamResponse:
    tag = await asyncio.to_thread(_tag, folder, kind)
    headers = {
        "ETag": tag,
        "Content-Type": kind.content_type,
        "Content-Disposition": f'attachment; filename="{_filename(version, kind)}"',
        "Cache-Control": "private, no-cache",
        # A Content-Range names its last byte, which packing all of it alone would tell.
        "Accept-Ranges": "none",
    }
    if tag in listed(request, "If-None-Match"):
        return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        return web.Response(headers=headers)
    with request.config_dict[PLACES].one():
        async with aclosing(exported(folder, kind)) as pieces:
            return await _stream(request, pieces, headers)


async def _stream(
    request: web.Request, pieces: AsyncIterator[bytes], headers: dict[str, str]
) -> web.StreamResponse:
    """One piece behind: what fails within the first one still gets an answer with a status."""
    response = web.StreamResponse(headers=headers)
    held = b""
    async for piece in pieces:
        if held:
            if not response.prepared:
                await response.prepare(request)
            await response.write(held)
        held = piece
    if not response.prepared:
        await response.prepare(request)
    await response.write(held)
    await response.write_eof()
    return response


def _manifest(folder: Path) -> dict[str, Any]:
    """Raises Corrupt, which names no folder of this machine. Blocking."""
    try:
        return load(folder)
    except BadVersion as error:
        raise Corrupt.here(in_words(error, folder)) from error


def _tag(folder: Path, kind: ArchiveFormat) -> str:
    """Of what the archive is made of: the same version, packed by the same release with the same
    zlib, is the same. Raises Corrupt, and Conflict for what no archive can hold."""
    manifest = _manifest(folder)
    check_exportable(manifest)
    digest = hashlib.sha256(as_bytes(manifest))
    digest.update(model_card(manifest) + kind.value.encode())
    return f'"{digest.hexdigest()[:32]}"'


def _filename(version: WeightsVersion, kind: ArchiveFormat) -> str:
    return f"{version.model}-{version.id[:8]}.{kind.value}"


async def _presigned(
    request: web.Request, version: WeightsVersion, kind: ArchiveFormat, seconds: int
) -> str | None:
    """An address of the shared store, or None where it has none to give (or cannot be reached)."""
    here = services(request)
    office = here.rooms.office
    if office is None or seconds > LONGEST_PRESIGNED_S:
        return None
    if parse_store_url(office.url).kind != "s3":  # a folder gives nothing to others: save the work
        return None
    folder = here.home.calls / uuid.uuid4().hex
    path = folder / "archive"
    try:
        await _pack(request, version, kind, path)
        return await office.share(path, _filename(version, kind), seconds)
    except StoreUnavailable as error:
        log.warning("a link is of this server, not of the store: %s", error.message)
        return None
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _pack(
    request: web.Request, version: WeightsVersion, kind: ArchiveFormat, path: Path
) -> None:
    """The whole archive as a file of a folder that is made for it."""
    here = services(request)
    async with here.rooms.cache.holding([version.id]):
        source = await _folder(here, version)
        await asyncio.to_thread(lambda: check_exportable(_manifest(source)))
        with request.config_dict[PLACES].one():
            make_folder(path.parent)
            with path.open("wb") as file:
                async with aclosing(exported(source, kind)) as pieces:
                    async for piece in pieces:
                        await asyncio.to_thread(file.write, piece)


def _root(request: web.Request) -> str:
    """The server's root as clients see it: `public_url`, or as this one called it."""
    here = services(request)
    return here.settings.public_url or f"{request.scheme}://{request.host}{here.url('')}"
