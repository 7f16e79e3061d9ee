"""Is a bundle on this disk what its manifest says? Every byte is read: sizes tell little."""

from __future__ import annotations

from pathlib import Path

from ..versions import BadVersion
from .local import blake3_of
from .manifests import BundleManifest, File
from .work import Meter, Workers


def check_files(
    root: Path, manifest: BundleManifest, workers: Workers, meter: Meter
) -> dict[str, str]:
    """The BLAKE3 of every file below `root` by its SHA-256, once all are what they should be.

    Compared by SHA-256, which is what the store names them by, also where a BLAKE3 is known.
    Raises BadVersion.
    """
    first = {file.sha256: file.path for file in reversed(manifest.files)}

    def look(file: File) -> tuple[str, str]:
        meter.check()
        blake3 = _blake3(root / file.path, file)
        if first[file.sha256] == file.path:
            meter.add(file.size)
        return file.sha256, blake3

    try:
        return dict(workers.map(look, manifest.files))
    except BadVersion as error:
        raise BadVersion(
            f"The copy on this disk is damaged, so nothing was put into the store: {error.message}."
            f" Do this on a server whose copy is whole. If {root.parent} is removed, it is fetched "
            "anew from the store when it is needed here, if the store has it whole."
        ) from error


def _blake3(path: Path, file: File) -> str:
    try:
        found = blake3_of(path, file.size, file.sha256)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise BadVersion(f"{path}: is missing") from None
    if found is None or file.blake3 not in (None, found):
        raise BadVersion(f"{path}: its bytes are not those of its digest")
    return found
