"""Keys of a home, made as an operator makes them."""

import json
import os
import subprocess
import sys
from pathlib import Path


def keys(home: Path, *words: str) -> subprocess.CompletedProcess:
    """`modelyard keys`, on this home."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    command = [sys.executable, "-m", "modelyard", "keys", *words, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)


def make_key(home: Path, name: str, *scopes: str, **more: str) -> dict[str, str]:
    """The header with a new key; of the id, `id_of`."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    words += [word for option, value in more.items() for word in (f"--{option}", value)]
    done = keys(home, "create", name, *words, "--json")
    assert done.returncode == 0, done.stderr
    return {"Authorization": f"Bearer {json.loads(done.stdout)['key']}"}


def id_of(header: dict[str, str]) -> str:
    return header["Authorization"].split("_")[1]
