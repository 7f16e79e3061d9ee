"""Temporary folders of commands that work on this machine: gone with the command that has them.

In a home they lie where a server's are, which each of its starts empties. Without one they lie in
the machine's (TMPDIR): there the owner holds a lock on its folder, and the next command removes
those of owners that were killed.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from ..clearing import remove_tree
from ..records.home import Home

_PREFIX = "modelyard-check-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def temporary_folder(home: Home | None = None) -> Iterator[Path]:
    """One for this command alone, which is removed with all that is in it, also by a signal that
    asks the command to end. On the main thread. Raises OSError.

    In `home` if that is one that this user may write to.
    """
    with _ended_by_signals(), ExitStack() as stack:
        folder = None if home is None else _in_home(home)
        if folder is None:
            folder, lock = _elsewhere()
            stack.callback(os.close, lock)
        stack.callback(remove_tree, folder)
        yield folder


def _in_home(home: Home) -> Path | None:
    # Not in another user's, be it root who asks: its server could not remove what stays there.
    with suppress(OSError):
        if home.format_file.exists() and home.root.stat().st_uid == os.geteuid():
            home.workers.mkdir(mode=0o700, exist_ok=True)
            folder = home.workers / uuid.uuid4().hex[:8]
            folder.mkdir(mode=0o700)
            return folder
    return None


def _elsewhere() -> tuple[Path, int]:
    """The folder, and the descriptor that holds the lock on it; no child of ours inherits that."""
    place = Path(tempfile.gettempdir())
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _remove_if_left(path)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        lock = _locked(folder, fcntl.LOCK_SH)
        if lock is not None:
            return folder, lock


def _locked(folder: Path, kind: int) -> int | None:
    """The descriptor that holds the lock; None if another has it, or has removed the folder."""
    try:
        lock = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.lstat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _remove_if_left(path: Path) -> None:
    """If it is ours, and its owner has ended: whatever was killed holds no lock any more."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = _locked(path, fcntl.LOCK_EX)
    if lock is not None:
        try:
            remove_tree(path)
        finally:
            os.close(lock)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: what it has begun is taken back first."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
