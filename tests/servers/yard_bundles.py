"""Bundles for tests, and offices of servers that share a store."""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from modelyard.records.home import Home
from modelyard.storage.office import StorageOffice


def make_bundle(
    root: Path,
    files: Mapping[str, bytes],
    model: str = "m",
    identity: str | None = None,
    created_at: str = "2026-11-21T10:00:00+00:00",
) -> Path:
    """A weights version's folder below `root`, named by its id."""
    identity = identity or uuid.uuid4().hex
    folder = root / identity
    listed = []
    for name, data in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        listed.append({"path": name, "size": len(data), "sha256": digest})
    manifest = {
        **{"format": 1, "kind": "weights", "id": identity, "model": model, "run": None},
        **{"created_at": created_at, "origin": "training", "metrics": {"loss": 0.5}},
        **{"files": listed, "size": sum(item["size"] for item in listed), "of_later": [1]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def key_of(folder: Path, model: str = "m") -> str:
    return f"models/{model}/weights/{folder.name}"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below files/, by its path."""
    root = folder / "files"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@asynccontextmanager
async def office_at(home: Path, url: str, env: Mapping[str, str] | None = None):
    """The office of a server with this home; its process ends with the block."""
    opened = Home(home)
    opened.open()
    plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    office = StorageOffice(url, opened, {**plain, **(env or {})}, home / "logs" / "storage.log")
    try:
        yield office
    finally:
        await office.close()
        opened.close()
