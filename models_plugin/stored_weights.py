"""A version's files as plugins get them: the very files that the server keeps, read only.

They are shared by all workers, and as hard links by the run that made them: what a `load` wrote
into them would be another version under the same name, everywhere. So they are made read only
before a plugin sees them; and as root ignores that, and every process of the same user may undo it,
their sizes, times and inodes are compared with those of the last time, which `seen.json` beside the
manifest tells: that of a training begins when it is hashed, of what was fetched or imported when it
is opened first. What differs is read and compared with the manifest's SHA-256.

Runs in workers, run processes and plugin tasks. Python 3.8 syntax and library.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035 - Python 3.8

from ..errors import Corrupt, PluginFailed
from ..members import SEEN

_READ_ONLY = 0o444
"""Files only: who removes a home by hand is not to be stopped by its folders, and what a library
puts beside the files is no part of the version."""
_WRITABLE = 0o222
_CHUNK = 1 << 20

_State = List[int]  # noqa: UP006
_States = Dict[str, Optional[_State]]  # noqa: UP006, UP045


class StoredWeights:
    """The files of one version, while a plugin loads them. `folder` is what the plugin gets.

    A folder without a manifest beside it is nobody's version, and left alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifest: Mapping[str, Mapping[str, Any]] = {}
        self._states: _States = {}

    def open(self) -> None:
        """Makes them read only, and looks whether they are what they were.

        Raises Corrupt if a file is missing or is not what the manifest says.
        """
        self._manifest = _manifest(self._folder.parent / "manifest.json")
        if not self._manifest:
            return
        self._states = self._look()
        known = _known(self._folder.parent / SEEN)
        for path, state in self._states.items():
            size = int(self._manifest[path]["size"])
            if state is None:
                raise Corrupt.here(f"{path} is missing, or no file")
            if state[0] != size or (known is not None and known.get(path) != state):
                self._compare(path)
        if known != self._states:
            _write(self._folder.parent / SEEN, self._states)

    def check(self) -> None:
        """Looks whether somebody has changed them since `open`. Raises PluginFailed."""
        now = self._look()
        changed = sorted(path for path in now if now[path] != self._states.get(path))
        if changed:
            raise PluginFailed(
                f"The model changed the files of its weights folder while it loaded them:"
                f" {', '.join(changed[:3])}. They are the stored version itself, which is damaged"
                f" now. Have load() write elsewhere (tempfile). {Corrupt.MEND_HERE}",
                original_type="ContractFault",
            )

    def explained(self, failed: PluginFailed) -> PluginFailed:
        """What a `load` raised, with the remedy if it was refused to write into them."""
        cause = failed.__cause__
        if not isinstance(cause, PermissionError) or not isinstance(cause.filename, (str, bytes)):
            return failed
        folder, file = os.fspath(self._folder), os.fsdecode(cause.filename)
        if not file.startswith(f"{folder}/"):
            return failed
        return PluginFailed(
            f"{failed.message.rstrip('.')}. The files that load() gets are the stored version"
            " itself, and read only: have load() write elsewhere (tempfile).",
            original_type=failed.original_type,
            traceback=failed.traceback,
        )

    def _look(self) -> _States:
        """The states of the files, which are read only afterwards; None for what is no file."""
        root = os.fspath(self._folder)
        states: _States = {}
        for path in self._manifest:
            place = os.path.join(root, path)  # noqa: PTH118 - many files: a string each
            try:
                now = os.lstat(place)
            except OSError:
                states[path] = None
                continue
            if not stat.S_ISREG(now.st_mode):
                states[path] = None
                continue
            states[path] = [now.st_size, now.st_mtime_ns, now.st_ino]
            if now.st_mode & _WRITABLE:
                _set_mode(place, _READ_ONLY)
        return states

    def _compare(self, path: str) -> None:
        expected = self._manifest[path]
        digest = hashlib.sha256()
        try:
            with (self._folder / path).open("rb") as file:
                while True:
                    chunk = file.read(_CHUNK)
                    if not chunk:
                        break
                    digest.update(chunk)
        except OSError as error:
            raise Corrupt.here(f"{path} cannot be read ({error.strerror})") from error
        if expected.get("sha256") not in (None, digest.hexdigest()):
            raise Corrupt.here(f"{path} is not what its manifest says (size or SHA-256)")


def _manifest(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Its files by path; nothing if there is none, or it is damaged: who installs versions checks
    that."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return {str(item["path"]): item for item in json.loads(path.read_bytes())["files"]}
    return {}


def _known(path: Path) -> _States | None:
    with suppress(OSError, ValueError):
        known = json.loads(path.read_bytes())
        return known if isinstance(known, dict) else None
    return None


def _write(path: Path, states: _States) -> None:
    """Whole or not at all; a full disk, or one that is read only, knows no states."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        try:
            new.write_text(json.dumps(states))
            new.rename(path)
        except OSError:
            new.unlink()


def _set_mode(place: str, mode: int) -> None:
    with suppress(OSError):  # somebody else's, or a disk that is read only
        os.chmod(place, mode)  # noqa: PTH101
