"""What of a folder may be read: regular files and folders, by links too that stay inside.

A data folder is filled by people who may not read all that the server may, and a FIFO in it would
hold the run for ever. Runs in the run process.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class Fence:
    """Around `inside`, folders that may be links themselves: who owns them has set them up so."""

    def __init__(self, *inside: Path) -> None:
        self._inside = [Path(os.path.realpath(folder)) for folder in inside]
        self._folders: dict[Path, str | None] = {}  # a million pictures lie in few folders

    def folder_fault(self, path: Path) -> str | None:
        """Why the folder may not be read, or None if it may."""
        if path not in self._folders:
            self._folders[path] = self._link_fault(path)
        return self._folders[path]

    def file_fault(self, path: Path) -> str | None:
        """Why the file may not be opened, or None if it may. A missing one is told too."""
        fault = self.folder_fault(path.parent)
        if fault is not None:
            return fault
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                fault = self._link_fault(path)
                # One that leads out is not even looked at.
                mode = stat.S_IFREG if fault else path.stat().st_mode
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        if fault is None and not stat.S_ISREG(mode):
            return f"this is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file"
        return fault

    def _link_fault(self, path: Path) -> str | None:
        real = Path(os.path.realpath(path))
        if any(real.is_relative_to(folder) for folder in self._inside):
            return None
        return "a link leads out of the data folder"
