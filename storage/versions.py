"""One weights version as a folder (a bundle): `files/` and, written last, `manifest.json`.

Blocking file work; runs in a thread of the server. Knows paths and bytes, not models or runs.
Members of a manifest that are not known here are kept: the file is never written anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ..clearing import remove_tree
from ..errors import ModelyardError
from ..members import SEEN

VERSION_ID = re.compile(r"[0-9a-f]{32}\Z")
GONE = ".gone-"
"""Before the name of a folder that is being removed: it comes back if its record is still there."""
DEEPEST = 300
"""Levels of lists and objects in a manifest from elsewhere; not everybody can read much deeper ones
or tell what they say."""
_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


class BadVersion(ModelyardError):
    """The weights version is not whole, or its manifest is wrong."""


def in_words(error: BadVersion, folder: Path) -> str:
    """What is wrong with the version in `folder`, without where that is on this machine."""
    return error.message.replace(f"{folder}/", "").replace(str(folder), "the version")


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. `files` are `{"path", "size", "sha256"}`; sizes are in bytes."""

    id: str
    model: str
    run: str | None
    created_at: datetime
    step: int | None = None
    checkpoint: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()
    size: int = 0
    origin: str = "training"
    parent: str | None = None
    dataset: Mapping[str, Any] | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version folder, checked. Raises BadVersion, and OSError of the disk."""
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadVersion(f"{folder}: has no manifest.json") from None
    except ValueError as error:
        raise BadVersion(f"{path}: {error}") from error
    return manifest_from(data, str(path))


def manifest_from(data: Any, where: str) -> Manifest:
    """The manifest that JSON says, checked; `where` tells in messages what it is.

    Raises BadVersion.
    """
    try:
        if data.get("kind", "weights") != "weights":
            raise ValueError(f"is one of a {data['kind']}, not of weights")
        manifest = Manifest(
            id=str(data["id"]),
            model=str(data["model"]),
            run=_text(data.get("run")),
            created_at=_time(data.get("created_at")),
            step=None if data.get("step") is None else int(data["step"]),
            checkpoint=_text(data.get("checkpoint")),
            metrics=dict(data.get("metrics") or {}),
            files=tuple({**item, "size": int(item["size"])} for item in data["files"]),
            size=sum(int(item["size"]) for item in data["files"]),
            origin=str(data.get("origin") or "training"),
            parent=_text(data.get("parent")),
            dataset=None if data.get("dataset") is None else dict(data["dataset"]),
            lineage=dict(data.get("lineage") or {}),
        )
        _check_recordable(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadVersion(f"{where}: {type(error).__name__}: {error}") from error
    if not VERSION_ID.match(manifest.id):
        raise BadVersion(f"{where}: {manifest.id!r} is no version id (32 hex digits)")
    for item in manifest.files:
        _check_name(where, str(item["path"]))
    return manifest


def install_version(source: Path, root: Path, mend: bool = False) -> Manifest:
    """Puts the version folder `source` into `root` under its id: whole and durable, or not at all.

    Files are hard links where the file system can, else copies; each must have the size that the
    manifest says. Doing it again changes nothing; with `mend` what is there is read, and replaced
    if a byte of it is wrong. Raises BadVersion, and OSError (disk full): then `root` is as it was,
    and it may be tried again.
    """
    manifest = read_manifest(source)
    target = root / manifest.id
    if is_whole(target) and not (mend and fault_of(target)):
        return manifest
    new = root / f".new-{manifest.id}"
    remove_tree(new)
    try:
        new.mkdir(mode=0o700)
        (new / "files").mkdir(mode=0o700)
        for item in manifest.files:
            _place(source / "files" / item["path"], new / "files" / item["path"], item["size"])
        _copy(_manifest_of(target, manifest) or source / "manifest.json", new / "manifest.json")
        with suppress(OSError):  # without, it is made at first use, and only what comes is seen
            shutil.copyfile(source / SEEN, new / SEEN)
        for folder in {path.parent for path in new.rglob("*")}:
            sync_folder(folder)
        if target.exists():  # a damaged one: what an operator's hand left there
            remove_tree(target)
        new.rename(target)
    except BaseException:
        remove_tree(new)
        raise
    sync_folder(root)
    return manifest


def _manifest_of(damaged: Path, wanted: Manifest) -> Path | None:
    """That of a damaged copy, if it is whole itself: an import calls its own of another origin."""
    with suppress(BadVersion, OSError):
        if _content(read_manifest(damaged)) == _content(wanted):
            return damaged / "manifest.json"
    return None


def _content(manifest: Manifest) -> list[tuple[str, int, str]]:
    return sorted((item["path"], item["size"], str(item.get("sha256"))) for item in manifest.files)


def is_whole(folder: Path) -> bool:
    """True if the manifest can be read and every file has its size."""
    with suppress(BadVersion, OSError):
        manifest = read_manifest(folder)
        for item in manifest.files:
            if (folder / "files" / item["path"]).stat().st_size != item["size"]:
                return False
        return True
    return False


def fault_of(folder: Path) -> str | None:
    """What is wrong with a bundle, every byte of it read: None if it is what its manifest says.

    In words without `folder`; of a dataset too. Blocking, for as long as the disk takes.
    """
    try:
        files = json.loads((folder / "manifest.json").read_bytes())["files"]
        for item in files:
            path, size, sha256 = str(item["path"]), int(item["size"]), item["sha256"]
            try:
                found = _size_and_sha256(folder / "files" / path)
            except OSError as error:
                missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
                return f"{path} {'is missing' if missing else error.strerror}"
            if found != (size, sha256):
                return f"{path} is not what its manifest says (size or SHA-256)"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest.json cannot be read"
    return None


def _size_and_sha256(path: Path) -> tuple[int, str]:
    with open(os.open(path, _TO_READ), "rb", buffering=0) as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "is no file")
        return status.st_size, hashlib.file_digest(file, "sha256").hexdigest()


def remove_unfinished(root: Path, kept: Collection[str] = ()) -> None:
    """Removes what installs that were killed have left, but of the versions `kept`."""
    for path in root.glob(".new-*"):
        if path.name.removeprefix(".new-") in kept:
            continue
        remove_tree(path)


def put_away(root: Path, bundle_id: str) -> Path:
    """Renames the bundle's folder, if there is one, to one that is removed at the next start."""
    away = root / f"{GONE}{bundle_id}"
    folder = root / bundle_id
    if folder.exists():
        remove_tree(away)  # of an earlier one of that id
        folder.rename(away)
    return away


def bring_back(away: Path) -> None:
    """Undoes `put_away`."""
    if away.exists():
        away.rename(away.with_name(away.name.removeprefix(GONE)))


def remove_away(away: Path) -> None:
    """Removes what was put away, and what a fetch had brought of it."""
    remove_tree(away)
    remove_tree(away.with_name(f".new-{away.name.removeprefix(GONE)}"))


def put_away_before(root: Path) -> list[Path]:
    """What a server has put away that was killed before it was removed."""
    return list(root.glob(f"{GONE}*"))


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(manifest: str, name: str) -> None:
    # A manifest may come from elsewhere, by the store or in an archive: it must not name a file
    # outside its folder.
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise BadVersion(f"{manifest}: {name!r} is no path inside the version")


def _place(source: Path, target: Path, size: int) -> None:
    try:
        status = source.lstat()
    except FileNotFoundError:
        raise BadVersion(f"{source}: is missing") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadVersion(f"{source}: is no regular file")
    if status.st_size != size:
        raise BadVersion(f"{source}: has {status.st_size} bytes, its manifest says {size}")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, target)
        if target.stat().st_size != size:
            raise BadVersion(f"{target}: the copy has another size") from error
        return
    _sync_file(target)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    _sync_file(target)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_recordable(manifest: Manifest) -> None:
    """Raises ValueError for what the records cannot take: one such manifest in a store would keep
    a server from hearing of all others."""
    dataset = (manifest.dataset or {}).get("id")
    if not isinstance(dataset, str | None):
        raise ValueError("the dataset's id is no text")
    texts = (manifest.model, manifest.run, manifest.checkpoint, manifest.origin, manifest.parent)
    for text in (*texts, dataset):
        (text or "").encode()
    manifest.created_at.astimezone(UTC)
    json.dumps(manifest.metrics, allow_nan=False)
    if max(manifest.size, abs(manifest.step or 0)) >= 2**63:
        raise ValueError("a number is too large")


def nests_deeper(data: Any, levels: int) -> bool:
    """True if lists and objects in JSON's `data` are nested in more than so many levels."""
    level = [data]
    for _ in range(levels + 1):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _time(text: Any) -> datetime:
    if not text:
        return datetime.now(UTC)
    time = datetime.fromisoformat(str(text))
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
