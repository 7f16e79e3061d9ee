"""What a person has signed in with, by server: a file of theirs that nobody else may read.

`modelyard login` writes it, clients read it. Runs in the user's process; several may at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import ClientError

try:
    import fcntl
except ImportError:  # Windows: two processes at once may there have to sign in again
    fcntl = None  # type: ignore[assignment]

PLACE = "MODELYARD_CREDENTIALS"
"""Variable that names another file."""


@dataclass(frozen=True)
class Credential:
    """What one server is shown. `expires_at` is in seconds since 1970, None: not known.

    With a `refresh_token`, `token_endpoint` gives the next token to the client `client_id`.
    """

    token: str
    expires_at: float | None = None
    refresh_token: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    issuer: str | None = None
    client_id: str | None = None


class CredentialStore:
    """The file. Every change is a new file in its place, made under a lock."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _default_path()
        self._kept: tuple[tuple[int, int, int], dict[str, Any]] | None = None

    def find(self, url: str) -> Credential | None:
        """What to show to the server at this address. Raises ClientError if it cannot be read."""
        found = self._read().get(server_name(url))
        if not isinstance(found, Mapping) or not isinstance(found.get("token"), str):
            return None
        known = Credential.__dataclass_fields__
        values = {name: value for name, value in found.items() if name in known}
        until = values.pop("expires_at", None)
        until = until if isinstance(until, int | float) else None
        if not all(value is None or isinstance(value, str) for value in values.values()):
            raise ClientError(f"{self.path} is damaged. Remove it and sign in again.")
        return Credential(**values, expires_at=until)

    def put(self, url: str, credential: Credential | None) -> None:
        """Keeps it, in place of what was there; None: forgets it. Raises ClientError."""
        servers = self._read()
        servers.pop(server_name(url), None)
        if credential is not None:
            servers[server_name(url)] = asdict(credential)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self.path.parent, prefix=".credentials-")  # 0600
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    json.dump({"version": 1, "servers": servers}, file, indent=1)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ClientError(f"{self.path} cannot be written: {error.strerror}.") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While one process changes what it has read, others wait. Blocks; raises ClientError."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("w") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise ClientError(f"{self.path} cannot be locked: {error.strerror}.") from error

    def _read(self) -> dict[str, Any]:
        try:
            now = self.path.stat()
            version = (now.st_ino, now.st_mtime_ns, now.st_size)
            if self._kept is not None and self._kept[0] == version:
                return dict(self._kept[1])
            data = json.loads(self.path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return {}  # also where HOME is somebody else's, as in containers
        except (OSError, ValueError) as error:
            raise ClientError(
                f"{self.path} cannot be read: {error}. Remove it and sign in again."
            ) from error
        servers = data.get("servers") if isinstance(data, Mapping) else None
        self._kept = version, dict(servers) if isinstance(servers, Mapping) else {}
        return dict(self._kept[1])


def server_name(url: str) -> str:
    """How a server is called in the file: scheme, host, port and prefix, written in one way."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"


def _default_path() -> Path:
    if named := os.environ.get(PLACE):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".config"
    except RuntimeError:  # a user by number, without HOME: nothing can be kept
        folder = Path(os.devnull)
    return folder / "modelyard" / "credentials.json"
