"""How many CPUs a process may use: those that it may run on, and the time that it may have.

A container with `--cpus 2` on a machine of 64 sees all 64: with a thread for each it would use up
its time within a thirtieth of each period, and stand still for the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path


def usable_cpus(cpus: Collection[int] | None = None, root: Path = Path("/")) -> int:
    """At least 1: as many as `cpus` are (None: all that this process may run on), and no more than
    the quotas of its control group and of those above it, rounded up (cgroups(7))."""
    count = len(cpus or os.sched_getaffinity(0))
    for folder in _groups(root):
        quota = _quota(folder)
        if quota is not None:
            count = min(count, math.ceil(quota))
    return max(1, count)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the own group and of those above it, as far as they are there: within a
    container the own path need not be."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        names, _, group = line.partition(":")[2].partition(":")
        if names and "cpu" not in names.split(","):
            continue
        base = root / "sys/fs/cgroup" / names  # version 2 has no names
        yield base
        place = base
        for part in group.strip("/").split("/"):
            if part and part != "..":
                place = place / part
                yield place


def _quota(folder: Path) -> float | None:
    """CPUs' worth of time in each period; None: no limit, or not told."""
    try:
        if (folder / "cpu.max").exists():
            quota, _, period = (folder / "cpu.max").read_text().partition(" ")
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        found = float(quota) / float(period)  # of version 2 `max` is no number, of 1 it is -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return found if found > 0 else None
