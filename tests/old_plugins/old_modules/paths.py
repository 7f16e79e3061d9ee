"""Where the modules keep what they write; as real ones do, read from the environment at import.

Real ones take their repository in its absence; that would be ours.
"""

import os
import tempfile
from pathlib import Path

BASE = Path(os.getenv("OLD_MODULES_BASE", Path(tempfile.gettempdir()) / "old-modules"))
MODELS = BASE / "models"
DATA = BASE / "data"


def folders(path):
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())
