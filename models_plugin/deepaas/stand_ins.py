"""`tensorboard` and `fuser` as a module's train() finds them on its PATH.

Old modules clear a port with `fuser -k` and start a TensorBoard of their own there, which nobody
outside the machine or container reaches, or which kills what another training has on that port. The
stand-in of the first tells its log folder to this process and waits to be ended, as a server would;
that of the second does nothing. Runs in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..contract import Run

_FUSER = """#!/bin/sh
# Nothing is to be ended: no port is taken by TensorBoard in a training.
exit 0
"""

# Each folder is told in a file of its own, renamed into place: paths may hold newlines.
_TENSORBOARD = """#!/bin/sh
# Stands for TensorBoard in a training: the server's own shows the event files.
here=${0%/*}
number=0

tell() {
    case $1 in
        "") return ;;
        /*) folder=$1 ;;
        "~/"*) folder=$HOME/${1#"~/"} ;;
        *) folder=$PWD/$1 ;;
    esac
    number=$((number + 1))
    name=$$.$number
    { printf '%s' "$folder" > "$here/../asked/.$name" &&
        mv "$here/../asked/.$name" "$here/../asked/$name"; } 2>/dev/null
    printf 'Event files in %s are shown by the server at /tensorboard/\\n' "$folder"
}

tell_all() {  # NAME:FOLDER,NAME:FOLDER,...
    rest=$1,
    while [ -n "$rest" ]; do
        part=${rest%%,*}
        rest=${rest#*,}
        case $part in *:*) part=${part#*:} ;; esac
        tell "$part"
    done
}

for argument; do
    case $argument in
        --version | --version_tb | --inspect | --help* | -h | dev)
            PATH=$(cat "$here/path")
            exec tensorboard "$@" ;;
    esac
done
is=
for argument; do
    case $is in
        folder) tell "$argument"; is=; continue ;;
        folders) tell_all "$argument"; is=; continue ;;
    esac
    case $argument in
        --logdir) is=folder ;;
        --logdir=*) tell "${argument#*=}" ;;
        --logdir_spec) is=folders ;;
        --logdir_spec=*) tell_all "${argument#*=}" ;;
    esac
done
exec sleep 2147483647
"""


class StandIns:
    """Puts them first on PATH; `asked` gives the folders that were told since it was called."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._root = run.folder / ".stand-ins"
        self._asked = self._root / "asked"
        self.heard = self._root / "heard"
        """Where a forked child tells what it writes (`hearing`)."""

    def __enter__(self) -> StandIns:
        folder, before = self._root / "bin", os.environ.get("PATH", os.defpath)
        try:
            for made in (folder, self._asked):
                made.mkdir(parents=True, exist_ok=True)
            (folder / "path").write_bytes(os.fsencode(before))
            for name, text in (("tensorboard", _TENSORBOARD), ("fuser", _FUSER)):
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
            os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
        except OSError as error:
            self._run.log(f"A tensorboard that the module starts is not shown: {error}")
        return self

    def __exit__(self, *exception: Any) -> None:
        # Before the answer is looked for: what is left in the run's folder is kept with the run.
        paths = os.environ.get("PATH", "").split(os.pathsep)
        own = str(self._root / "bin")
        if own in paths:  # the module may have put anything there
            os.environ["PATH"] = os.pathsep.join(path for path in paths if path != own)
        shutil.rmtree(self._root, ignore_errors=True)

    def asked(self) -> Iterator[str]:
        """Folders that a stand-in, or a forked child, has told."""
        with suppress(OSError):
            for path in sorted(self._asked.iterdir()):
                if not path.name.startswith("."):
                    folder = os.fsdecode(path.read_bytes())
                    path.unlink()
                    yield folder

    def ask(self, folder: str) -> None:
        """Tells a folder from a child of this process. Raises nothing."""
        name = f"{os.getpid()}.{abs(hash(folder))}"
        with suppress(OSError):
            hidden = self._asked / f".{name}"
            hidden.write_bytes(os.fsencode(folder))
            hidden.rename(self._asked / name)
