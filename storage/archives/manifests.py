"""The manifest as an archive carries it, and what one from elsewhere must be like.

Blocking; runs in the short-lived processes of archives, and for the card in a thread of the front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import BadArchive, Conflict
from ...members import kept_fault
from ..versions import DEEPEST, BadVersion, nests_deeper, read_manifest

FORMAT = 1
SIZE_LIMIT = 64 << 20
"""Bytes of a manifest: a hundred thousand files and more."""
METRICS_LIMIT = 64 << 10
"""Bytes of the metrics as JSON: they are in every list of versions."""

_OF_THE_PLACE = ("packs", "exports")
"""Members that tell how one store or home keeps the version, not what it is."""
_LINEAGE: Mapping[str, type] = {
    **dict.fromkeys(("arguments", "weights", "code", "environment", "curves"), dict),
    **dict.fromkeys(("secrets", "uploads", "earlier"), list),
    "seed": int,
}
"""What the members of the lineage are that a training like it reads, if they are there."""
_ITEMS: Mapping[str, type] = {"secrets": str, "uploads": dict, "earlier": dict}
"""What is in those that are lists."""
_WORDS = {dict: "object", list: "list", int: "number", str: "text"}
_ID = re.compile(r"[0-9a-f]{32}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MOST = 2**63 - 1


def load(folder: Path) -> dict[str, Any]:
    """The whole manifest of a version's folder. Raises BadVersion, and OSError of the disk."""
    read_manifest(folder)
    return dict(json.loads((folder / "manifest.json").read_bytes()))


def as_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as every server writes it into an archive: the same bytes for the same version,
    wherever it was kept."""
    kept = {name: value for name, value in manifest.items() if name not in _OF_THE_PLACE}
    return (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode()


def check_exportable(manifest: Mapping[str, Any]) -> None:
    """Raises Conflict for a version that no archive can hold: an earlier release took any name of a
    file in a checkpoint."""
    for item in manifest["files"]:
        fault = kept_fault(str(item["path"]))
        if fault is not None:
            raise Conflict(
                f"No archive can be made of this version: its file {str(item['path'])[:200]!r}"
                f" {fault}. It can be predicted with as before; train again with a plugin that"
                " gives its files other names."
            )


def check_foreign(folder: Path, name: str) -> dict[str, Any]:
    """The manifest that came in an archive called `name`, every member that we use checked.

    Raises BadArchive, and OSError of the disk.
    """
    path = folder / "manifest.json"
    if path.stat().st_size > SIZE_LIMIT:
        raise _bad(name, f"it is larger than {SIZE_LIMIT} bytes")
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise _bad(name, "it is no JSON object")
        if nests_deeper(data, DEEPEST):
            raise _bad(name, f"it nests deeper than {DEEPEST} levels")
        _check_kind(data, name)
        _check_members(data, name)
        read_manifest(folder)
        _check_files(data["files"], name)
    except (BadVersion, ValueError, RecursionError) as error:
        said = error.message if isinstance(error, BadVersion) else str(error)
        raise _bad(name, said.removeprefix(f"{path}: ")) from error
    return data


def _check_kind(data: Mapping[str, Any], name: str) -> None:
    version = data.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise _bad(
            name, f"it was written by a newer release (format {version!r}; this one knows {FORMAT})"
        )
    if data.get("kind", "weights") != "weights":
        raise _bad(name, f"it holds no weights but a {data['kind']!r}")


def _check_members(data: Mapping[str, Any], name: str) -> None:
    for member in ("run", "parent"):
        value = data.get(member)
        if value is not None and not (isinstance(value, str) and _ID.match(value)):
            raise _bad(name, f"{member!r} is no id")
    step, checkpoint = data.get("step"), data.get("checkpoint")
    if step is not None and not _is_count(step):
        raise _bad(name, "'step' is no number of steps")
    if checkpoint is not None and not (isinstance(checkpoint, str) and len(checkpoint) <= 16):
        raise _bad(name, "'checkpoint' is no short text")
    for member in ("metrics", "lineage", "dataset"):
        if not isinstance(data.get(member) or {}, dict):
            raise _bad(name, f"{member!r} is no object")
    if len(json.dumps(data.get("metrics") or {})) > METRICS_LIMIT:
        raise _bad(name, f"'metrics' holds more than {METRICS_LIMIT} bytes")
    for member, kind in _LINEAGE.items():
        if not isinstance((data.get("lineage") or {}).get(member) or kind(), kind):
            raise _bad(name, f"{member!r} of its lineage is no {_WORDS[kind]}")
    _check_lineage(data.get("lineage") or {}, data.get("dataset") or {}, name)


def _check_lineage(lineage: Mapping[str, Any], dataset: Mapping[str, Any], name: str) -> None:
    """What the address of a lineage tells by types of its own, and a training like it looks up."""
    for member, kind in _ITEMS.items():
        if not all(isinstance(item, kind) for item in lineage.get(member) or ()):
            raise _bad(name, f"{member!r} of its lineage holds what is no {_WORDS[kind]}")
    for member in ("resumed_from", "repeats"):
        if not isinstance(lineage.get(member) or "", str):
            raise _bad(name, f"{member!r} of its lineage is no text")
    for member in ("id", "name", "digest"):
        if not isinstance(dataset.get(member) or "", str):
            raise _bad(name, f"the dataset's {member} is no text")
    if dataset.get("id") is not None and not _ID.match(dataset["id"]):
        raise _bad(name, "the dataset's id is none")


def _check_files(files: Any, name: str) -> None:
    paths = set()
    for item in files:
        if not isinstance(item, dict) or not isinstance(item.get("path"), str):
            raise _bad(name, "a file has no path")
        path, digest = item["path"], item.get("sha256")
        if not _is_count(item["size"]):
            raise _bad(name, f"the size of {path!r} is no number of bytes")
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            raise _bad(name, f"{path!r} has no SHA-256")
        if path in paths:
            raise _bad(name, f"{path!r} is named twice")
        fault = kept_fault(path)
        if fault is not None:
            raise _bad(name, f"{path[:200]!r} {fault}")
        paths.add(path)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _bad(name: str, message: str) -> BadArchive:
    return BadArchive(f"the archive's manifest.json is refused: {message}", file=name)
