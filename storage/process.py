"""The storage process: `python -m modelyard.storage.process`. Reads questions, writes answers.

The only process that holds the store's credentials (`AWS_*` in its environment). With
`--environment` they are the first line of its input, a JSON object, for others can read what a
process was started with. A child of the front: it ends when its input ends, and the kernel ends it
with the front. It may be killed at any moment: nothing half-made has a name that anybody reads.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from ..errors import (
    DiskFull,
    ModelyardError,
    ObjectMissing,
    StorageUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from ..seclusion import seclude
from .stores.base import ObjectStore
from .stores.opening import open_store
from .transfer import registers, shared
from .transfer.catalogue import Catalogue
from .transfer.fetch import Fetcher
from .transfer.layout import FORMAT, FORMAT_KEY
from .transfer.publish import Publisher
from .transfer.repair import Repairer
from .transfer.work import Meter, Stopped, StoreClock, Workers
from .wire import decode, encode, plain_error

_TRANSFERS = 4
"""Bundles that move at once; more wait. What is small never waits for them."""
_SMALL_JOBS = 4
_PR_SET_PDEATHSIG = 1  # prctl(2)
_FULL = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)


class Desk:
    """The store and what works on it. `ops` are the questions that may be asked."""

    def __init__(self, url: str, folder: Path, server: str) -> None:
        self.state = folder / sha256(url.encode()).hexdigest()[:16]
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.server = server
        self._url = url
        self._store: ObjectStore | None = None
        self._failure: tuple[float, ModelyardError] | None = None
        self._opening = threading.Lock()
        self._cataloguing = threading.Lock()
        self._workers = Workers()
        self.ops: dict[str, Callable[[Job, dict[str, Any]], Any]] = {
            "open": self._check_format,
            "publish": self._publish,
            "fetch": self._fetch,
            "has": self._has,
            "delete": self._delete,
            "changes": self._changes,
            "move": self._move,
            "share": self._share,
            "fetch_object": self._fetch_object,
            "repair": self._repair,
            "check": self._check,
        }

    def store(self) -> ObjectStore:
        """Opened when it is first needed, and again after a failure."""
        asked = time.monotonic()
        with self._opening:
            if self._failure is not None and self._failure[0] > asked:
                raise self._failure[1]  # we waited for one that failed: it would fail once more
            if self._store is None:
                store = open_store(self._url, os.environ)
                try:
                    store.open()
                    _check_format(store)
                except ModelyardError as error:
                    self._failure = (time.monotonic(), error)
                    store.close()
                    raise
                clock = StoreClock(store)
                self._clock = clock
                self._publisher = Publisher(store, self.state, self._workers, clock)
                self._fetcher = Fetcher(store, self.state, self._workers)
                self._catalogue = Catalogue(store, self.state / "catalogue.db", self._workers)
                self._store = store
            return self._store

    def _check_format(self, job: Job, arguments: dict[str, Any]) -> None:
        _check_format(self.store())

    def _publish(self, job: Job, arguments: dict[str, Any]) -> None:
        self.store()
        undelete, mend = bool(arguments["undelete"]), bool(arguments["mend"])
        folder = Path(arguments["folder"])
        self._publisher.publish(arguments["key"], folder, job.meter, undelete, mend)

    def _fetch(self, job: Job, arguments: dict[str, Any]) -> str:
        self.store()
        return str(self._fetcher.fetch(arguments["key"], Path(arguments["root"]), job.meter))

    def _has(self, job: Job, arguments: dict[str, Any]) -> bool:
        self.store()
        return self._fetcher.is_there(arguments["key"])

    def _delete(self, job: Job, arguments: dict[str, Any]) -> None:
        self.store()
        self._publisher.delete(arguments["key"], self.server)

    def _changes(self, job: Job, arguments: dict[str, Any]) -> None:
        self.store()
        with self._cataloguing, closing(self._catalogue.changes(arguments["known"])) as pages:  # type: ignore[type-var]
            for page in pages:
                job.page(page.to_plain())

    def _move(self, job: Job, arguments: dict[str, Any]) -> int:
        register, value, counter = (arguments[n] for n in ("register", "value", "counter"))
        return registers.move(self.store(), register, value, int(counter), self.server)

    def _share(self, job: Job, arguments: dict[str, Any]) -> str | None:
        store, path = self.store(), Path(arguments["path"])
        name, seconds = arguments["name"], int(arguments["seconds"])
        return shared.share(store, self._clock, path, name, seconds, job.meter)

    def _fetch_object(self, job: Job, arguments: dict[str, Any]) -> None:
        target, limit = Path(arguments["target"]), int(arguments["limit"])
        address = arguments["address"]
        shared.fetch_object(address, target, limit, os.environ, self._workers, job.meter)

    def _repair(self, job: Job, arguments: dict[str, Any]) -> dict[str, Any]:
        store = self.store()
        dry = bool(arguments["dry"])
        repairer = Repairer(store, self.state, self._workers, self._clock, job.meter, dry)
        return asdict(repairer.run())

    def _check(self, job: Job, arguments: dict[str, Any]) -> dict[str, bool]:
        store = self.store()
        key, text = f"probes/{uuid4().hex}", os.urandom(64)
        store.put_bytes(key, text)
        try:
            if store.get_bytes(key, 1024) != text:
                raise StoreUnavailable("The store gives other bytes than were put into it.")
            if key not in {item.key for item in store.list("probes/")}:
                raise StoreUnavailable("The store does not list what was put into it.")
        finally:
            store.delete(key)
        return asdict(store.capabilities)


class Job:
    """One question that is being answered, on a thread of its own."""

    def __init__(self, number: int, send: Callable[[dict[str, Any]], None]) -> None:
        self.number = number
        self.meter = Meter(lambda done, total: send({"id": number, "progress": [done, total]}))
        self._more = threading.Semaphore(0)
        self._send = send

    def more(self) -> None:
        self._more.release()

    def stop(self) -> None:
        self.meter.stopped.set()
        self._more.release()

    def page(self, page: dict[str, Any]) -> None:
        """Sends a page and waits until it was taken. Raises Stopped."""
        self.meter.check()
        self._send({"id": self.number, "page": page})
        self._more.acquire()
        self.meter.check()

    def run(self, work: Callable[[Job, dict[str, Any]], Any], arguments: dict[str, Any]) -> None:
        try:
            answer = {"done": work(self, arguments)}
        except Stopped:
            return
        except Exception as error:
            answer = {"error": plain_error(_told(error))}
        self._send({"id": self.number, **answer})


class Answers:
    """The output: one line at a time, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        line = encode(message)
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:  # the front is gone
                os._exit(1)


def serve(desk: Desk, questions: BinaryIO, answers: Answers) -> None:
    """Returns when the input ends."""
    transfers = ThreadPoolExecutor(_TRANSFERS, "job")
    small = ThreadPoolExecutor(_SMALL_JOBS, "small-job")
    jobs: dict[int, Job] = {}
    for line in questions:
        message = decode(line)
        number, op = int(message["id"]), str(message["op"])
        if op in ("more", "cancel"):
            job = jobs.get(number)
            if job is not None:
                job.more() if op == "more" else job.stop()
            continue
        job = jobs[number] = Job(number, answers.send)
        pool = transfers if op in ("publish", "fetch", "fetch_object", "share") else small
        future = pool.submit(job.run, desk.ops[op], message.get("arguments") or {})
        future.add_done_callback(lambda _, number=number: jobs.pop(number, None))  # type: ignore[misc]


def main() -> None:
    """Runs until the front closes the input, or ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="s3://bucket/prefix, or a folder")
    parser.add_argument("--folder", required=True, type=Path, help="for what may be forgotten")
    parser.add_argument("--server", required=True, help="this server's id")
    parser.add_argument("--parent", type=int, help="the front's pid")
    parser.add_argument("--environment", action="store_true", help="comes first, a JSON object")
    chosen = parser.parse_args()
    seclude()
    if chosen.parent is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != chosen.parent:
            return
    if chosen.environment:
        os.environ.update(decode(sys.stdin.buffer.readline()))
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # What a library prints must not stand between the answers.
    answers = Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    serve(Desk(chosen.url, chosen.folder, chosen.server), sys.stdin.buffer, answers)
    # Jobs under way are left as a kill would leave them, rather than waited for.
    os._exit(0)


def _check_format(store: ObjectStore) -> None:
    """Raises StoreRefused if a newer release has written the store. Marks a new one."""
    try:
        text = store.get_bytes(FORMAT_KEY, 64 * 1024)
    except ObjectMissing:
        store.put_bytes(FORMAT_KEY, json.dumps({"format": FORMAT}).encode(), if_absent=True)
        return
    try:
        found = int(json.loads(text)["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreRefused(
            f'{store.url}: its {FORMAT_KEY} is damaged. It should read {{"format": {FORMAT}}}.'
        ) from error
    if found > FORMAT:
        raise StoreRefused(
            f"{store.url}: written by a newer release (format {found}; this one knows {FORMAT}). "
            "Install that release, or name another --storage."
        )


def _told(error: Exception) -> ModelyardError:
    """What the front is told of any failure."""
    if isinstance(error, ModelyardError):
        return error
    if isinstance(error, OSError):
        text = f"{error.filename or 'the local disk'}: {error.strerror or error}"
        return (DiskFull if error.errno in _FULL else StorageUnavailable)(text)
    traceback.print_exception(error)
    return StorageUnavailable(f"The storage process failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
