"""Who is told where the server's files are.

What goes wrong with records, storage and models is said with the files' names, which an operator
needs. Who may manage gets it as it is; without keys, on loopback, that is everybody. All others get
the names of the folders in the place of their paths, and who has not said who they are gets of the
server's storage only what kind of trouble it is. The log has the whole. Runs in the front.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from ..errors import ModelyardError, StorageUnavailable, StoreRefused
from ..models_plugin.answers import json_bytes
from ..schemas.permissions import Permission
from ..settings import Settings
from ..storage.stores.url import parse_store_url
from .access.principal import ANYBODY, NOBODY, Principal, principal_of

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Exception)

_REMEMBERED = 100
"""Messages that were withheld and are in the log: whoever asks every second fills it with none."""


class Discretion:
    """Of one server, by its settings."""

    def __init__(self, settings: Settings) -> None:
        words = {_in_json(path): word for path, word in _places(settings)}
        self._words = {path: word.encode() for path, word in words.items()}
        longest = sorted(map(re.escape, self._words), key=len, reverse=True)
        # Not in the middle of another path: /srv/yard is neither in /srv/yard2 nor in /a/srv/yard.
        self._paths = re.compile(rb"(?<![\w.-])(?:" + b"|".join(longest) + rb")(?![\w-])")
        self._trusts_anybody = settings.is_loopback
        self._logged: set[str] = set()

    def trusts(self, who: Principal) -> bool:
        """Whether they get all as it is."""
        if who is ANYBODY and not self._trusts_anybody:
            return False
        return Permission.MANAGE in who.permissions

    def json(self, body: bytes, who: Principal) -> bytes:
        """An answer in JSON, or a part of one, as it may leave the server."""
        if self.trusts(who) or not any(path in body for path in self._words):
            return body
        return self._paths.sub(lambda found: self._words[found[0]], body)

    def error(self, error: E, who: Principal) -> E:
        """The error as it may be told; what is withheld is in the log."""
        if isinstance(error, ModelyardError) and not self.trusts(who):
            return self._discreet(error, who)  # type: ignore[return-value]
        return error

    def _discreet(self, error: ModelyardError, who: Principal) -> ModelyardError:
        if isinstance(error, StorageUnavailable) and who is NOBODY:
            told: ModelyardError = type(error)()
        else:
            told = self._without_paths(error)
        if told is not error and error.message not in self._logged:
            if len(self._logged) >= _REMEMBERED:
                self._logged.clear()
            self._logged.add(error.message)
            log.warning("not told in full to who asked: %s", error.message)
        return told

    def _without_paths(self, error: ModelyardError) -> ModelyardError:
        given = vars(error)
        changed = {
            name: self._text(value)
            for name, value in given.items()
            if name in ("message", "details", "errors")
        }
        if all(given[name] == value for name, value in changed.items()):
            return error
        # Not the one that was raised: several callers of one batch may have it.
        told = type(error).__new__(type(error))
        vars(told).update({**given, **changed})
        return told

    def _text(self, value: Any) -> Any:
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogatepass")
            return self._paths.sub(lambda found: self._words[found[0]], raw).decode(
                "utf-8", "surrogatepass"
            )
        if isinstance(value, Mapping):
            return {self._text(key): self._text(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._text(item) for item in value]
        return value


DISCRETION = web.AppKey("discretion", Discretion)


def discretion(request: web.Request) -> Discretion:
    """That of the application that got this request."""
    return request.config_dict[DISCRETION]


def discreet(request: web.Request, error: E) -> E:
    """The error as whoever sends this request may be told."""
    return discretion(request).error(error, principal_of(request))


def _in_json(path: str) -> bytes:
    return json_bytes(path)[1:-1]


def _places(settings: Settings) -> list[tuple[str, str]]:
    """The server's own folders, as they may be written, and the words for them."""
    places: list[tuple[Path, str]] = [(settings.home, "HOME"), (Path(sys.prefix), "PYTHON")]
    if settings.data is not None:
        places.append((settings.data, "DATA"))
    if settings.storage is not None:
        try:
            folder = parse_store_url(settings.storage)
        except StoreRefused:  # told when it is opened
            folder = None
        if folder is not None and folder.kind == "folder":
            places.append((folder.path, "STORAGE"))
    for name, model in settings.models.items():
        if model.weights_folder is not None:
            places.append((model.weights_folder, f"WEIGHTS({name})"))
        if model.python is not None:
            places.append((Path(model.python).parent, f"PYTHON({name})"))
    found = []
    for path, word in places:
        for one in dict.fromkeys((str(path.absolute()), str(path.resolve()))):
            if len(one) > 1:  # not the root
                found.append((one, word))
    return found
