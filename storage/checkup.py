"""What is not well with a home and its store, and what would mend it. Nothing is changed but by
`repair_*`.

Runs in the command `modelyard doctor`, also beside a running server.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ..clearing import remove_tree
from ..errors import ModelyardError, StoreUnavailable
from ..records.home import FORMAT, Home
from ..records.inspection import KeptBundle, integrity, kept_bundles
from ..records.lost import saved_copies
from ..records.revision import newest_revision, revision_of
from .office import StorageOffice
from .transfer.results import RepairReport
from .versions import VERSION_ID, fault_of

LEAST_FREE = 1024**3
"""Bytes: with less free space a training or a fetch is likely to fail."""
_NAMED = 3
_YOUNG_S = 60.0


@dataclass(frozen=True)
class Finding:
    """`part` is "home" or "store". Nothing is wrong where there is no `remedy`."""

    part: str
    message: str
    remedy: str | None = None


# -- the home -------------------------------------------------------------------------------------


def check_home(
    home: Home, shared: bool, named: bool = False, every_byte: bool = False
) -> Iterator[Finding]:
    """`shared`: with a store. What cannot be read is a finding, too.

    `named`: somebody said that this is the home, so that one that is not there is a fault.
    `every_byte`: all files of versions and datasets are read and compared with their SHA-256, which
    takes as long as the disk does; else their sizes alone.
    """
    if not home.root.is_dir():
        told = f"There is no home at {home.root}: a server makes one at its start."
        yield Finding("home", told, "Name one that is there with --home." if named else None)
        return
    if not home.format_file.exists():
        yield Finding("home", f"{home.root} is no home of Modelyard.", "Name it with --home.")
        return
    user = home.user()
    used = "no server uses it" if user is None else f"the server with pid {user.pid} uses it"
    yield _format(home, used)
    yield from _rights(home)
    free = shutil.disk_usage(home.root).free
    low = free < LEAST_FREE
    yield Finding(
        "home",
        f"{_told(free)} of the disk are free.",
        "Free some space, or give --storage-cache a smaller limit." if low else None,
    )
    yield from _lost(home)
    try:
        yield _records(home)
        bundles = kept_bundles(home.database) if home.database.exists() else []
    except ModelyardError as error:
        yield Finding("home", error.message, "Do what it says, then ask again.")
        return
    yield from _versions(home, bundles, shared, every_byte)


def _format(home: Home, used: str) -> Finding:
    try:
        found = int(json.loads(home.format_file.read_bytes())["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return Finding(
            "home",
            f"{home.format_file} is damaged.",
            f'Write {{"format": {FORMAT}}} into it: the server adds the rest.',
        )
    newer = found > FORMAT
    return Finding(
        "home",
        f"{home.root}: format {found}, {used}.",
        "A newer release has written it: install that one." if newer else None,
    )


def _rights(home: Home) -> Iterator[Finding]:
    """Whether this user may write there, and whether others may."""
    rooms = (home.root, home.runs, home.weights, home.datasets, home.tmp, home.logs, home.database)
    shut = [path for path in rooms if path.exists() and not os.access(path, os.W_OK)]
    if shut:
        told = ", ".join(str(path) for path in shut[:_NAMED])
        more = f" and {len(shut) - _NAMED} more" if len(shut) > _NAMED else ""
        yield Finding(
            "home", f"May only be read, so that no server works: {told}{more}.", _opened(home)
        )
    if (mode := _open_to_others(home)) is not None:
        writable = "write into it and " if mode & 0o022 else ""
        yield Finding(
            "home",
            f"{home.root}: others may {writable}read what it keeps (mode {mode:04o}).",
            f"--repair shuts it, and so does a server's start: chmod 700 {home.root}.",
        )


def _opened(home: Home) -> str:
    """What gives this user the right to write."""
    if os.statvfs(home.root).f_flag & os.ST_RDONLY:
        return "Mount its file system for writing (after an error of the disk: check that first)."
    owner = home.root.stat().st_uid
    if owner == os.geteuid():
        return f"Give yourself the right: chmod -R u+rwX {home.root}."
    return f"Ask as the server's user, or give it to this one: chown -R {os.geteuid()} {home.root}."


def _open_to_others(home: Home) -> int | None:
    """The mode of a home that more users than its owner may enter, if that can be mended here.

    None for a volume that belongs to another user: on some container platforms it has to be so.
    """
    found = home.root.stat()
    mode = stat.S_IMODE(found.st_mode)
    return mode if mode & 0o077 and os.geteuid() in (0, found.st_uid) else None


def shut_home(home: Home) -> list[Finding]:
    """Has nobody but its owner enter the home; may be done beside a running server."""
    if _open_to_others(home) is None:
        return []
    try:
        home.root.chmod(0o700)
    except OSError as error:
        told = f"{home.root}: its mode cannot be changed ({error.strerror})."
        return [Finding("home", told, "Have its owner do that.")]
    return [Finding("home", f"{home.root}: for its owner alone now (mode 0700).")]


def _lost(home: Home) -> Iterator[Finding]:
    """A database that was taken away, and what servers have saved of such."""
    lost = home.lost()
    if lost is not None:
        yield Finding("home", lost.told, lost.remedy)
    elif saved := saved_copies(home.database):
        told = ", ".join(str(path) for path in saved[:_NAMED])
        yield Finding("home", f"Saved of a database that was taken from a server earlier: {told}.")


def _records(home: Home) -> Finding:
    path = home.database
    if not path.exists() or path.stat().st_size == 0:
        return Finding("home", f"{path} is missing or empty.")
    problem = integrity(path)
    if problem is not None:
        remedy = "Put a backup in its place, or recover it with `sqlite3 FILE .recover`."
        return Finding("home", f"{path} is damaged: {problem}.", remedy)
    revision, newest = revision_of(path), newest_revision()
    later = "" if revision == newest else f" (the next start brings it to {newest})"
    return Finding("home", f"{path}: whole, revision {revision}{later}.")


def _versions(
    home: Home, bundles: list[KeptBundle], shared: bool, every_byte: bool
) -> Iterator[Finding]:
    faults = _faults(home, bundles, every_byte)
    broken = [one for one, _ in faults]
    mended = [one for one in broken if one.stored and shared]
    lost = [one for one in broken if one not in mended]
    here = sum(one.local for one in bundles)
    if not broken:
        how = "all files are what their manifests say" if every_byte else "all files are there"
        yield Finding("home", f"{here} versions and datasets on this disk: {how}.")
    whats = dict(faults)
    if mended:
        yield Finding(
            "home",
            f"Corrupt on this disk, but in the store: {_told_faults(mended, whats)}.",
            "Stop the server and use --repair: they are brought anew from the store.",
        )
    if lost:
        yield Finding(
            "home",
            f"Corrupt on this disk, the only one known to have them: {_told_faults(lost, whats)}.",
            "Put them back from a backup or import their archives; else delete them "
            "(`modelyard weights delete`, `modelyard datasets remove`).",
        )
    if strangers := _strangers(home, bundles):
        told = ", ".join(str(path) for path in strangers[:_NAMED])
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        yield Finding(
            "home",
            f"No record knows the weights of this folder: {told}{more}.",
            "Put the records back that know it, or remove the folder when you need it no more: a "
            "server that is killed while it takes weights in can leave one.",
        )
    waiting = [one for one in bundles if shared and one.local and not one.stored]
    if waiting:
        reasons = {one.reason for one in waiting if one.reason}
        why = f" ({'; '.join(sorted(reasons)[:_NAMED])})" if reasons else ""
        yield Finding(
            "home",
            f"Not in the store yet: {_names(waiting)}{why}.",
            "Keep this disk. A running server with this --storage publishes them; "
            "`modelyard weights push` tries now.",
        )


def _strangers(home: Home, bundles: list[KeptBundle]) -> list[Path]:
    """Folders of versions that no record names; of datasets a server's start makes records. Not
    what a server is about to list."""
    if not home.weights.is_dir():
        return []
    known = {one.id for one in bundles if one.kind == "weights"}
    folders = (path for path in home.weights.iterdir() if VERSION_ID.match(path.name))
    unknown = [path for path in folders if path.name not in known]
    return sorted(path for path in unknown if time.time() - path.stat().st_mtime > _YOUNG_S)


def _faults(
    home: Home, bundles: list[KeptBundle], every_byte: bool
) -> list[tuple[KeptBundle, str]]:
    """Those of `bundles` that should be on this disk and are not whole, with what is wrong."""
    found = []
    for one in bundles:
        folder = _folder(home, one)
        if not one.local:
            continue
        what = fault_of(folder) if every_byte else _missing(folder)
        if what is not None:
            found.append((one, what))
    return found


def _missing(folder: Path) -> str | None:
    return None if _is_whole(folder) else "a file is missing or cut"


async def repair_home(home: Home, office: StorageOffice, every_byte: bool) -> list[Finding]:
    """Brings anew what is broken here and whole in the store; what is not there stays as it is.

    `every_byte` as in `check_home`. Raises HomeInUse while a server uses the home, CannotStart and
    StorageUnavailable.
    """
    home.open()
    with closing(home):
        broken = _faults(home, kept_bundles(home.database), every_byte)
        return [await _mended(home, one, office) for one, _ in broken if one.stored]


async def _mended(home: Home, bundle: KeptBundle, office: StorageOffice) -> Finding:
    folder = _folder(home, bundle)
    away = folder.with_name(f".broken-{bundle.id}")
    remove_tree(away)
    if folder.exists():
        folder.rename(away)
    try:
        await office.fetch(bundle.key, folder.parent)
    except ModelyardError as error:
        if away.exists():
            away.rename(folder)
        text = f"{_names([bundle])} could not be brought anew: {error.message}"
        return Finding("home", text, "Put it back from a backup, or delete it.")
    remove_tree(away)
    return Finding("home", f"Brought anew from the store: {_names([bundle])}.")


def _folder(home: Home, bundle: KeptBundle) -> Path:
    return (home.weights if bundle.kind == "weights" else home.datasets) / bundle.id


def _is_whole(folder: Path) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        files = json.loads((folder / "manifest.json").read_bytes())["files"]
        return all(
            (folder / "files" / item["path"]).stat().st_size == int(item["size"]) for item in files
        )
    return False


# -- the store ------------------------------------------------------------------------------------


async def check_store(office: StorageOffice) -> list[Finding]:
    """Asks it for what a server needs of it, and counts what nothing refers to."""
    try:
        await office.start()
        if office.problem is not None:
            raise office.problem
        able = await office.check()
        report = await office.repair(dry=True)
    except StoreUnavailable as error:
        remedy = "Check the network and the server's address (AWS_ENDPOINT_URL); nothing is lost."
        return [Finding("store", f"{office.url}: {error.message}", remedy)]
    except ModelyardError as error:
        remedy = "Do what it says: no server can publish or fetch before."
        return [Finding("store", f"{office.url}: {error.message}", remedy)]
    told = ", ".join(
        f"{name.replace('_', ' ')}: {'yes' if on else 'no'}" for name, on in able.items()
    )
    found = [Finding("store", f"{office.url}: takes, gives and deletes objects ({told}).")]
    if report.refused is not None:
        remedy = "Delete that version, or publish it again from where it is whole."
        return [*found, Finding("store", report.refused, remedy)]
    if left_over(report):
        remedy = "--repair removes it."
        return [
            *found,
            Finding("store", f"Older than a day and of no use: {told_of(report)}.", remedy),
        ]
    return [*found, Finding("store", "Nothing in it is older than a day and of no use.")]


def left_over(report: RepairReport) -> int:
    """How many objects a repair has removed, or would remove."""
    return (
        report.blobs + report.packs + report.shared + report.entries + report.deletions
    ) + report.uploads


def told_of(report: RepairReport) -> str:
    """What a repair has removed, or would remove."""
    parts = [
        (report.blobs + report.packs, f"blobs and packs ({_told(report.size)})"),
        (report.shared, "archives of links that ended"),
        (report.entries, "old moves of aliases and labels"),
        (report.deletions, "unfinished deletions"),
        (report.uploads, "broken uploads"),
    ]
    return ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing"


def _names(bundles: list[KeptBundle]) -> str:
    told = ", ".join(f"{one.owner}/{one.id[:12]}" for one in bundles[:_NAMED])
    more = len(bundles) - _NAMED
    return f"{told} and {more} more" if more > 0 else told


def _told_faults(bundles: list[KeptBundle], whats: Mapping[KeptBundle, str]) -> str:
    told = ", ".join(f"{_names([one])} ({whats[one]})" for one in bundles[:_NAMED])
    more = len(bundles) - _NAMED
    return f"{told} and {more} more" if more > 0 else told


def _told(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
