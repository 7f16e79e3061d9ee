"""Which process is meant: a pid alone may have been given to another since.

A process is known by its pid, the time it started (kernel clock ticks since boot) and the boot it
belongs to. Signals go through a pidfd that was checked after it was opened, so that between the
check and the signal the pid cannot change hands.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .paths import FORMAT


@dataclass(frozen=True)
class ProcessStat:
    """What /proc/PID/stat says, as far as we need it. `state` is one letter: T stopped, Z ended."""

    pid: int
    state: str
    ppid: int
    session: int
    start_time: int


@dataclass(frozen=True)
class Identity:
    """One process for ever. `epoch` says for which epoch of its run it acts."""

    pid: int
    start_time: int
    boot_id: str
    epoch: int = 0

    @classmethod
    def of(cls, pid: int, epoch: int = 0) -> Identity:
        """The identity of a living process. Raises ProcessLookupError if there is none."""
        stat = read_stat(pid)
        if stat is None:
            raise ProcessLookupError(f"there is no process {pid}")
        return cls(pid, stat.start_time, boot_id(), epoch)

    def alive(self) -> bool:
        """True while it runs, stopped or not; an ended one that nobody has reaped is not alive."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and stat.start_time == self.start_time
            and stat.state not in "ZX"
            and self.boot_id == boot_id()
        )

    def stopped(self) -> bool:
        """True while a signal (SIGSTOP) has stopped it; a debugger that traces it does not."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and stat.state == "T"
            and stat.start_time == self.start_time
            and self.boot_id == boot_id()
        )

    def signal(self, number: int) -> bool:
        """Sends a signal to this very process; False if it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)

    def to_data(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Identity:
        return cls(
            int(data["pid"]), int(data["start_time"]), str(data["boot_id"]), int(data["epoch"])
        )


def boot_id() -> str:
    """Changes with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """The state of a process, None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name, in brackets, which may hold spaces and brackets itself.
    rest = text[text.rindex(")") + 2 :].split()
    return ProcessStat(pid, rest[0], int(rest[1]), int(rest[3]), int(rest[19]))


def all_processes() -> dict[int, ProcessStat]:
    """Every process that this one can see."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (names only: thousands of Path objects less)
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None:
                found[stat.pid] = stat
    return found


def descendants(
    root: int, everything: Mapping[int, ProcessStat] | None = None
) -> list[ProcessStat]:
    """The living descendants of a process, nearest first; ended ones are left out. Of `everything`,
    if that was looked at already.

    With PR_SET_CHILD_SUBREAPER set on `root`, daemonised ones are among them: the kernel gives
    orphans to the nearest subreaper.
    """
    everything = all_processes() if everything is None else everything
    children: dict[int, list[ProcessStat]] = {}
    for stat in everything.values():
        children.setdefault(stat.ppid, []).append(stat)
    found: list[ProcessStat] = []
    queue = [root]
    while queue:
        for stat in children.get(queue.pop(0), ()):
            queue.append(stat.pid)
            if stat.state not in "ZX":
                found.append(stat)
    return found


def send(stat: ProcessStat, number: int) -> None:
    """Signals the process of `stat`, unless it has ended or is not ours to signal."""
    with suppress(PermissionError):
        Identity(stat.pid, stat.start_time, boot_id()).signal(number)
