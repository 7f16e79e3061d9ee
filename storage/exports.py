"""Other formats of a weights version, in its folder beside `files/`: `exports/<format>/`.

    exports/onnx/export.json      what it is; renamed into place with the rest: whole, or not there
    exports/onnx/model.onnx       the one file that is handed out; several are packed in one zip

They are made anew from the version if they are lost, and so are no part of its manifest. Blocking
file work; runs in a thread of the server.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..clearing import remove_tree
from ..errors import PluginFailed, WeightsNotFound
from ..members import CannotBeKept, settle_links
from .versions import sync_folder

FORMAT = 1
_NAMES = 1000  # files of one export; more is a mistake
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same files make the same zip


@dataclass(frozen=True)
class Export:
    """One export. `files` are `{"path", "size", "sha256"}` as they were written; `file` is what is
    handed out, of `size` bytes. `details` is whatever else the model told of it."""

    format: str
    created_at: datetime
    file: str
    size: int
    sha256: str
    files: Sequence[Mapping[str, Any]]
    max_difference: float
    samples: int
    details: Mapping[str, Any] = field(default_factory=dict)


class VersionExports:
    """The exports of the version in this folder (the one with `manifest.json`)."""

    def __init__(self, version: Path) -> None:
        self._version = version
        self._root = version / "exports"

    def all(self) -> list[Export]:
        """By their names."""
        names = sorted(path.name for path in self._root.glob("[!.]*"))
        return [export for name in names if (export := self.find(name)) is not None]

    def find(self, name: str) -> Export | None:
        """None if there is none, or what is there is damaged: then it can be made again."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads((self._root / name / "export.json").read_bytes())
            if data.pop("format_version") != FORMAT:
                return None
            data["created_at"] = datetime.fromisoformat(data["created_at"])
            export = Export(**data)
            if self.path(export).stat().st_size == export.size:
                return export
        return None

    def path(self, export: Export) -> Path:
        """The file that is handed out."""
        return self._root / export.format / export.file

    def begin(self, name: str) -> Path:
        """An empty folder to write the export in; what was left there is gone.

        Raises WeightsNotFound if the version has been removed, OSError (disk full).
        """
        if not (self._version / "manifest.json").exists():
            raise WeightsNotFound(f"The weights version {self._version.name} is not here any more.")
        self._root.mkdir(mode=0o700, exist_ok=True)
        new = self._root / f".new-{name}"
        remove_tree(new)
        new.mkdir(mode=0o700)
        return new

    def drop(self, name: str) -> None:
        """Removes what was begun and not ended."""
        remove_tree(self._root / f".new-{name}")

    def link_files(self, name: str, suffix: str) -> int:
        """Puts the version's own files with this suffix into what was begun; how many."""
        source, number = self._version / "files", 0
        for path in _files(source):
            if path.suffix == suffix:
                target = self._root / f".new-{name}" / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)
                number += 1
        return number

    def end(
        self, name: str, told: Mapping[str, Any], stop: Callable[[], bool] = lambda: False
    ) -> Export:
        """Makes what was begun the export: whole and durable, or not at all.

        `told` has `max_difference` and `samples`, and any details. Files of any size are read, some
        written: `stop` is asked at each piece. Raises PluginFailed if the model wrote what cannot
        be handed out, OSError, and InterruptedError when `stop` says so.
        """
        new = self._root / f".new-{name}"
        files = [_described(new, path, stop) for path in _checked(new)]
        one = _single(new, name, files, stop)
        details = {key: told[key] for key in told if key not in ("max_difference", "samples")}
        export = Export(
            format=name,
            created_at=datetime.now(UTC),
            file=one["path"],
            size=one["size"],
            sha256=one["sha256"],
            files=files,
            max_difference=float(told["max_difference"]),
            samples=int(told["samples"]),
            details=details,
        )
        data = {**asdict(export), "created_at": export.created_at.isoformat()}
        (new / "export.json").write_text(json.dumps({"format_version": FORMAT, **data}))
        for path in [*_files(new), *{path.parent for path in _files(new)}, new]:
            _sync(path)
        old = self._root / name
        remove_tree(old)  # a damaged one: `find` did not find it
        new.rename(old)
        sync_folder(self._root)
        return export


def remove_unfinished_exports(root: Path) -> None:
    """Removes what exports of the versions in `root` that were killed have left."""
    for path in root.glob("*/exports/.new-*"):
        remove_tree(path)


def _checked(folder: Path) -> list[Path]:
    try:
        settle_links(folder)
    except CannotBeKept as error:
        told = f"The export cannot be kept: in its folder, {error}"
        raise PluginFailed(told, original_type="ContractFault") from None
    files = list(_files(folder))
    if not files or len(files) > _NAMES:
        raise PluginFailed(f"The export has {len(files)} files; 1 to {_NAMES} can be kept.")
    if any(path.name == "export.json" for path in files):
        raise PluginFailed("The export has a file export.json, which is the server's own name.")
    return files


def _single(
    new: Path, name: str, files: list[dict[str, Any]], stop: Callable[[], bool]
) -> dict[str, Any]:
    """The one file that is handed out; several become a zip, and are not kept beside it."""
    if len(files) == 1:
        return files[0]
    packed = new / f".{name}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for item in files:
            info = zipfile.ZipInfo(item["path"], _EPOCH)
            info.external_attr = 0o644 << 16
            info.file_size = item["size"]  # so that one of gigabytes is written as such
            with archive.open(info, "w") as target:
                for piece in _pieces(new / item["path"], stop):
                    target.write(piece)
    for path in [*new.iterdir()]:
        if path != packed:
            remove_tree(path)
    packed.rename(new / f"{name}.zip")
    return _described(new, new / f"{name}.zip", stop)


def _described(folder: Path, path: Path, stop: Callable[[], bool]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for piece in _pieces(path, stop):
        digest.update(piece)
    relative = path.relative_to(folder).as_posix()
    return {"path": relative, "size": path.stat().st_size, "sha256": digest.hexdigest()}


def _pieces(path: Path, stop: Callable[[], bool]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            if stop():
                raise InterruptedError
            yield piece


def _files(folder: Path) -> Iterator[Path]:
    """Regular files only: a link that a model left could name any file of this machine."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and folder.resolve() in path.resolve().parents:
            yield path


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
