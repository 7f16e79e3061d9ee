"""The temporary folder of a plugin's process: one of its own, in the server's home.

It is named in the environment (TMPDIR, TMP, TEMP), for programs and libraries in any language, and
`tempfile` gets it by its own variable: otherwise it would look for another place, /tmp at last,
when this one cannot be written to. The front makes and removes the folder of a worker, the
supervisor that of a run. A path that a plugin spells itself ("/tmp/...") is where it always was.
Python 3.8 syntax.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLES = ("TMPDIR", "TMP", "TEMP")
_LONGEST_SOCKET = 107
"""Bytes of a socket's path: unix(7)."""
_OF_MULTIPROCESSING = len("/pymp-12345678/listener-12345678")
_CACHES = {
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TFHUB_CACHE_DIR": "tensorflow-hub",
    "TIKTOKEN_CACHE_DIR": "tiktoken",
}
"""What libraries keep in the temporary folder otherwise; each process would make it, or fetch it,
anew."""


@dataclass(frozen=True)
class OwnFolders:
    """Of one plugin's process: `temporary` is gone with it, `caches` is the model's."""

    temporary: Path
    caches: Path | None = None

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What the process's environment is to say, beside what `environ` says."""
        named = dict.fromkeys(VARIABLES, str(self.temporary))
        if self.caches is not None:
            caches = {**_CACHES, **_matplotlib(environ)}
            for name, folder in caches.items():
                if name not in environ:
                    named[name] = str(self.caches / folder)
        return named


def use_temporary_folder() -> None:
    """Has this process keep to the folder that its environment names, if it names one."""
    folder = os.environ.get(VARIABLES[0])
    if not folder:
        return
    tempfile.tempdir = folder
    if len(os.fsencode(folder)) + _OF_MULTIPROCESSING > _LONGEST_SOCKET:
        _shorten_for_sockets(folder)


def _shorten_for_sockets(folder: str) -> None:
    """multiprocessing binds sockets below `tempfile`'s folder, for its managers and queues and for
    torch's data loaders, which fails where that path is long. It gets the same folder by a shorter
    one, which holds while this process does, for its children too."""
    from multiprocessing import process  # 5 ms, and only where it is needed

    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # whoever uses it will be told
        return
    config = process.current_process()._config  # type: ignore[attr-defined]
    config["tempdir"] = f"/proc/{os.getpid()}/fd/{descriptor}"


def _matplotlib(environ: Mapping[str, str]) -> dict[str, str]:
    """It keeps settings and a list of fonts in the account's folder; where it cannot, in a
    temporary one, for which it needs seconds each time."""
    place = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    while not place.exists() and place != place.parent:
        place = place.parent
    usable = place.is_dir() and os.access(place, os.W_OK)
    return {} if usable else {"MPLCONFIGDIR": "matplotlib"}
