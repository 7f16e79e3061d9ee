"""A version's folder, as a home has it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = {"model.safetensors": bytes(range(256)) * 5000, "classes/names.json": b'["a", "b"]'}
Make = Callable[..., Path]


@pytest.fixture
def make_version(tmp_path: Path) -> Make:
    """`make(name, contents, **members)`: a whole version; members go into its manifest."""

    def make(name: str = "version", contents: dict[str, bytes] = FILES, **members: Any) -> Path:
        folder = tmp_path / name
        (folder / "files").mkdir(parents=True)
        for path, content in contents.items():
            (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "files" / path).write_bytes(content)
        listed = [
            {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in contents.items()
        ]
        manifest = {
            "format": 1,
            "kind": "weights",
            "id": "0123456789abcdef" * 2,
            "model": "m",
            "run": None,
            "created_at": "2026-11-21T10:00:00+00:00",
            "origin": "training",
            "step": 5,
            "checkpoint": "best",
            "metrics": {"accuracy": 0.9},
            "files": listed,
            "size": sum(map(len, contents.values())),
            **members,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make
