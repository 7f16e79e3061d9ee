"""Moments that can be compared whatever the clock is set to: seconds since the machine's boot.

CLOCK_BOOTTIME goes on while the machine sleeps, and nobody can set it (clock_gettime(2)). Python
3.8 syntax and library.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def this_moment() -> dict[str, Any]:
    """Now, as JSON: the boot and its seconds."""
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    return {"boot_id": _boot_id(), "seconds": round(seconds, 3)}


def seconds_since(moment: Mapping[str, Any] | None) -> float | None:
    """Seconds that have passed since then; None if that was before a boot, or is not known."""
    with suppress(KeyError, TypeError, ValueError):
        if moment is not None and moment["boot_id"] == _boot_id():
            return time.clock_gettime(time.CLOCK_BOOTTIME) - float(moment["seconds"])
    return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
