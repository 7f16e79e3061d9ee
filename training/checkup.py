"""What is not well with a home's runs, its leftovers, TensorBoard and the machine. Nothing is
changed but by `sweep`. Runs in the command `modelyard doctor`, also beside a running server.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..clearing import remove_tree
from ..errors import ModelyardError
from ..records.caches import ModelCaches
from ..records.home import Home
from ..records.inspection import kept_bundles, newest_moment, recorded_runs
from ..storage.checkup import Finding
from .orders import GONE
from .paths import RunPaths

OLD_S = 24 * 3600
_LEAST_FDS = 4096
_LEAST_MEMORY = 512 * 1024**2
_LEAST_SHM = 64 * 1024**2
_AHEAD_S = 600
_NAMED = 3
_LEFT = (".broken-", GONE)


def check_runs(home: Home) -> Iterator[Finding]:
    """Whether records and folders of runs agree. What cannot be read is told by others."""
    try:
        recorded = recorded_runs(home.database)
        folders = {path.name for path in home.runs.iterdir() if path.is_dir()}
    except (ModelyardError, OSError):
        return
    gone = [run for run, ended in recorded.items() if run not in folders and ended]
    lost = [run for run, ended in recorded.items() if run not in folders and not ended]
    strange = [
        name
        for name in folders - recorded.keys()
        if not name.startswith(".") and RunPaths(home.runs / name).epoch.exists()
    ]
    if not (gone or lost or strange):
        yield Finding("home", f"{len(recorded)} runs: each has its folder.")
    if lost:
        remedy = "Put it back from a backup, or cancel the run."
        yield Finding(
            "home", f"The folder of a run that has not ended is gone: {_some(lost)}.", remedy
        )
    if gone:
        remedy = "Put it back from a backup, or remove the record: modelyard runs MODEL/ID --purge."
        yield Finding("home", f"The folder of an ended run is gone: {_some(gone)}.", remedy)
    if strange:
        remedy = "Put the records back that know it, or remove the folder when you need it no more."
        yield Finding("home", f"No record knows the run of this folder: {_some(strange)}.", remedy)


def check_leftovers(home: Home) -> Iterator[Finding]:
    """What a killed server has left, older than a day."""
    found = list(_leftovers(home))
    if not found:
        yield Finding("home", "No temporary file is older than a day.")
        return
    names = _some([str(path.relative_to(home.root)) for path in found])
    remedy = "A server's start removes it, and so does --repair while no server uses the home."
    yield Finding("home", f"Left over, and older than a day: {names}.", remedy)


def check_caches(home: Home, limit: int) -> Finding:
    """How much models' libraries keep; `limit` is what a server lets them, in bytes, 0 any."""
    size = sum(piece.size for piece in ModelCaches(home.cache).pieces(time.time()))
    most = f"at most {limit // 2**20} MB are kept (model_cache)" if limit else "without a limit"
    told = f"{size // 2**20} MB kept by models' libraries in cache/: {most}; a model needs none."
    return Finding("home", told)


def sweep(home: Home) -> Finding:
    """Removes what is left over. Raises HomeInUse while a server uses the home, CannotStart."""
    found = list(_leftovers(home))
    home.open()  # empties the folder of temporary files
    with closing(home):
        for path in found:
            remove_tree(path)
    told = _some([str(path.relative_to(home.root)) for path in found]) or "nothing"
    return Finding("home", f"Removed what was left over: {told}.")


def _leftovers(home: Home) -> Iterator[Path]:
    with suppress(OSError):
        rooms = (home.calls, home.workers)
        for folder in (home.tmp, *rooms):
            yield from (path for path in _in(folder) if path not in rooms and _is_old(path))
    # Without records nobody knows what of the rest is still needed; the fault itself is told by
    # the check of the home.
    with suppress(OSError, ModelyardError):
        recorded = {*recorded_runs(home.database)}
        recorded |= {bundle.id for bundle in kept_bundles(home.database)}
        for folder in (home.runs, home.weights, home.datasets):
            for path in _in(folder):
                left = path.name.startswith(_LEFT) and _is_old(path)
                if left and path.name.removeprefix(GONE) not in recorded:
                    yield path


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_old(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime < time.time() - OLD_S
    return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


# -- the machine ----------------------------------------------------------------------------------


def check_machine(home: Home) -> Iterator[Finding]:
    """Clock, open files, memory: what a server would run out of."""
    yield _clock(home)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < _LEAST_FDS
    yield Finding(
        "host",
        f"Open files: {'no limit' if hard == resource.RLIM_INFINITY else hard}.",
        f"Raise the hard limit to {_LEAST_FDS} or more (LimitNOFILE=, --ulimit nofile=): each "
        "connection takes one."
        if few
        else None,
    )
    memory = _available_memory()
    if memory is not None:
        low = memory < _LEAST_MEMORY
        remedy = "A worker or a training may be killed for want of it: end other programs."
        yield Finding("host", f"{memory // 2**20} MB of memory free.", remedy if low else None)
    with suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        remedy = "torch's data loaders need more: --shm-size of the container, or num_workers=0."
        low = free < _LEAST_SHM
        yield Finding("host", f"/dev/shm: {free // 2**20} MB free.", remedy if low else None)


def _clock(home: Home) -> Finding:
    now = datetime.now(UTC)
    newest = None
    with suppress(ModelyardError, OSError):
        newest = newest_moment(home.database)
    if newest is not None and (newest - now).total_seconds() > _AHEAD_S:
        told = f"The clock says {now:%Y-%m-%d %H:%M} UTC, a record is of {newest:%Y-%m-%d %H:%M}."
        return Finding("host", told, "Set the clock (chrony, systemd-timesyncd), or it was wrong.")
    return Finding("host", f"The clock says {now:%Y-%m-%d %H:%M} UTC; no record is later.")


def _available_memory() -> int | None:
    """Bytes, of the machine or of the control group, whichever has less."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        found.append(limit - int((group / "memory.current").read_text()))
    return min(found, default=None)


# -- TensorBoard ----------------------------------------------------------------------------------


def check_tensorboard(folder: Path, limit_s: float = 60.0) -> Finding:
    """Starts it on a socket of its own in `folder`, as the server does, and ends it."""
    path, log = folder / "http", folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", f"{__package__}.tensorboard_child"),
                *("--socket", str(path), "--logdir", str(folder), "--parent", str(os.getpid())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + limit_s
        while child.poll() is None and time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
                asking.connect(str(path))
                return Finding("host", "TensorBoard starts.")
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    said = log.read_text("utf-8", "replace").strip().splitlines()
    return Finding(
        "host",
        f"TensorBoard does not start: {said[-1][:300] if said else 'it says nothing'}.",
        "Mend its installation: pip install --force-reinstall tensorboard. All else works.",
    )
