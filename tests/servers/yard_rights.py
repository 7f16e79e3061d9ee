"""Processes whom the modes of files stop, also where root runs the tests."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_PR_CAPBSET_DROP = 24  # prctl(2)
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2  # capabilities(7)


def run_as_others(script: str, *arguments: object) -> None:
    """Runs a Python script that may read and write only what modes let it, its children too."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        preexec_fn=_drop_override if os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stderr


def modes_bind(folder: Path) -> bool:
    """Whether this process may not write what modes forbid: root may, as a rule."""
    file = folder / "read-only"
    file.touch(0o444)
    return not os.access(file, os.W_OK)


def _drop_override() -> None:
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
