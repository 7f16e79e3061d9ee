"""Where a training's pictures come from: a stored dataset, a folder below the data root, or an
uploaded archive."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import BadArchive
from ...unpacking import unpack
from ..contract import Run
from ..values import InvalidData, UploadedFile


@contextmanager
def opened_dataset(
    run: Run, dataset: str | UploadedFile | None, archive: UploadedFile | None
) -> Iterator[Path]:
    """The folder with the pictures; what was unpacked is gone when the block ends.

    An uploaded archive comes first: it also becomes a stored dataset, but later. Raises InvalidData
    if there is no such folder or the archive cannot be taken.
    """
    uploaded = dataset if isinstance(dataset, UploadedFile) else archive
    if uploaded is None and run.dataset is not None:
        yield run.dataset
        return
    if uploaded is None:
        yield _named_folder(run.data_root, str(dataset))
        return
    folder = run.folder / "dataset"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
    folder.mkdir(parents=True)
    try:
        name = uploaded.original_filename or uploaded.name  # a whole body has no file's name
        run.log(f"unpacking {name} ({uploaded.size} bytes)")
        try:
            unpack(uploaded.path, folder, name)
        except BadArchive as error:
            raise InvalidData(error.message, name) from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _named_folder(root: Path | None, name: str) -> Path:
    """Looked up among the folders that are there, so no name can lead out of the root."""
    if root is None:
        raise InvalidData(
            f"no stored dataset is named {name!r}, and the server has no data root (--data) with a"
            " folder of that name; upload an archive instead"
        )
    try:
        folders = {
            entry.name: Path(entry.path)
            for entry in os.scandir(root)
            if entry.is_dir() and not entry.name.startswith(".")
        }
    except OSError as error:
        raise InvalidData(f"the server's data root cannot be read: {error.strerror}") from error
    if name in folders:
        return folders[name]
    near = difflib.get_close_matches(name, folders, n=3) or sorted(folders)[:10]
    there = f"near names: {', '.join(near)}" if near else "it has no folders"
    raise InvalidData(
        f"there is no stored dataset and no folder named {name!r} below the data root; {there}"
    )
