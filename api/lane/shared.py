"""What the connections of one lane share. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ...serving.messages import Prediction
from ...settings import Settings
from ..discretion import Discretion
from ..errors import Told, told_of
from ..guard import Hosts
from ..metrics import Metrics
from ..port.addresses import Addresses
from ..port.handler import Handler
from ..port.refusal import Refusals
from ..port.roster import Held, Roster
from ..predict import headers_of
from ..services import Services
from .answers import Clock, begin
from .calls import Kind, Served, kind_of

_KINDS = 512  # heads that are kept
_HEADS = 256  # of answers


class Shared:
    """`framework` makes the protocols of the connections that are not ours."""

    def __init__(
        self,
        here: Services,
        settings: Settings,
        metrics: Metrics,
        framework: Callable[[], Handler],
        roster: Roster,
    ) -> None:
        self.here = here
        self.framework = framework
        self.roster = roster
        self._refusals = Refusals()
        self.clock = Clock()
        self.tasks: set[asyncio.Future[Any]] = set()
        self._served = _served(here, settings, metrics)
        self._hosts = Hosts(settings)
        self._discretion = Discretion(settings)
        self._gate = here.gate
        self._max_size = settings.client_max_size
        self._proxies = Addresses(settings.trusted_proxies)
        self._kinds: dict[bytes, Kind] = {}
        self._heads: dict[tuple[str, str | None], bytes] = {}
        self._folders = f"{here.home.calls}/{uuid.uuid4().hex}"
        self._numbers = itertools.count()

    def kind(self, head: bytes) -> Kind | None:
        """What the head asks for; None: nothing of ours."""
        kind = self._kinds.get(head)
        if kind is not None and kind.generation == self._gate.generation and kind.current:
            return kind
        kind = kind_of(head, self._served, self._hosts, self._gate, self._max_size)
        if kind is not None:
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            self._kinds[head] = kind
        return kind

    def is_settled(self, kind: Kind) -> bool:
        """False if its sender may not be let in any more, after a body that took long to come."""
        return kind.generation == self._gate.generation

    def admits(self, connection: Held, transport: asyncio.BaseTransport) -> bool:
        """True if it may stay; else somebody has taken it over to tell its client."""
        refusal = self.roster.refusal(transport)
        if refusal is not None:
            self._refusals.refuse(transport, refusal)
            return False
        self.roster.enter(connection, transport)
        return True

    def proxy(self, peer: str) -> str:
        """Its address if it is a trusted proxy's, else nothing."""
        return peer if self._proxies and self._proxies.has(peer) else ""

    def client_of(self, proxy: str, kind: Kind) -> str:
        """Whose call it is that the proxy passed on."""
        return self._proxies.client_of(proxy, kind.forwarded)

    def folder(self) -> str:
        """A folder's path that no other call has."""
        return f"{self._folders}-{next(self._numbers):x}"

    def head_of(self, prediction: Prediction) -> bytes:
        """The status line and headers of an answer, all but its length. Raises ValueError."""
        if prediction.filename or prediction.headers:
            return begin(200, headers_of(prediction))
        key = (prediction.content_type, prediction.weights_id)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            head = self._heads[key] = begin(200, headers_of(prediction))
        return head

    def told(self, kind: Kind, error: BaseException) -> Told:
        """The answer for what was raised, as whoever calls may be told."""
        if isinstance(error, Exception):
            error = self._discretion.error(error, kind.principal)
        return told_of(error, "a predict call")

    def spawn(self, work: Any) -> asyncio.Future[Any]:
        """A task that is kept until it ends."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def _served(here: Services, settings: Settings, metrics: Metrics) -> Mapping[str, Served]:
    """The models by the paths of their predict calls; none where these are switched off, or
    traced."""
    found: dict[str, Served] = {}
    # With spans around everything a request is the framework's from its first byte.
    if not settings.predict_endpoint or settings.tracing is not None:
        return found
    route = f"{settings.base_path}/v2/models/{{model}}/predict"
    for handle in here.pool.all():
        served = Served(handle, route, metrics.requests("POST", route, handle.name))
        path = route.replace("{model}", handle.name)
        found[path] = found[f"{path}/"] = served
    return found
