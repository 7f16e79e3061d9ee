"""Makes and removes folders that plugins and clients write into. Python 3.8 syntax."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folder(folder: Path | str) -> None:
    """Makes a folder for this user alone, and parents of it that are not there; one that is there
    stays as it is. Raises OSError.

    `mkdir(parents=True)` would give the parents the mode that the umask leaves.
    """
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102 - may be str
    except FileExistsError:
        if not os.path.isdir(folder):  # noqa: PTH112
            raise
    except FileNotFoundError:
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent in ("", str(folder)):
            raise
        make_folder(parent)
        make_folder(folder)


def remove_tree(folder: Path | str) -> bool:
    """Removes a folder with all that is in it; True if it is gone. Raises nothing. Blocking.

    Also what may not be entered (a plugin's umask may have made folders that not even their owner
    may list) and what is nested too deep for `shutil`: it would stay for ever. Links are removed
    and not followed; of a pipe nobody waits for the other end.
    """
    if os.path.islink(folder) or not os.path.isdir(folder):  # noqa: PTH112, PTH114 - may be str
        with suppress(OSError):
            os.unlink(folder)  # noqa: PTH108
        return not os.path.lexists(folder)
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        with suppress(OSError):
            _empty(folder)
            os.rmdir(folder)  # noqa: PTH106
    return not os.path.lexists(folder)


def _empty(folder: Path | str) -> None:
    """Each folder inside is brought up to the first level, and is empty then: however deep it lay,
    two are open at a time and no path is long."""
    os.chmod(folder, 0o700)  # noqa: PTH101
    top = os.open(folder, _FOLDER)
    try:
        numbers = itertools.count()
        waiting = _unlinked(top)
        while waiting:
            name = waiting.pop()
            with suppress(OSError):  # a mounted one, or somebody else's: the others go
                os.chmod(name, 0o700, dir_fd=top)
                inner = os.open(name, _FOLDER, dir_fd=top)
                try:
                    for one in _unlinked(inner):
                        waiting.append(_brought_up(one, inner, top, numbers))
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _brought_up(name: str, inner: int, top: int, numbers: itertools.count[int]) -> str:
    os.chmod(name, 0o700, dir_fd=inner)  # its own entry for the folder above is written
    while True:
        new = f".{next(numbers)}"
        with suppress(FileExistsError):
            os.mkdir(new, 0o700, dir_fd=top)
            os.rename(name, new, src_dir_fd=inner, dst_dir_fd=top)  # in place of an empty one
            return new


def _unlinked(folder: int) -> list[str]:
    """Removes what is no folder; the names of those that are."""
    with os.scandir(folder) as found:
        entries = list(found)
    names = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            names.append(entry.name)
        else:
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return names
