"""Uploads that come in parts: HOME/uploads/<id>/, with `upload.json` and `parts/<number>`.

Each part is whole and durable or not there, whatever line the server is killed at, so an upload
goes on where it was after a lost connection, a restart, a power cut. Blocking file work; runs in
threads of the front, which only moves bytes here: what they mean is found by the ingest process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import DiskFull, InvalidArguments, UploadNotFound
from ..versions import VERSION_ID, sync_folder

PART_SIZE = 8 << 20
"""Bytes of a part, but for the last one, unless that would make too many."""
MOST_PARTS = 10_000
KEPT_S = 7 * 24 * 3600
"""An upload is removed when no part of it has come for so long."""
_ROUND = 1 << 20
_FORMAT = 1


@dataclass(frozen=True)
class Upload:
    """What a client has announced. Sizes are in bytes; `sha256` is of the whole file, if given.

    `dataset` is what became of it once it is completed; `created` is False then if that content
    was here already under this name.
    """

    id: str
    filename: str
    size: int
    part_size: int
    created_at: str
    sha256: str | None = None
    name: str | None = None
    model: str | None = None
    principal: str = ""
    dataset: str | None = None
    created: bool = False

    @property
    def parts(self) -> int:
        """How many parts it has; they are numbered from 1."""
        return max(1, -(-self.size // self.part_size))

    def size_of(self, number: int) -> int:
        """Bytes of one part. Raises InvalidArguments if there is no such part."""
        if not 1 <= number <= self.parts:
            raise InvalidArguments({"number": [f"There are the parts 1 to {self.parts}."]})
        if number < self.parts:
            return self.part_size
        return self.size - (self.parts - 1) * self.part_size


class PartWriter:
    """One part that is coming. Two writers of one part do not meet: the last one wins.

    Raises OSError, UploadNotFound if the upload is removed meanwhile, and InvalidArguments if the
    part has another size or hash than it should. `close` it in any case.
    """

    def __init__(self, folder: Path, number: int, size: int) -> None:
        self._new = folder / f".{number}-{uuid.uuid4().hex}"
        self._target = folder / str(number)
        self._size = size
        self._came = 0
        self._digest = hashlib.sha256()
        try:
            self._file = self._new.open("wb")
        except FileNotFoundError as error:
            raise UploadNotFound("There is no such upload any more.") from error

    def write(self, chunk: bytes) -> None:
        """The next bytes."""
        self._came += len(chunk)
        if self._came > self._size:
            raise self._wrong()
        self._file.write(chunk)
        self._digest.update(chunk)

    def commit(self, sha256: bytes | None) -> None:
        """It is the part now, durably. `sha256` is what the client says that it has."""
        if self._came != self._size:
            raise self._wrong()
        if sha256 is not None and self._digest.digest() != sha256:
            told = "The bytes that came have another SHA-256: send them again."
            raise InvalidArguments({"Content-Digest": [told]})
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            self._new.rename(self._target)
        except FileNotFoundError as error:
            raise UploadNotFound("There is no such upload any more.") from error
        sync_folder(self._target.parent)

    def close(self) -> None:
        """What was not committed is gone."""
        self._file.close()
        self._new.unlink(missing_ok=True)

    def _wrong(self) -> InvalidArguments:
        name, some = self._target.name, "more" if self._came > self._size else str(self._came)
        return InvalidArguments({"body": [f"Part {name} has {self._size} bytes; {some} came."]})


class Uploads:
    """The folder of all uploads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(
        self,
        filename: str,
        size: int,
        part_limit: int = 0,
        upload_id: str | None = None,
        **more: Any,
    ) -> Upload:
        """Begins an upload; `part_limit` is the most bytes that one request may hold (0: any).

        One that was begun with this `upload_id` is returned. Raises DiskFull if the disk could not
        take it.
        """
        if upload_id is not None and (self._root / upload_id).exists():
            return self.get(upload_id)
        free = shutil.disk_usage(self._root).free
        if size > free:
            raise DiskFull(f"The upload has {size} bytes; the disk has room for {free}.")
        part = part_size_for(size)
        if part_limit:
            part = min(part, part_limit)
        now = datetime.now(UTC).isoformat()
        upload = Upload(upload_id or uuid.uuid4().hex, filename, size, part, now, **more)
        new = self._root / f".new-{upload.id}"
        (new / "parts").mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(new / "upload.json", upload)
        new.rename(self._root / upload.id)
        sync_folder(self._root)
        return upload

    def get(self, upload_id: str) -> Upload:
        """Raises UploadNotFound, also for what is no id: it comes from an address as it is."""
        folder = self._folder(upload_id)
        try:
            data = json.loads((folder / "upload.json").read_bytes())
            known = {item.name for item in fields(Upload)}
            upload = Upload(**{name: value for name, value in data.items() if name in known})
            if upload.id != upload_id:
                raise ValueError(f"{folder} is of {upload.id}")
            return upload
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError) as error:
            raise UploadNotFound(f"There is no upload {upload_id}.") from error

    def received(self, upload: Upload) -> list[int]:
        """The numbers of the parts that are here, in order; none of a completed one.

        Raises UploadNotFound if it was removed meanwhile.
        """
        found = []
        try:
            for number in self._numbers(upload):
                if (self._parts(upload) / str(number)).stat().st_size == upload.size_of(number):
                    found.append(number)
        except FileNotFoundError:
            if self.get(upload.id).dataset is None:
                raise
            return []  # `upload` was read before it was completed
        return sorted(found)

    def paths(self, upload: Upload) -> list[Path]:
        """The files of all parts in order."""
        return [self._parts(upload) / str(number) for number in range(1, upload.parts + 1)]

    def part(self, upload: Upload, number: int) -> PartWriter:
        """For the bytes of one part. Raises InvalidArguments if there is no such part."""
        return PartWriter(self._parts(upload), number, upload.size_of(number))

    def finish(self, upload: Upload, dataset: str, created: bool) -> Upload:
        """Remembers what became of it, and removes its bytes."""
        done = replace(upload, dataset=dataset, created=created)
        _write(self._root / upload.id / "upload.json", done)
        shutil.rmtree(self._parts(upload), ignore_errors=True)
        return done

    def remove(self, upload_id: str) -> None:
        """Removes it with all that came. Raises UploadNotFound."""
        gone = self._root / f".gone-{upload_id}"
        try:
            self._folder(upload_id).rename(gone)  # so that no writer finds it any more
        except FileNotFoundError as error:
            raise UploadNotFound(f"There is no upload {upload_id}.") from error
        shutil.rmtree(gone, ignore_errors=True)

    def stale(self) -> list[str]:
        """The ids of those that nobody went on with for a week."""
        found = []
        for folder in self._root.iterdir():
            with suppress(FileNotFoundError):  # removed meanwhile
                if VERSION_ID.match(folder.name) and time.time() - _touched(folder) > KEPT_S:
                    found.append(folder.name)
        return found

    def remove_stale(self) -> None:
        """Removes those that nobody went on with for a week, and what a kill has left of others.

        Call it when none is being created, and none worked on.
        """
        for upload_id in self.stale():
            self.remove(upload_id)
        for folder in self._root.iterdir():
            if folder.name.startswith((".new-", ".gone-")):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                for part in folder.glob("parts/.*"):
                    part.unlink(missing_ok=True)

    def _folder(self, upload_id: str) -> Path:
        if VERSION_ID.match(upload_id) is None:
            raise UploadNotFound(f"There is no upload {upload_id[:100]!r}.")
        return self._root / upload_id

    def _parts(self, upload: Upload) -> Path:
        return self._root / upload.id / "parts"

    def _numbers(self, upload: Upload) -> Iterator[int]:
        if upload.dataset is not None:
            return
        for entry in os.scandir(self._parts(upload)):
            if entry.name.isdigit() and 1 <= int(entry.name) <= upload.parts:
                yield int(entry.name)


def part_size_for(size: int) -> int:
    """Bytes of a part for a file of `size` bytes: whole MiB, so that there are not too many."""
    least = -(-size // MOST_PARTS)
    return max(PART_SIZE, -(-least // _ROUND) * _ROUND)


def described(numbers: Sequence[int]) -> str:
    """Numbers in words: `1-3, 7`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _touched(folder: Path) -> float:
    """When a part last came, or it was begun (seconds since 1970)."""
    times = [folder.stat().st_mtime]
    for path in (folder / "parts", folder / "upload.json"):
        if path.exists():
            times.append(path.stat().st_mtime)
    return max(times)


def _write(path: Path, upload: Upload) -> None:
    data: Mapping[str, Any] = {"format": _FORMAT, **asdict(upload)}
    new = path.with_suffix(".new")
    with new.open("w", encoding="ascii") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
