"""Keys of a home, made as an operator makes them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from click.testing import CliRunner, Result

from modelyard.cli.keys import keys as keys_command


def keys(home: Path, *words: str) -> subprocess.CompletedProcess:
    """`modelyard keys`, on this home."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    command = [sys.executable, "-m", "modelyard", "keys", *words, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)


def make_key(home: Path, name: str, *scopes: str, **more: str) -> dict[str, str]:
    """The header with a new key; of the id, `id_of`. By the same command, without its process: that
    takes a second to import what we have imported."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    words += [word for option, value in more.items() for word in (f"--{option}", value)]
    words = ["create", name, *words, "--json", "--home", str(home)]
    done: list[Result] = []
    # In a thread: a test may have an event loop of its own, and so has the command.
    thread = threading.Thread(target=lambda: done.append(CliRunner().invoke(keys_command, words)))
    thread.start()
    thread.join(60)
    assert done and done[0].exit_code == 0, done and (done[0].output, done[0].exception)
    return {"Authorization": f"Bearer {json.loads(done[0].stdout)['key']}"}


def id_of(header: dict[str, str]) -> str:
    return header["Authorization"].split("_")[1]
