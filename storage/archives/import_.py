"""Unpacks an archive of a version, and verifies all of it. A process of its own:

    python -m modelyard.storage.archives.import_ ARCHIVE FOLDER [--model NAME]

FOLDER, which must not exist, becomes the version's folder: files/ and manifest.json, durable; it
is installed by the server. The last line that is printed is the answer as JSON. It holds no
credentials, has bounded memory, and what it was doing is only below FOLDER.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import resource
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from ...errors import BadArchive, Conflict, DiskFull, ModelyardError
from ...unpacking import Limits, Watcher, unpack
from ..versions import sync_folder
from .formats import CARD, MANIFEST, sniff
from .manifests import as_bytes, check_foreign

MEMBERS = 200_000
MEMORY = 1 << 30
"""Bytes of address space: an xz may ask for a dictionary of 4 GiB, a zip for a huge table."""
RESERVE = 64 << 20
"""Bytes of the disk that an import leaves free."""
IMPORTED = "import"
"""The origin of versions that came in an archive."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def import_archive(
    archive: Path, folder: Path, name: str, model: str | None = None, limits: Limits | None = None
) -> dict[str, Any]:
    """Makes `folder` the version that the archive holds; returns its manifest.

    `name` is what messages call the archive, `model` whose version it has to be. Raises BadArchive
    (damaged, not what its manifest says, or refused), Conflict (another model's), DiskFull, and
    OSError of the disk; then `folder` holds nothing that could be taken for a version.
    """
    with archive.open("rb") as file:
        if sniff(file) is None:
            raise BadArchive("The file is no .tar.xz, .tar.gz, .tar or .zip.", file=name)
    folder.mkdir(mode=0o700)
    limits = limits or Limits(MEMBERS)
    check = _Check(folder, name, model, limits.bytes_for(archive.stat().st_size))
    try:
        unpack(archive, folder, name, limits, Watcher(check.file, lambda _: check.disk()))
        manifest = check.whole()
    except MemoryError:
        raise BadArchive("the archive is refused: it needs too much memory", file=name) from None
    except BaseException:
        # Without a manifest it is no version, whoever looks at it.
        (folder / MANIFEST).unlink(missing_ok=True)
        raise
    _keep(folder, manifest)
    return manifest


class _Check:
    """Compares what is unpacked with the manifest, as soon as that is there: it may come last."""

    def __init__(self, folder: Path, name: str, model: str | None, most_bytes: int) -> None:
        self._folder, self._name, self._model = folder, name, model
        self._most_bytes = most_bytes
        self._manifest: dict[str, Any] | None = None
        self._expected: dict[str, tuple[int, str]] = {}
        self._found: dict[str, tuple[int, str]] = {}

    def file(self, path: str, size: int, sha256: str) -> None:
        """For `Watcher.wrote`."""
        if path == MANIFEST:
            self._read_manifest()
        elif path != CARD:
            self._found[path] = (size, sha256)
            if self._manifest is not None:
                self._check(path)

    def disk(self, needed: int = 0) -> None:
        """For `Watcher.read`. Others write on this disk too: the last of it is left to them."""
        if shutil.disk_usage(self._folder).free - RESERVE < needed:
            raise DiskFull

    def whole(self) -> dict[str, Any]:
        if self._manifest is None:
            raise BadArchive("The archive is no version: it has no manifest.json.", file=self._name)
        for path in self._found:
            self._check(path)
        missing = sorted(self._expected.keys() - self._found.keys())
        if missing:
            raise self._refusal(f"{missing[0]!r} is missing")
        return self._manifest

    def _read_manifest(self) -> None:
        manifest = check_foreign(self._folder, self._name)
        theirs = manifest["model"]
        if self._model is not None and theirs != self._model:
            raise Conflict(
                f"The archive holds weights of the model {str(theirs)[:200]!r}, not of"
                f" {self._model!r}.",
                model=theirs,
            )
        total = sum(item["size"] for item in manifest["files"])
        if total > self._most_bytes:
            raise self._refusal(f"its files are said to have {total} bytes: too many")
        self.disk(total)
        self._expected = {
            f"files/{item['path']}": (item["size"], item["sha256"]) for item in manifest["files"]
        }
        self._manifest = manifest

    def _check(self, path: str) -> None:
        expected = self._expected.get(path)
        if expected is None:
            raise self._refusal(f"{path[:200]!r} is not in its manifest")
        if expected != self._found[path]:
            raise self._refusal(f"{path[:200]!r} is not what its manifest says (size or SHA-256)")

    def _refusal(self, message: str) -> BadArchive:
        return BadArchive(f"the archive is refused: {message}", file=self._name)


def _keep(folder: Path, manifest: dict[str, Any]) -> None:
    """Leaves files/ and the manifest alone in `folder`, on the disk, the manifest last."""
    manifest["origin"] = IMPORTED  # `latest` is what trainings made: an import does not move it
    (folder / "files").mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in ("files", MANIFEST):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [folder / "files", *(folder / "files").rglob("*")]:
        if path.is_dir():
            path.chmod(0o700)
            sync_folder(path)
        else:
            _sync(path)
    new = folder / f"{MANIFEST}.new"
    new.write_bytes(as_bytes(manifest))
    _sync(new)
    new.rename(folder / MANIFEST)
    sync_folder(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_with_the_server() -> None:
    """The server holds the other end of standard input: its end, however it comes, is ours."""

    def wait() -> None:
        while os.read(0, 1 << 16):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="import_", description="unpack and verify a version")
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="whose version it has to be")
    parser.add_argument("--name", help="what messages call the archive")
    parser.add_argument("--attached", action="store_true", help="end with standard input")
    given = parser.parse_args(arguments)
    if given.attached:
        _end_with_the_server()
    os.nice(5)  # predictions go first
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        manifest = import_archive(
            given.archive, given.folder, given.name or given.archive.name, given.model
        )
    except ModelyardError as error:
        answer = {"error": type(error).__name__, "message": error.message, "details": error.details}
    except OSError as error:
        kind = DiskFull if error.errno in _DISK_FULL else ModelyardError
        answer = {"error": kind.__name__, "message": kind().message + f" ({error.strerror})"}
    else:
        answer = {"id": manifest["id"]}
    print(json.dumps(answer), flush=True)
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
