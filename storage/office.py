"""The front's side of the storage process: all that reaches the object store goes through it.

Runs in the front, on its event loop; no S3 library is loaded here and no store credential is used
here. The process is started when it is needed and ended when nobody asked anything for a minute;
all that it does may be asked again after it died: nothing is half there, and what was done is kept.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreUnavailable
from ..records.home import Home
from .line import StorageLine
from .transfer.results import Changes, RepairReport

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, a few times a second, on the event loop."""

log = logging.getLogger(__name__)


class StorageOffice:
    """The shared object store of a server (`--storage URL`).

    Every method raises StoreUnavailable (try again later: the store cannot be reached, or the
    storage process died), StoreRefused (tell the operator: credentials, bucket, newer format) and
    DiskFull, beside what it names itself. A cancelled call is stopped in the process too.
    `environ` is the storage process's whole environment: the `AWS_*` variables are read there.
    `log` is the file that takes what the process prints.
    """

    def __init__(self, url: str, home: Home, environ: Mapping[str, str], log: Path) -> None:
        self.url = url
        self.problem: StoreUnavailable | None = None
        self._line = StorageLine(url, home, environ, log)

    @property
    def pid(self) -> int | None:
        """The storage process, while there is one."""
        return self._line.pid

    async def start(self) -> None:
        """Looks at the store. One that is down is no reason not to start: `problem` tells it.

        Raises StoreRefused for what an operator must mend: the URL, the credentials, a store that
        a newer release has written.
        """
        try:
            await self._line.ask("open")
            self.problem = None
        except StoreUnavailable as error:
            self.problem = error
            log.warning("the store cannot be reached: %s", error.message)

    async def close(self) -> None:
        """Ends the process, and with it what is under way; asked for again, it goes on there."""
        await self._line.close()

    async def publish(
        self,
        kind: str,
        key: str,
        folder: Path,
        progress: Progress | None = None,
        undelete: bool = False,
        mend: bool = False,
    ) -> None:
        """Makes the bundle `folder` (files/ and manifest.json) known to all under `key`.

        `kind` is "weights" or "dataset", `key` "models/<model>/weights/<id>" or "datasets/<id>".
        The manifest goes last, and all that it names is checked after it. Doing it again is cheap:
        it looks whether objects are there (what was looked at within the hour counts), not at their
        bytes. `mend` reads every file here and every object there, and puts again what is missing
        or wrong; the store is not touched if a file here is wrong. `undelete` publishes also what
        somebody deleted. Raises BadVersion (the folder is not what its manifest says) and Conflict
        (deleted, or another bundle has this key).
        """
        how = {"undelete": undelete, "mend": mend}
        arguments = {"kind": kind, "key": key, "folder": folder, **how}
        await self._line.ask("publish", arguments, progress)

    async def fetch(self, key: str, root: Path, progress: Progress | None = None) -> Path:
        """Brings the bundle to `root`/<id>: every file verified, whole and durable, or not there.

        What an attempt that was killed had brought to `root`/.new-<id> is verified and kept.
        Raises NotFound (never published, or deleted), Corrupt (the store's bytes are wrong).
        """
        return Path(await self._line.ask("fetch", {"key": key, "root": root}, progress))

    async def has(self, key: str) -> bool:
        """True if it is published, and all that its manifest names is there with its size."""
        return bool(await self._line.ask("has", {"key": key}))

    async def delete(self, key: str) -> None:
        """Tells all that the bundle is deleted, and removes its manifest. Twice is no error."""
        await self._line.ask("delete", {"key": key})

    async def changes(self, known: Sequence[str] | None = None) -> AsyncIterator[Changes]:
        """Pages of what is new since the last call: `async for page in office.changes()`.

        At most 500 bundles (and a few megabytes) a page; bundles in the order of their creation.
        A page counts as told when the next one is asked for (not after a `break`): what was not
        told is told again, also after a restart. `known`: the keys of all the bundles that the
        caller has; then whatever else there is comes, with the deletions among `known` and the
        newest entry of every register, whatever was told before. Give it at the server's start.
        """
        arguments = {"known": None if known is None else list(known)}
        async for page in self._line.pages("changes", arguments):
            yield Changes.from_plain(page)

    async def move(self, register: str, value: Mapping[str, Any], counter: int) -> int:
        """Appends `value` to a register ("models/<m>/aliases/<alias>"); returns its counter.

        The counter is `counter`, or the next one that nobody had. Somebody who moved it at the
        same moment may win all the same: `changes` tells what holds.
        """
        arguments = {"register": register, "value": dict(value), "counter": counter}
        return int(await self._line.ask("move", arguments))

    async def share(self, path: Path, name: str, seconds: int) -> str | None:
        """Uploads a file; returns a URL that gives it to anybody, as `name`, for `seconds`.

        None if the store cannot make such addresses (a folder): nothing is uploaded then.
        Raises InvalidArguments for more than 7 days, which no store signs.
        """
        arguments = {"path": path, "name": name, "seconds": seconds}
        url = await self._line.ask("share", arguments)
        return None if url is None else str(url)

    async def fetch_object(self, address: str, target: Path, limit: int) -> None:
        """Brings the object at `address` (s3://bucket/key, a path, file://) to the file `target`.

        The caller has checked that the address is allowed. `limit` is in bytes. Raises NotFound
        and TooLarge. Whole or not there; nothing says which digest it should have.
        """
        arguments = {"address": address, "target": target, "limit": limit}
        await self._line.ask("fetch_object", arguments)

    async def repair(self, dry: bool) -> RepairReport:
        """Removes what nothing refers to and is older than 24 hours; `dry` only counts it."""
        return RepairReport(**await self._line.ask("repair", {"dry": dry}))

    async def check(self) -> dict[str, bool]:
        """Writes, reads, lists and deletes a small object: for `modelyard doctor`.

        Returns what the store was seen to do beyond that (`Capabilities`).
        """
        return {str(name): bool(on) for name, on in (await self._line.ask("check")).items()}
