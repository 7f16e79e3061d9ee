"""Makes a weights version of a checkpoint that the run itself did not publish.

Runs in the server. The run may be going on, or have ended in any way.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from pathlib import Path

from ..errors import DiskFull, InvalidArguments, NotFound, StorageUnavailable
from .checkpoints import CheckpointIndex
from .finish import bundle
from .messages import RunOrder
from .paths import RunPaths, read_json

NAMES = ("best", "last")


async def promote(paths: RunPaths, name: str) -> Path:
    """A folder with `files/` and `manifest.json` of the checkpoint `best` or `last`, to install.

    It lies in the run folder, and is the caller's to remove when it is installed. The id is the
    checkpoint's own: promoted twice, it is the same version. Raises InvalidArguments for another
    name, NotFound if the run has no such checkpoint, DiskFull, StorageUnavailable.
    """
    if name not in NAMES:
        raise InvalidArguments({"name": [f"A run has the checkpoints {' and '.join(NAMES)}."]})
    return await asyncio.to_thread(_promote, paths, name)


def _promote(paths: RunPaths, name: str) -> Path:
    for _ in range(3):  # of a run that goes on, the checkpoint may be replaced meanwhile
        try:
            return _made(paths, name)
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise StorageUnavailable(f"The run's folder is damaged: {error}") from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = DiskFull if full else StorageUnavailable
            raise kind(f"The checkpoint cannot be promoted: {error}") from error
    raise NotFound(f"The run's checkpoint {name} is not there any more.")


def _made(paths: RunPaths, name: str) -> Path:
    index = CheckpointIndex.read(paths)
    item = index.item(index.best if name == "best" else index.last)
    data = read_json(paths.run)
    if item is None or data is None:
        kept = [one for one in NAMES if index.item(getattr(index, one)) is not None]
        told = f"It has: {', '.join(kept)}." if kept else "It has none."
        raise NotFound(f"The run {paths.id} has no checkpoint {name}. {told}")
    known = f"{paths.id} {item.step} {item.created_at}"
    version_id = hashlib.sha256(known.encode()).hexdigest()[:32]
    target = paths.promoted / version_id
    bundle(paths, RunOrder.from_data(data), item, name, target, version_id, origin="promotion")
    return target
