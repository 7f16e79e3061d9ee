"""The interpreter of a model's own environment, from our side: its command lines, what it offers.

Runs in the server and in a run's supervisor, never in that interpreter itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ..standstill import StoodStill
from . import bootstrap, entry_points
from .environment import plugin_environment
from .overheard import overhear
from .plugin import PluginSource

ASK_LIMIT_S = 30.0
_SAID_MAX = 4 * 1024**2
_MARSHMALLOW = "marshmallow>=3,<5"


class Unusable(Exception):
    """That interpreter cannot serve models; the text says why, and what to do about it."""


def command(python: str | None, module: str) -> list[str]:
    """The beginning of the command line that runs a module of ours; None: in our own interpreter.

    -P: the folder that the server was started from is not on the path, where an `api` or a
    `types.py` in it would be found before the plugin's own or the standard library's. Python knows
    it from 3.11 on; the bootstrap does it for older ones.
    """
    if python is None:
        return [sys.executable, "-P", "-m", module]
    return [python, str(Path(bootstrap.__file__).resolve()), module]


@dataclass(frozen=True)
class Interpreter:
    """python and env of a `[models.NAME]`. `path` is as written there: perhaps a name on PATH."""

    path: str
    env: Mapping[str, str] = field(default_factory=dict)

    def executable(self) -> str:
        """The absolute path. Links are kept: by its link a virtual environment's is known.

        Raises Unusable.
        """
        written = os.path.expanduser(self.path)  # noqa: PTH111
        path = Path(written) if os.sep in written else Path(shutil.which(written) or written)
        path = Path.cwd() / path
        if not path.exists():
            if path.is_symlink():
                raise Unusable(
                    f"{path} is a link to {path.readlink()}, which does not exist: the Python that "
                    "the environment was made with is gone. Make the environment anew."
                )
            raise Unusable(
                f"{path} does not exist. Give the path of the interpreter in the model's own "
                "environment, such as /srv/venv/bin/python."
            )
        if path.is_dir():
            raise Unusable(f"{path} is a folder. Give the interpreter in it: {path}/bin/python.")
        if not os.access(path, os.X_OK):
            raise Unusable(f"{path} may not be executed. Give a Python interpreter.")
        return str(path)

    def sources(self, limit_s: float = ASK_LIMIT_S) -> dict[str, PluginSource]:
        """The models that are installed there, by name. Raises Unusable.

        Takes 0.1 s to seconds, at most `limit_s`: not for the event loop's thread.
        """
        python = self.executable()
        offered = self._ask(python, limit_s)
        release = offered["marshmallow"]
        if release is None or int(release.split(".")[0]) not in (3, 4):
            raise Unusable(
                f"The environment of {python} has {_told(release)}, and arguments are checked by "
                f"marshmallow 3 or 4. Install it there: {python} -m pip install '{_MARSHMALLOW}'."
            )
        found = [PluginSource.from_data(data) for data in offered["sources"]]
        return {source.name: replace(source, python=python) for source in found}

    def _ask(self, python: str, limit_s: float) -> Any:
        asked = PluginSource("", "", python=python)
        asking = [*command(python, entry_points.__name__)]
        try:
            # A session of its own: a wrapper script may have children, which hold the pipe open.
            process = subprocess.Popen(
                asking,
                env=plugin_environment(asked, self.env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unusable(
                f"{python} cannot be started: {error.strerror}. Give a Python interpreter."
            ) from error
        said = _Said()
        with process:
            try:
                code = overhear(process, limit_s, said.take(process.stderr))
            except _TooMuch:
                raise Unusable(
                    f"{python} wrote more than {_SAID_MAX >> 20} MB when it was asked what is "
                    f"installed there, and was stopped. Run '{python} -c 0' to see what it writes."
                ) from None
            except StoodStill:
                raise Unusable(
                    f"{python} was stopped by a signal (SIGSTOP) when it was asked what is "
                    f"installed there. Run '{python} -c 0' to see what does that."
                ) from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if code is None:
            raise Unusable(
                f"{python} did not say within {limit_s:g} s what is installed there. Run "
                f"'{python} -c 0' to see what it waits for."
            )
        try:
            return _read(said.output)
        except (IndexError, ValueError, RecursionError):
            told = (said.errors or said.output).decode("utf-8", "replace").strip().splitlines()
            raise Unusable(
                f"{python} did not answer as Python 3.8 or later does: "
                f"{told[-1][:300] if told else f'it exited with code {code}'}"
            ) from None


class _TooMuch(Exception):
    pass


class _Said:
    """What an interpreter wrote so far, with an end to it."""

    def __init__(self) -> None:
        self.output, self.errors = bytearray(), bytearray()

    def take(self, stderr: IO[bytes] | None) -> Callable[[IO[bytes], bytes], None]:
        """Raises _TooMuch."""

        def take(stream: IO[bytes], piece: bytes) -> None:
            if len(self.output) + len(self.errors) + len(piece) > _SAID_MAX:
                raise _TooMuch
            if stream is stderr:
                self.errors.extend(piece)
            else:
                self.output.extend(piece)

        return take


def _read(output: bytearray) -> Any:
    """Raises IndexError, ValueError or RecursionError for what entry_points.py does not print."""
    answer = json.loads(output.splitlines()[-1])
    if not isinstance(answer, dict) or not {"marshmallow", "sources"} <= answer.keys():
        raise ValueError("not ours")
    return answer


def _told(release: str | None) -> str:
    return "no marshmallow" if release is None else f"marshmallow {release}"
