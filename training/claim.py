"""The right to act on a run: one supervisor at a time, and only that of the epoch in force."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from .identity import Identity
from .paths import RunPaths, read_json, write_json

_PATIENCE_S = 5.0
"""How long the supervisor of an earlier epoch may take to end."""


class Refused(Exception):
    """This supervisor must not act on the run."""


class Claim:
    """A lock on the run folder's `claim`, held until this process ends."""

    def __init__(self, paths: RunPaths, epoch: int) -> None:
        self._paths = paths
        self._epoch = epoch
        self._descriptor = -1

    def take(self) -> None:
        """Makes this process the run's only supervisor, of its epoch, for the first time in it.

        Leaves its identity, and its guardian's, in supervisor.json. Raises Refused.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._paths.claim, flags, 0o644)
        self._lock()
        self.check_epoch()
        earlier = read_json(self._paths.supervisor)
        if earlier is not None and earlier["epoch"] == self._epoch:
            raise Refused("this epoch was claimed before")
        identity = Identity.of(os.getpid(), self._epoch)
        data = {**identity.to_data(), "guardian": Identity.of(os.getppid()).to_data()}
        write_json(self._paths.supervisor, data, durable=False)

    def check_epoch(self) -> None:
        """Raises Refused if another epoch is in force by now, or the folder is gone."""
        try:
            text = self._paths.epoch.read_text().strip()
        except FileNotFoundError:
            raise Refused("the run folder is gone, or has no epoch") from None
        if text != str(self._epoch):
            raise Refused(f"the epoch in force is {text}")

    def drop_in_child(self) -> None:
        """In a forked child: a fork shares the lock, which must end with the supervisor."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            self.check_epoch()
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.05)
        raise Refused("another supervisor holds the claim")
