"""The ingest process: unpacks what a client sent, hashes it, and makes a bundle of it.

    python -m modelyard.storage.datasets.ingest --parent PID

One dataset each, one JSON object a line, in two steps, so that the front can look in between
whether it has that content already, and have the files read by a model:

    to the process     the order          {"folder", "files": [{"parts", "name"}], "keep", "sha256"}
                       the second step    {"manifest", "relatives", "target"}
    to the front       {"progress": [bytes done, bytes in all]}
                       {"taken": {"digest", "files", "size", "counts", "unpacked"}}
                       {"sealed": true}
                       {"error": {"type", "message", "details"}}

A stranger's archive meets no other process. It holds no credentials, writes below `folder` only,
and ends when its input does: then the folder is removed. Until the last rename the dataset is not
there; after it, it is whole and durable.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...digest import content_digest
from ...errors import DiskFull, ModelyardError, StorageUnavailable
from ..versions import sync_folder
from ..wire import decode, encode, plain_error
from .content import counts
from .sealing import seal
from .taking import Item, Taken, take

_PR_SET_PDEATHSIG = 1  # prctl(2)
_TELL_EVERY_S = 0.2
_NICE = 10  # predictions and their users go first


class _Line:
    """What this process says, on what was its standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._told_at = 0.0

    def say(self, **message: Any) -> None:
        data = encode(message)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def progress(self, done: int, total: int) -> None:
        """A few times a second."""
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S or done == total:
            self._told_at = now
            self.say(progress=[done, total])


def main() -> None:
    """The entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    _die_with(parser.parse_args().parent)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    line = _Line(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    order = decode(sys.stdin.buffer.readline())
    folder = Path(order["folder"])
    try:
        _work(order, folder, line)
    except (ModelyardError, OSError) as error:
        line.say(error=plain_error(error if isinstance(error, ModelyardError) else _told(error)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _work(order: Mapping[str, Any], folder: Path, line: _Line) -> None:
    items = [
        Item([Path(part) for part in file["parts"]], file["name"], order["keep"])
        for file in order["files"]
    ]
    folder.mkdir(mode=0o700)
    taken = take(items, folder / "files", order.get("sha256"), line.progress)
    line.say(taken=_summary(taken))
    answer = sys.stdin.buffer.readline()
    if not answer:  # it is not wanted, or the front is gone
        return
    second = decode(answer)
    relatives = [Path(relative) for relative in second["relatives"]]
    seal(folder, taken.files, second["manifest"], relatives, line.progress)
    _sync_all(folder)
    target = Path(second["target"])
    folder.rename(target)
    sync_folder(target.parent)
    line.say(sealed=True)


def _summary(taken: Taken) -> dict[str, Any]:
    return {
        "digest": content_digest(taken.files),
        "files": len(taken.files),
        "size": sum(file.size for file in taken.files),
        "counts": counts(taken.files),
        "unpacked": taken.unpacked,
    }


def _sync_all(folder: Path) -> None:
    """Makes all that was written durable: one call, where a sync of each small file would take
    longer than all the rest."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _told(error: OSError) -> ModelyardError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The disk is too full for this dataset; nothing of it was kept.")
    return StorageUnavailable(f"The dataset cannot be written: {error.strerror or error}.")


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)


if __name__ == "__main__":
    main()
