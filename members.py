"""The files of a folder that is kept or sent: what they may be, and how they may be called.

One rule for checkpoints, exports, datasets and archives. Regular files are taken. A symbolic link
counts as a copy of what it points to, a file or a folder, if that lies in the same folder (the
snapshots of model hubs are made of such links). Links that lead out, to nothing or in a circle, and
pipes, sockets and devices are refused: left out, they would make a smaller folder of it that
nobody was told of.

On the ground, for run processes, storage and the client have it. Python 3.8 syntax and library.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

NAME_LIMIT = 255
"""Bytes of one part of a path: what file systems take."""
PATH_LIMIT = 1000
"""Bytes of a path."""
SEEN = "seen.json"
"""Beside a version's manifest: `{path: [size, time of the last change in ns, inode]}` of its files
when they were last known to be what it says. What has changed since is read again."""
_IN_ARCHIVES = "files/"
"""Where the archive of a version has its files."""
_MOST_BY_LINKS = 100_000
"""Files and folders that links to folders may show: a few that point to each other make millions
of paths."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CannotBeKept(ValueError):
    """A folder holds what cannot be kept; the text names it, what is wrong, and the remedy."""


class Member(NamedTuple):
    """A file of a folder: its path in it with `/`, and `real`, the path where its bytes are, which
    is another one if links lead there."""

    path: str
    real: str


class _Place(NamedTuple):
    """A folder on the way: as it is shown and where it is ("" or with a `/` at its end), and those
    that it was reached by."""

    shown: str
    real: str
    above: tuple[str, ...]


def members(root: Path | str, step: Callable[[], None] = lambda: None) -> Iterator[Member]:
    """The files below `root`, in no order. `step` is called for each entry.

    Raises CannotBeKept, and OSError (FileNotFoundError for what goes meanwhile). Nothing is opened.
    """
    for member, _ in _walk(os.path.realpath(root), step):
        if member is not None:
            yield member


def _walk(root: str, step: Callable[[], None]) -> Iterator[tuple[Member | None, str | None]]:
    """Each file; and the path of each link that stands in a folder which is no link's."""
    waiting = [_Place("", "", ("",))]
    by_links = 0
    while waiting:
        place = waiting.pop()
        with os.scandir(os.path.join(root, place.real)) as found:  # noqa: PTH118
            entries = list(found)
        for entry in entries:
            step()
            shown, real = place.shown + entry.name, place.real + entry.name
            if entry.is_symlink():
                if place.shown == place.real:
                    yield None, shown
                real = _target(root, real, shown)
                mode = os.lstat(os.path.join(root, real)).st_mode  # noqa: PTH118
                is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
            else:
                is_folder = entry.is_dir(follow_symlinks=False)
                is_file = entry.is_file(follow_symlinks=False)
            if shown != real:
                by_links += 1
                if by_links > _MOST_BY_LINKS:
                    raise _refused(shown, "is one of too many that links show", _COPY)
            if is_file:
                yield Member(shown, real), None
            elif not is_folder:
                raise _refused(shown, "is a pipe, a socket or a device", "Remove it.")
            elif f"{real}/" in place.above or real == ".":
                raise _refused(shown, "is a link that leads to a folder which it is in", _COPY)
            else:
                waiting.append(_Place(f"{shown}/", f"{real}/", (*place.above, f"{real}/")))


_COPY = "Put a copy of what it points to in its place."


def _target(root: str, link: str, shown: str) -> str:
    """Where a link leads to, as a path below `root` without links."""
    path = os.path.realpath(os.path.join(root, link))  # noqa: PTH118
    if os.path.commonpath((root, path)) != root:
        raise _refused(shown, "is a link that leads out of the folder", _COPY)
    if os.path.islink(path):  # noqa: PTH114 - in a circle, or too many of them
        raise _refused(shown, "is a link that leads to itself", "Remove it.")
    if not os.path.lexists(path):
        raise _refused(shown, "is a link to nothing", "Remove it, or write the file.")
    return os.path.relpath(path, root)


def _refused(path: str, fault: str, remedy: str) -> CannotBeKept:
    return CannotBeKept(f"{path!r} {fault}. {remedy}")


# -- links made files -----------------------------------------------------------------------------


def settle_links(root: Path) -> None:
    """Puts in the place of each link below `root` what it points to: afterwards there are regular
    files and folders alone. Content is shared where the file system can, else copied.

    Raises CannotBeKept, also where `root` itself was replaced by a link: what is behind it is
    somebody else's. And OSError; then `root` may be half done.
    """
    top = _itself(root)
    by_links, links = [], []
    for member, link in _walk(top, lambda: None):
        if link is not None:
            links.append(link)
        elif member is not None and member.path != member.real:
            by_links.append(member)
    for link in links:
        os.unlink(os.path.join(top, link))  # noqa: PTH108, PTH118
    for path, real in by_links:
        target = Path(top, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_member(top, real)
        try:
            place(descriptor, target)
        finally:
            os.close(descriptor)


def part_from_others(root: Path) -> None:
    """Puts a copy in the place of each file below `root` that has another name too (a hard link):
    whoever writes there would change what is kept, and is not to find it read only.

    Raises as `settle_links`, which comes after it: what that shares is shared inside.
    """
    top = _itself(root)
    for path, real in list(members(top)):
        if path != real:
            continue
        descriptor = open_member(top, real)
        try:
            if os.fstat(descriptor).st_nlink > 1:
                _copy_over(descriptor, Path(top, path))
        finally:
            os.close(descriptor)


def _copy_over(descriptor: int, target: Path) -> None:
    own = target.with_name(f".{os.getpid()}.own")
    with open(os.dup(descriptor), "rb") as content, own.open("xb") as copy:  # noqa: PTH123
        shutil.copyfileobj(content, copy, 1 << 20)
    own.chmod(stat.S_IMODE(os.fstat(descriptor).st_mode))
    own.replace(target)


def _itself(root: Path) -> str:
    """Its path without links. Raises CannotBeKept if it is one."""
    if os.path.islink(root):  # noqa: PTH114
        raise CannotBeKept("the folder itself was replaced by a link. Write into the folder.")
    return os.path.realpath(root)


def open_member(root: Path | str, real: str) -> int:
    """A descriptor to read the file at `Member.real`; the caller closes it.

    No link is followed, also if somebody puts one there at this moment: then, and if it is no
    regular file, CannotBeKept. Raises OSError.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *above, name = real.split("/")
        for part in above:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):  # ENXIO: a socket
            raise
        raise _refused(real, "was replaced while it was read", "Try again.") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refused(real, "was replaced while it was read", "Try again.")
    return descriptor


def place(descriptor: int, target: Path) -> None:
    """Makes `target`, which is not there, the open file: a hard link where that can be, else a
    copy. Raises OSError."""
    with suppress(OSError):
        # With a dir_fd Python calls linkat(2), which can follow: to the file that is open, whatever
        # has its name by now.
        source = f"/proc/self/fd/{descriptor}"
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(source, target.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
        return
    with open(os.dup(descriptor), "rb") as content, target.open("xb") as copy:  # noqa: PTH123
        shutil.copyfileobj(content, copy, 1 << 20)


# -- names ----------------------------------------------------------------------------------------


def path_fault(path: str) -> str | None:
    """What is wrong with a stranger's path (with `/`) as that of a file in a folder of ours, as the
    end of a sentence; None if nothing is."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or ":" in path or "\0" in path:
        return "leads out of the folder or is no path"
    longest = max((len(os.fsencode(part)) for part in parts), default=0)
    if longest > NAME_LIMIT or len(os.fsencode(path)) > PATH_LIMIT:
        return f"is too long: at most {NAME_LIMIT} bytes for each part, {PATH_LIMIT} in all"
    return None


def kept_fault(path: str) -> str | None:
    """The same for a file of a version, which every archive has to be able to hold, and every
    server to take in again."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "has bytes that are no UTF-8"
    if "\\" in path:
        return "has a backslash, which archives take for a slash"
    if ":" in path:
        return "has a colon, with which archives are refused"
    return path_fault(_IN_ARCHIVES + path)


def check_names(root: Path | str) -> None:
    """Raises CannotBeKept for a file below `root` that no version can have by its name."""
    for path, _ in members(root):
        fault = kept_fault(path)
        if fault is not None:
            raise _refused(path, fault, "Give the file another name.")
