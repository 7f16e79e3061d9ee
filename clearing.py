"""Removes folders that plugins and clients have written into. Python 3.8 syntax."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def remove_tree(folder: Path | str) -> bool:
    """Removes a folder with all that is in it; True if it is gone. Raises nothing. Blocking.

    What may not be entered is opened first: a plugin's umask may have made folders that not even
    their owner may list, which would stay for ever. Links are removed and not followed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        return True
    with suppress(OSError):
        os.chmod(folder, 0o700)  # noqa: PTH101 - `folder` may be a string
        for place, names, _ in os.walk(folder):  # a folder is listed after it was opened
            for name in names:
                path = Path(place) / name
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    return not os.path.lexists(folder)
