"""A copy of a home from which a server can be started, made while another one runs on it.

The records are copied after most of the files and before the rest: what they name has its folder
already, for a folder always comes first and its record second. Copied before, files would be
missing that a later record names. What is removed meanwhile shows as a folder that is missing: then
records and rest are taken again. Runs in the command `modelyard backup`; blocking.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ..clearing import remove_tree
from ..errors import CannotStart, StorageUnavailable
from ..records.home import Home
from ..records.snapshot import Recorded, quieten, take_snapshot
from ..storage.versions import fault_of
from .paths import RunPaths

FORMAT = 1
_TRIES = 5
_OF_PROCESSES = {
    "claim", "supervisor.json", "process.json", "heartbeat", "control.json", "stop", "exit.json",
    "tmp",
}  # fmt: skip
"""Files of a run that tell of its processes: they are none of the copy's."""
_NOT_COPIED = {"lock", "home.json.new", "records.db", "records.db-wal", "records.db-shm"}


@dataclass(frozen=True)
class Backup:
    """What was copied; `paused` runs were under way. `size` is in bytes.

    `missing` are folders, as `runs/ID`, that the records name and the home itself has not.
    `corrupt` are versions and datasets, as `weights/ID`, with what is wrong with them in the home:
    they were copied as they are.
    """

    runs: int
    paused: int
    weights: int
    datasets: int
    size: int
    made_at: str
    missing: tuple[str, ...]
    corrupt: dict[str, str]


def make_backup(home: Home, target: Path) -> Backup:
    """Copies the home to `target`, which appears when it is whole and on the disk.

    Raises CannotStart for a home or target that is none, OSError (the target's disk is full),
    StorageUnavailable; then nothing is left.
    """
    if not home.format_file.exists():
        raise CannotStart(f"{home.root} is no home of Modelyard: name it with --home.")
    if (lost := home.lost()) is not None:
        raise CannotStart(str(lost))
    target = target.absolute()
    if target.exists():
        raise CannotStart(f"{target}: is there already. Name a new folder.")
    if target.is_relative_to(home.root):
        raise CannotStart(f"{target}: lies in the home itself. Name a folder on another disk.")
    part = target.with_name(f"{target.name}.part")
    remove_tree(part)
    part.mkdir(mode=0o700, parents=True)
    try:
        made = _fill(home, Home(part))
        os.sync()
        part.rename(target)
    except BaseException:
        remove_tree(part)
        raise
    return made


def _fill(home: Home, copy: Home) -> Backup:
    for kind in ("runs", "weights", "datasets", "uploads"):
        (copy.root / kind).mkdir(mode=0o700)
    first = take_snapshot(home.database, copy.database)
    corrupt: dict[str, str] = {}
    _copy_bundles(home, copy, first, corrupt)
    for run_id in sorted(first.ended):
        _copy_run(home.runs / run_id, copy.runs / run_id)
    ended = first.ended
    for _ in range(_TRIES):
        recorded = take_snapshot(home.database, copy.database)
        _copy_bundles(home, copy, recorded, corrupt)
        for run_id in sorted(recorded.runs - ended):
            _copy_run(home.runs / run_id, copy.runs / run_id)
        missing = _missing(copy, recorded)
        if not missing:
            break
    else:
        if any((home.root / one).exists() for one in missing):
            raise StorageUnavailable("The home changes too quickly to be copied. Try again later.")
    _drop_others(copy, recorded)
    paused = quieten(copy.database)
    _copy_tree(home.uploads, copy.uploads)
    for path in home.root.iterdir():
        if path.is_file() and path.name not in _NOT_COPIED:
            shutil.copy2(path, copy.root / path.name)
    made = Backup(
        len(recorded.runs),
        paused,
        len(recorded.weights),
        len(recorded.datasets),
        sum(path.stat().st_size for path in copy.root.rglob("*") if path.is_file()),
        datetime.now(UTC).isoformat(timespec="seconds"),
        tuple(missing),
        {name: what for name, what in sorted(corrupt.items()) if (copy.root / name).exists()},
    )
    (copy.root / "backup.json").write_text(json.dumps({"format": FORMAT, **asdict(made)}))
    return made


def _copy_bundles(home: Home, copy: Home, recorded: Recorded, corrupt: dict[str, str]) -> None:
    """They never change once they are there, so what was copied is not copied again.

    Each copy is read and compared with its digests; `corrupt` gets what is wrong.
    """
    for source, target, ids in (
        (home.weights, copy.weights, recorded.weights),
        (home.datasets, copy.datasets, recorded.datasets),
    ):
        for one in sorted(ids):
            if not (target / one).exists():
                _copy_tree(source / one, target / one)
                corrupt.pop(f"{source.name}/{one}", None)
                fault = fault_of(target / one)
                if fault is not None:
                    corrupt[f"{source.name}/{one}"] = fault
            if not (source / one).exists():  # removed while it was copied, perhaps
                remove_tree(target / one)


def _copy_run(source: Path, target: Path) -> None:
    """A run that goes on replaces its checkpoints: the copy's index names those that it has."""
    for _ in range(_TRIES):
        remove_tree(target)
        _copy_tree(source, target, partial(_passes, RunPaths(source)))
        if not source.exists():
            remove_tree(target)
        if _checkpoints_whole(RunPaths(source), RunPaths(target)):
            return
    raise StorageUnavailable(f"The run {source.name} saves faster than it can be copied: pause it.")


def _passes(run: RunPaths, entry: os.DirEntry[str]) -> bool:
    """True for what tells of the run's processes, and what they are just writing. Names are theirs
    in the run's own folder and that of its checkpoints only: further in they are the plugin's."""
    folder = Path(entry.path).parent
    if folder == run.root and entry.name in _OF_PROCESSES:
        return True
    ours = folder in (run.root, run.checkpoints)
    return ours and entry.name.startswith(".") and entry.name.endswith((".tmp", ".old"))


def _checkpoints_whole(source: RunPaths, target: RunPaths) -> bool:
    if not target.checkpoints_index.exists():
        return True
    with suppress(OSError):
        if source.checkpoints_index.read_bytes() != target.checkpoints_index.read_bytes():
            return False
        items = json.loads(target.checkpoints_index.read_bytes())["items"]
        return all(target.checkpoint(item["step"]).is_dir() for item in items)
    return False


def _missing(copy: Home, recorded: Recorded) -> list[str]:
    return [
        f"{folder.name}/{one}"
        for folder, ids in (
            (copy.weights, recorded.weights),
            (copy.datasets, recorded.datasets),
            (copy.runs, recorded.runs),
        )
        for one in sorted(ids)
        if not (folder / one).is_dir()
    ]


def _drop_others(copy: Home, recorded: Recorded) -> None:
    """What was removed from the home meanwhile, and would be taken up again by a server."""
    for folder, ids in (
        (copy.weights, recorded.weights),
        (copy.datasets, recorded.datasets),
        (copy.runs, recorded.runs),
    ):
        for path in folder.iterdir():
            if path.name not in ids:
                remove_tree(path)


def _copy_tree(
    source: Path, target: Path, leave: Callable[[os.DirEntry[str]], bool] = lambda entry: False
) -> None:
    """Files that go while they are copied are left out; links stay links."""
    with suppress(FileNotFoundError):
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
        target.mkdir(mode=0o700, exist_ok=True)
        for entry in entries:
            to = target / entry.name
            if leave(entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                _copy_tree(Path(entry.path), to, leave)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    shutil.copy2(entry.path, to, follow_symlinks=False)
