"""The finish step: makes a weights version of the checkpoint that train() left.

Runs in the run process after train(), again if that failed, and by hand:

    python -m modelyard.training.finish RUN_FOLDER

It needs nothing but the run folder: neither the plugin nor the training runs again. Python 3.8
syntax and library, as all that runs in the model's own interpreter.
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..clearing import remove_tree
from ..members import SEEN, members, open_member, place
from .checkpoints import CheckpointIndex, CheckpointItem, sync_tree
from .lineage import recorded
from .messages import Manifest, RunOrder, RunResult, Trained
from .paths import DAMAGED, RunPaths, read_json, sync_folder, write_json


def finish(paths: RunPaths) -> RunResult:
    """Writes version/ and result.json; a version that is whole already is kept.

    Without any checkpoint there is no version. Raises OSError (disk full, say) or ValueError
    (damaged run folder); then it can be called again. Raises FileNotFoundError if train() has not
    returned.
    """
    trained_data = read_json(paths.trained)
    order_data = read_json(paths.run)
    if trained_data is None or order_data is None:
        raise FileNotFoundError(f"{paths.root}: this run has not been trained to its end")
    trained = Trained.from_data(trained_data)
    manifest = publish(paths, RunOrder.from_data(order_data))
    result = RunResult(
        output=trained.output,
        duration_s=trained.duration_s,
        metrics={} if manifest is None else manifest.metrics,
        version=None if manifest is None else manifest.id,
        note=trained.note,
    )
    write_json(paths.result, result.to_data())
    return result


def publish(paths: RunPaths, order: RunOrder) -> Manifest | None:
    """Fills version/ from the chosen checkpoint, its manifest last."""
    done = read_json(paths.version_manifest)
    if done is not None:
        return Manifest.from_data(done)
    chosen = CheckpointIndex.read(paths).chosen()
    if chosen is None:
        return None
    item, name = chosen
    manifest = bundle(paths, order, item, name, paths.version, uuid.uuid4().hex)
    sync_folder(paths.root)
    return manifest


def bundle(
    paths: RunPaths,
    order: RunOrder,
    item: CheckpointItem,
    name: str,
    target: Path,
    version_id: str,
    origin: str = "training",
) -> Manifest:
    """Makes the folder `target` a weights version of a checkpoint, durably, its manifest last.

    A folder that is there is replaced. Raises OSError (disk full, say; FileNotFoundError if the
    checkpoint has no weights any more), and CannotBeKept.
    """
    if target.is_dir():
        remove_tree(target)
    (target / "files").mkdir(parents=True)
    weights = paths.checkpoint(item.step) / "weights"
    files, seen = _take(weights, target / "files") if weights.is_dir() else ([], {})
    if not files:
        raise FileNotFoundError(
            f"the checkpoint of step {item.step} has no weights any more: {DAMAGED}"
        )
    sync_tree(target)
    write_json(target / SEEN, seen, durable=False)
    lineage, parent, dataset = recorded(paths)
    manifest = Manifest(
        id=version_id,
        model=order.model,
        run=order.id,
        created_at=datetime.now(timezone.utc).isoformat(),  # noqa: UP017 - Python 3.8
        step=item.step,
        checkpoint=name,
        metrics=dict(item.metrics),
        files=files,
        size=sum(file["size"] for file in files),
        origin=origin,
        parent=parent,
        dataset=dataset,
        lineage=lineage,
    )
    write_json(target / "manifest.json", manifest.to_data())
    return manifest


def _take(source: Path, target: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Links (or, across file systems, copies) all files; their paths, sizes and hashes, and what
    tells that one was written later: a thread of the plugin's may still be saving.

    Checkpoints of an earlier release may hold links: they count as what they point to. Raises
    CannotBeKept for what would be missing in the version.
    """
    files: list[dict[str, Any]] = []
    seen: dict[str, Any] = {}
    for path, real in sorted(members(source), key=lambda member: member.path.split("/")):
        descriptor = open_member(source, real)
        try:
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            place(descriptor, copy)
            now = os.fstat(descriptor)
            seen[path] = [now.st_size, now.st_mtime_ns, now.st_ino]
            files.append({"path": path, "size": now.st_size, **_digests(descriptor)})
        finally:
            os.close(descriptor)
    return files, seen


def _digests(descriptor: int) -> dict[str, str]:
    """Of the open file: its SHA-256, and its BLAKE3 where the model's interpreter can tell it."""
    hashers: dict[str, Any] = {"sha256": hashlib.sha256()}
    with suppress(ImportError):
        from blake3 import blake3

        hashers["blake3"] = blake3()
    buffer = memoryview(bytearray(1 << 18))
    with open(os.dup(descriptor), "rb", buffering=0) as file:  # noqa: PTH123
        file.seek(0)
        while True:
            count = file.readinto(buffer)
            if not count:
                return {name: hasher.hexdigest() for name, hasher in hashers.items()}
            for hasher in hashers.values():
                hasher.update(buffer[:count])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m modelyard.training.finish RUN_FOLDER", file=sys.stderr)
        return 2
    try:
        result = finish(RunPaths(Path(arguments[0]).resolve()))
    except (OSError, ValueError) as error:
        print(f"cannot finish: {error}", file=sys.stderr)
        return 1
    print(result.version or "no checkpoint, so no version")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
