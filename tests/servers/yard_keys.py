"""Keys of a home, made as an operator makes them."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import CliRunner, Result

from modelyard.cli.keys import keys as keys_command
from modelyard.records.home import Home
from modelyard.records.keyring import with_keys
from modelyard.records.keys import insert_key_record, new_key, revoke_keys
from modelyard.schemas.permissions import Permission


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


def put_key(
    home: Path, name: str, *scopes: str, model: str | None = None, lasts_s: float | None = None
) -> dict[str, str]:
    """As `make_key`, with an end to the second, and from several threads at once."""
    now = datetime.now(UTC)
    may = [Permission(scope) for scope in scopes]
    until = None if lasts_s is None else now + timedelta(seconds=lasts_s)
    record, text = new_key(name, may, None if model is None else [model], now, until)
    with_keys(Home(home), lambda connection: insert_key_record(connection, record))
    return {"Authorization": f"Bearer {text}"}


def end_key(home: Path, which: str) -> list[str]:
    """Revokes in this process; the ids of those that it ended."""
    return with_keys(Home(home), lambda c: revoke_keys(c, which, datetime.now(UTC)))


def id_of(header: dict[str, str]) -> str:
    return header["Authorization"].split("_")[1]
