"""The hash of a folder below the data root that a training reads by its name.

A thread of the run process makes it beside the training, and the finish step waits for it.
data.json of the run's folder tells how far that came, so that a version made at any moment says
what is known. What cannot be found out is a null digest with the problem: nothing here fails a
training. Python 3.8 syntax and library.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Tuple  # noqa: UP035 - Python 3.8

from ..digest import ContentFile, content_digest
from ..members import CannotBeKept, Member, members, open_member
from .failures import say
from .messages import RunOrder
from .paths import RunPaths, read_json, write_json

TOLD_AFTER_S, STALLED_S = 10.0, 60.0
_POLL_S, _CHUNK = 0.1, 1 << 20
_NICE = 19  # the least urgent
_NOT_READY = "The hash of its files was not ready when these weights were made."
_CHANGED = "Its files changed while they were hashed: {}."

_State = Tuple[int, int, int]  # noqa: UP006 - size, time of the last change, inode


class Unknown(Exception):
    """The folder has no one digest; the text says why."""


class DataHash:
    """Hashes the folder of one run; does nothing if its training reads no such folder.

    `start` and `wait` are called by the main thread. The thread does not keep the process alive.
    """

    def __init__(self, paths: RunPaths, order: RunOrder) -> None:
        self._paths = paths
        self._order = order
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of data.json, once settled
        self._name = ""
        self._before: str | None = None  # digest of what an earlier attempt read
        self._settled = False
        self._steps = 0  # chunks and entries read, to see that it goes on

    def start(self) -> None:
        """Begins to hash, anew if an earlier attempt of the run had done so."""
        folder = named_folder(self._order)
        if folder is None:
            return
        before = _read(self._paths)
        self._name = folder.name
        if before.get("name") == folder.name:
            self._before = before.get("before") or before.get("digest")
        self._write(None, _NOT_READY, settled=False)
        thread = threading.Thread(target=self._work, args=(folder,), name="data-hash", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads are allowed
            self._settle(None, f"Its files could not be hashed: {error}.")
        else:
            self._thread = thread

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Waits until the digest is in data.json, or the reason why there is none.

        Not for a run that is asked to end, nor for a disk from which nothing comes in STALLED_S.
        """
        if self._thread is None and _read(self._paths).get("settled") is False:
            self.start()  # trained in an earlier process, which died before the hash was ready
        if self._thread is None:
            return
        began = moved = time.monotonic()
        told, steps = False, self._steps
        while True:
            self._thread.join(_POLL_S)
            if not self._thread.is_alive():
                return
            now = time.monotonic()
            if steps != self._steps:
                steps, moved = self._steps, now
            if should_stop():
                self._settle(None, "The run was asked to end before its files were hashed.")
                return
            if now - moved > STALLED_S:
                self._settle(None, f"Its files could not be read for {STALLED_S:.0f} s.")
                return
            if not told and now - began > TOLD_AFTER_S:
                told = True
                say(f"Waiting for the hash of the data in {self._name!r}.")

    def _work(self, folder: Path) -> None:
        _lower_this_thread()
        try:
            digest = folder_digest(folder, self._step)
        except Unknown as problem:
            self._settle(None, str(problem))
        except OSError as error:  # its text has a path of this machine
            self._settle(None, f"Its files could not be read: {error.strerror}.")
        except Exception as error:
            self._settle(None, f"Its files could not be hashed: {type(error).__name__}.")
        else:
            if self._before in (None, digest):
                self._settle(digest, None)
            else:
                now = f"digest {self._before} before, {digest} now"
                self._settle(None, f"Its files changed between two attempts of the run: {now}.")

    def _step(self) -> None:
        self._steps += 1

    def _settle(self, digest: str | None, problem: str | None) -> None:
        if problem is not None:  # a path may have bytes that are no text
            problem = problem.encode("utf-8", "replace").decode()
        with self._lock:
            if self._settled:
                return
            self._settled = True
            self._write(digest, problem, settled=True)
        if problem is not None:
            say(f"No hash of the data in {self._name!r}: {problem}")

    def _write(self, digest: str | None, problem: str | None, settled: bool) -> None:
        told = {"name": self._name, "digest": digest, "problem": problem, "settled": settled}
        told["before"] = self._before or digest
        with suppress(OSError, ValueError):  # a full disk: the version tells what is there
            write_json(self._paths.data, {"format": 1, **told}, durable=False)


def recorded_data(paths: RunPaths) -> dict[str, Any] | None:
    """For a manifest: the folder's name and digest, None if the training read none by its name.

    `{"id": null, "name", "digest"}`, and `problem` in words if the digest is null.
    """
    told = _read(paths)
    if not told:
        return None
    dataset = {"id": None, "name": told.get("name"), "digest": told.get("digest")}
    return dataset if told.get("problem") is None else {**dataset, "problem": told["problem"]}


def named_folder(order: RunOrder) -> Path | None:
    """The folder below the data root that the argument `dataset` names, None if it names none.

    Looked up among the folders that are there, so no name can lead out of the root.
    """
    name = (order.pinned or {}).get("dataset")
    if order.dataset is not None or not order.data_root or not isinstance(name, str):
        return None
    request = order.request
    if request.get("raw") or any(p.get("field") == "dataset" for p in request.get("files") or ()):
        return None  # the text is the client's name for an upload
    with suppress(OSError), os.scandir(order.data_root) as entries:
        for entry in entries:
            if entry.name == name and not name.startswith(".") and entry.is_dir():
                return Path(entry.path)
    return None


def folder_digest(folder: Path, step: Callable[[], None] = lambda: None) -> str:
    """The content digest of a dataset of these files; `step` is called now and then.

    A link counts as what it points to, as in an upload. Raises Unknown if the folder holds what an
    upload of it would be refused for, such as a link that leads out, or if the files change
    meanwhile, and OSError.
    """
    root = os.path.realpath(folder)
    found = dict(_files_of(root, step))
    files = []
    for (path, real), state in sorted(found.items()):
        files.append(ContentFile(path, state[0], _hashed(root, path, real, state, step)))
    for member, state in _files_of(root, step):
        if found.pop(member, None) != state:
            raise Unknown(_CHANGED.format(member.path))
    if found:
        raise Unknown(_CHANGED.format(min(found).path))
    return content_digest(files)


def _files_of(root: str, step: Callable[[], None]) -> Iterator[Tuple[Member, _State]]:  # noqa: UP006
    """The files below `root`, with what shows that one changed."""
    try:
        for member in members(root, step):
            with suppress(FileNotFoundError):  # what vanished shows later
                yield member, _state(os.lstat(os.path.join(root, member.real)))  # noqa: PTH118
    except FileNotFoundError as error:
        gone = os.path.relpath(error.filename, root)
        raise Unknown(_CHANGED.format("the folder" if gone == "." else gone)) from None
    except CannotBeKept as error:
        raise Unknown(f"It cannot be hashed as a dataset: {error}") from None


def _hashed(root: str, path: str, real: str, state: _State, step: Callable[[], None]) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(_CHUNK, state[0] + 1)))
    try:
        descriptor = open_member(root, real)
    except (FileNotFoundError, CannotBeKept):
        raise Unknown(_CHANGED.format(path)) from None
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        if _state(os.fstat(descriptor)) != state:
            raise Unknown(_CHANGED.format(path))
        while True:
            step()
            count = file.readinto(buffer)
            if not count:
                break
            digest.update(buffer[:count])
        if _state(os.fstat(descriptor)) != state:
            raise Unknown(_CHANGED.format(path))
    return digest.hexdigest()


def _state(told: os.stat_result) -> _State:
    return told.st_size, told.st_mtime_ns, told.st_ino


def _lower_this_thread() -> None:
    """The training goes first; only Linux has a niceness for each thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _read(paths: RunPaths) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return read_json(paths.data) or {}
    return {}
