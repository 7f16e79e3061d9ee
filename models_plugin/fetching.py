"""URLs that clients give to a model lead only where the operator lets them.

A plugin fetches them itself, with whatever library. So arguments are checked (http or https, and
all addresses of the host), and while the call or training goes on, the interpreter's audit hook
looks at each connection that Python code makes, and at what urllib opens: redirects, names that
have another address by then (DNS rebinding), and spellings that only a library reads as a URL
(`<file:/x>`, of RFC 3986, appendix C), meet the same rule. It is a guard against clients and no
sandbox for plugins: programs that a plugin starts, and libraries that connect in C, are not seen.
Runs in the worker and in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from marshmallow import fields

from ..addresses import UrlRule, address_of
from ..errors import InvalidArguments
from ..schemas.transport import RequestData
from .contract import Run
from .plugin import Plugin

_NAMED = re.compile(r"(.*_)?urls?\Z", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_FETCHED = re.compile(r"https?:|(ftp|file|local[_-]file):\S", re.IGNORECASE)
"""What libraries fetch of a text that no one calls a URL; not `file: see below`."""
_IGNORED = re.compile(r"[\t\r\n]")
_AROUND = "".join(map(chr, range(33)))
"""C0 control and space, which the URL standard strips: https://url.spec.whatwg.org/#url-parsing."""
_ONLY_WEB = "Give an address that begins with http:// or https://."
_CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg")


class UrlGuarded:
    """A plugin whose calls fetch by a rule; all else is its own."""

    def __init__(self, plugin: Plugin, model: str, rule: str) -> None:
        self._plugin = plugin
        self._fetching = Fetching(model, rule)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plugin, name)

    @property
    def answer_limit(self) -> int:
        return self._plugin.answer_limit

    @answer_limit.setter
    def answer_limit(self, limit: int) -> None:
        self._plugin.answer_limit = limit

    def arguments(
        self, which: str, request: RequestData, pinned: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        arguments = self._plugin.arguments(which, request, pinned)
        self._fetching.check(self._plugin.fields_of(which), arguments)
        return arguments

    def predict(self, arguments: Mapping[str, Any]) -> Any:
        with self._guard("predict", [arguments]):
            return self._plugin.predict(arguments)

    def predict_batch(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        with self._guard("predict", calls):
            return self._plugin.predict_batch(calls)

    def train(self, run: Run, arguments: Mapping[str, Any]) -> Any:
        with self._guard("train", [arguments]):
            return self._plugin.train(run, arguments)

    def _guard(
        self, which: str, calls: Sequence[Mapping[str, Any]]
    ) -> contextlib.AbstractContextManager[None]:
        fields_of = self._plugin.fields_of(which)
        names = {name for call in calls for name in self._fetching.names(fields_of, call)}
        return self._fetching.guard(sorted(names))


class Fetching:
    """One module's rule. `rule` is how the settings write it (`UrlRule.parse`)."""

    def __init__(self, model: str, rule: str) -> None:
        self._model = model
        self._rule = UrlRule.parse(rule)
        self._named: frozenset[str] = frozenset()
        self._resolved: set[str] = set()
        self._hooked = False
        self._asking = threading.local()
        self._active = 0
        self.refused: str | None = None

    def check(self, schema_fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Looks at every URL, and up its host. Raises InvalidArguments, which names the faults."""
        wrong = {}
        for key, urls in self._given(schema_fields, arguments):
            faults = [fault for url in urls if url and (fault := self._fault(url))]
            if faults:
                wrong[key] = faults
        if wrong:
            raise InvalidArguments(wrong)

    def names(self, schema_fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
        """The arguments that may hold URLs of the client's, and none of the module's own."""
        return [key for key, _ in self._given(schema_fields, arguments)]

    def _given(
        self, schema_fields: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> Iterator[tuple[str, list[str]]]:
        if self._rule.anywhere:
            return
        for key, field in schema_fields.items():
            value = arguments.get(field.attribute or field.name)
            if value is not None and value != _default(field):
                urls = list(_urls(key, field, value))
                if urls:
                    yield key, urls

    @contextlib.contextmanager
    def guard(self, names: list[str]) -> Iterator[None]:
        """For the block that fetches what the arguments `names` tell; does nothing without any.

        What it refused is told as the fault of those arguments, if the block fails.
        """
        if not names:
            yield
            return
        self._hook()
        self.refused = None
        self._active += 1
        try:
            yield
        except Exception as error:
            if self.refused is None:
                raise
            raise InvalidArguments({name: [self.refused] for name in names}) from error
        finally:
            self._active -= 1

    def _fault(self, url: str) -> str | None:
        """What is wrong with where it leads; None if nothing is."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            return f"This is no URL: {error}."
        if parts.scheme.lower() not in ("http", "https"):
            return _ONLY_WEB
        if not host:
            return "This URL names no host."
        if self._rule.allows_host(host):
            return None
        for address in _addresses(host, port):
            if not self._allows(address):
                return self._told(host, address)
        return None

    def _allows(self, address: str) -> bool:
        try:
            return self._rule.allows_address(address_of(address))
        except ValueError:
            return False

    def _told(self, host: str, address: str) -> str:
        what = host if host == address else f"{host} ({address})"
        return (
            f"{what} may not be fetched from. URLs lead to public addresses, "
            f"unless the operator names others: [models.{self._model}] urls."
            if self._rule.public
            else f"{what} may not be fetched from; the operator names from where: "
            f"[models.{self._model}] urls."
        )

    # -- connections --------------------------------------------------------------------------

    def _hook(self) -> None:
        """At the first call with a URL: from then on each event costs a tenth of a microsecond."""
        if self._hooked:
            return
        self._hooked = True
        hosts = set()
        for value in os.environ.values():  # proxies, stores, trackers: the operator's own word
            if "://" in value:
                with contextlib.suppress(ValueError):
                    hosts.add((urlsplit(value).hostname or "").lower())
        self._named = frozenset(hosts - {""})
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event == "urllib.Request":  # of a library that reads a text in its own way
            self._opens(str(details[0]))
        elif event == "socket.getaddrinfo":
            self._heard_name(details[0])
        elif event in _CONNECTING:
            self._connects(details[1])

    def _opens(self, url: str) -> None:
        if url.partition(":")[0].lower() not in ("http", "https", "data"):
            self.refused = _ONLY_WEB
            raise PermissionError(errno.EACCES, self.refused)

    def _heard_name(self, host: Any) -> None:
        """Addresses of names that the operator has named are good, whatever they are."""
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if not isinstance(host, str) or getattr(self._asking, "on", False):
            return
        if host.lower() in self._named or self._rule.allows_host(host):
            self._asking.on = True
            try:
                self._resolved.update(_addresses(host, None))
            finally:
                self._asking.on = False

    def _connects(self, place: Any) -> None:
        if not isinstance(place, tuple) or not place:  # a Unix socket, or already connected
            return
        address = str(place[0])
        if address in self._resolved or address in self._named or self._allows(address):
            return
        self.refused = self._told(address, address)
        raise PermissionError(errno.EACCES, self.refused)


def _default(field: Any) -> Any:
    """What the module itself says, and not the client."""
    value = getattr(field, "load_default", None) or getattr(field, "missing", None)
    return None if callable(value) else value


def _urls(name: str, field: Any, value: Any) -> Iterator[str]:
    """The URLs in an argument, as far as they can be told; "" for a text of which its plugin may
    make one, which is seen when it is opened.

    Of a field for URLs, and of one with such a name (`url`, `image_urls`), every text counts; of
    others those that are a URL or hold one.
    """
    known = isinstance(field, fields.Url) or _NAMED.match(name) is not None
    if isinstance(value, str):
        bare = _bare(value)
        if bare.startswith("data:"):
            return
        if (_URL if known else _FETCHED).match(bare):
            yield bare
        elif "://" in bare or (known and bare):
            yield ""
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _urls(str(key), None, one)
    elif isinstance(value, (list, tuple, set)):
        inner = getattr(field, "inner", None)
        for one in value:
            yield from _urls(name, inner, one)


def _bare(text: str) -> str:
    """A URL without what libraries take from around it before they read it: urllib `<URL:...>`,
    browsers and yarl what cannot be printed."""
    before = None
    while text != before:
        before, text = text, _IGNORED.sub("", text).strip().strip(_AROUND)
        if text[:1] == "<":
            text = text[1:-1] if text[-1:] == ">" else text[1:]
        if text[:4].lower() == "url:":
            text = text[4:]
    return text


def _addresses(host: str, port: int | None) -> list[str]:
    """Every address of a host; none if it has none, or is not known here (a proxy may know it)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(one[4][0]) for one in found})
