"""How a child ended, in words and as one of few kinds to count. Runs in the front."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from .messages import LOST, SPOILED

DEADLINE = "deadline"
STOPPED = "stopped"
HUNG_UP = "hung_up"
OUT_OF_MEMORY = "out_of_memory"
EXIT = "exit"
SPOILED_PROCESS = "spoiled"
ENDED = "ended"


@dataclass(frozen=True)
class Exit:
    """An end: `words` come after the child's name (`exited with code 1`).

    `kind` is `deadline`, `stopped`, `hung_up` or `ended` (the server's own doing), `out_of_memory`,
    `spoiled`, a signal (`sigsegv`), or `exit`.
    """

    kind: str
    words: str


def exit_of(code: int, killed_for_memory: bool = False) -> Exit:
    """The end that a return code tells of; the kernel's killing for memory is told apart if seen.

    A SIGKILL may be anybody's: with `killed_for_memory` the kernel did one of those just now.
    """
    if code == LOST:
        return Exit(HUNG_UP, "closed its connection to the server")
    if code == SPOILED:
        return Exit(SPOILED_PROCESS, "could not go on after what a call had changed in it")
    if code >= 0:
        return Exit(EXIT, f"exited with code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name != "SIGKILL":
        return Exit(name.lower().replace(" ", "_"), f"was killed by {name}")
    if killed_for_memory:
        return Exit(OUT_OF_MEMORY, "was killed by SIGKILL, by the kernel for lack of memory")
    return Exit("sigkill", "was killed by SIGKILL (by the kernel for lack of memory, perhaps)")


def memory_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed for memory where this one runs; None: not told.

    The count of the own control group (of a container), whoever's limit it was: `oom_kill` in
    memory.events (cgroup v2) or memory.oom_control (v1). The top group has none under v2: then the
    machine's, in /proc/vmstat.
    """
    for path in (*_of_own_group(root), root / "proc/vmstat"):
        count = _count(path)
        if count is not None:
            return count
    return None


def _of_own_group(root: Path) -> list[Path]:
    """Where the control group may count. Within a container its own path need not be there."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = dict(line.split(":", 2)[1:] for line in lines if line.count(":") >= 2)
    version_1 = next((group for names, group in groups.items() if "memory" in names.split(",")), "")
    if version_1:
        base, group, name = root / "sys/fs/cgroup/memory", version_1, "memory.oom_control"
    else:
        base, group, name = root / "sys/fs/cgroup", groups.get("", "/"), "memory.events"
    return [base / group.lstrip("/") / name, base / name]


def _count(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return None
