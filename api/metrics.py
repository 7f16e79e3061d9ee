"""What the server counts of its own work, for `/metrics`. Runs in the front, on its loop.

Labels have few values: routes as they are declared, models that are served here, versions that are
loaded. Nothing that a client may choose freely is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from ..errors import ModelyardError
from ..serving.observer import BatchDone
from .errors import status_of
from .tallies import ITEMS, SECONDS, Counter, Histogram, Values

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
GRPC = "GRPC"
"""What stands for the method of HTTP where a call came by gRPC."""
_KEPT = 16
"""Versions of one model that are counted at most, also if nobody ever scrapes."""


@dataclass(frozen=True)
class Requests:
    """Those of one method, route and model."""

    labels: tuple[str, str, str]
    seconds: Values
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        """One was answered, with 499 if its client had gone."""
        self.seconds.add(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1


@dataclass(frozen=True)
class _Version:
    """The series of one loaded version."""

    wait: Values
    seconds: Values
    items: Values
    forward: Values
    worked: Values
    statuses: dict[int, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)


class Metrics:
    """One application's counts: serving tells its own (`Observer`), the access log of requests."""

    def __init__(self, models: Collection[str]) -> None:
        self._models = frozenset(models)
        self._requests: dict[tuple[str, object, str | None], Requests] = {}
        self._versions: dict[tuple[str, str], _Version] = {}
        self._gone: set[tuple[str, str]] = set()
        self._refused = Counter(
            "modelyard_refused", "Predictions that no worker answered.", "model", "why"
        )
        self._restarts = Counter(
            "modelyard_worker_restarts", "Workers that ended by themselves.", "model", "reason"
        )
        about = "Trainings that have ended."
        self._trainings = Counter("modelyard_trainings_ended", about, "model", "status", "reason")
        about = "From a request's head to the end of its handler."
        labels = ("method", "route", "model")
        about = "Connections that were told 503, by what there was too much of."
        self._connections_refused = Counter("modelyard_connections_refused", about, "why")
        about = "Connections that were closed because their client took too long, by what for."
        self._connections_cut = Counter("modelyard_connections_cut", about, "phase")
        self._http = Histogram("modelyard_http_request_seconds", about, SECONDS, *labels)
        self._wait = _by_version("queue_seconds", "Time that calls waited for a worker.")
        self._seconds = _by_version("prediction_seconds", "From a call's arrival to its answer.")
        self._items = _by_version("batch_items", "Items of a batch.", ITEMS)
        self._forward = _by_version("forward_seconds", "A batch in the plugin's own predict.")
        self._worked = _by_version("worker_seconds", "A batch in its worker, decoding and all.")

    # -- HTTP ---------------------------------------------------------------------------------

    def request_ended(self, request: web.Request, status: int, seconds: float) -> None:
        """A request was answered, with 499 if its client had gone."""
        match = request.match_info
        key = (request.method, match.route.resource, match.get("model"))
        requests = self._requests.get(key) or self._requests_of(request)
        requests.add(status, seconds)

    def call_ended(self, route: str, model: str | None, status: int, seconds: float) -> None:
        """The same for a call by gRPC: `route` is one that is declared, `status` what HTTP has."""
        known = model if model is not None and model in self._models else ""
        self.requests(GRPC, route, known).add(status, seconds)

    def requests(self, method: str, route: str, model: str) -> Requests:
        """The series of a declared route and a model that is served, for who counts by itself."""
        key = (method, route, model)
        if key not in self._requests:
            self._requests[key] = self._labelled(key)
        return self._requests[key]

    def _labelled(self, labels: tuple[str, str, str]) -> Requests:
        """One series for an address with and without its last slash, by whatever way it came."""
        known = (one for one in self._requests.values() if one.labels == labels)
        return next(known, None) or Requests(labels, self._http.of(*labels))

    def _requests_of(self, request: web.Request) -> Requests:
        """The series of a request whose method, address or model may be of its client's making."""
        match = request.match_info
        resource, model = match.route.resource, match.get("model")
        method = request.method if request.method in _METHODS else "other"
        model = model if model in self._models else None
        requests = self._requests.get((method, resource, model))
        if requests is None:
            requests = self._labelled((method, route_of(request), model or ""))
            self._requests[method, resource, model] = requests
        return requests

    def client_refused(self, model: str | None) -> None:
        """A client had too many calls under way: 429."""
        self.refused(model if model is not None and model in self._models else "", "client")

    def connection_refused(self, why: str) -> None:
        """It was one too many: of all, of one address, or of the process's descriptors."""
        self._connections_refused.add(why)

    def connection_cut(self, phase: str) -> None:
        """Its client took too long."""
        self._connections_cut.add(phase)

    # -- serving's Observer -------------------------------------------------------------------

    def batch_done(self, model: str, batch: BatchDone) -> None:
        series = self._version(model, batch.version or "")
        for seconds in batch.waited_s:
            series.wait.add(seconds)
        series.items.add(batch.items)
        series.forward.add(batch.forward_s)
        series.worked.add(batch.worked_s)

    def call_answered(
        self, model: str, version: str | None, error: ModelyardError | None, seconds: float
    ) -> None:
        series = self._version(model, version or "")
        series.seconds.add(seconds)
        status = 200 if error is None else status_of(error)
        series.statuses[status] = series.statuses.get(status, 0) + 1

    def refused(self, model: str, why: str) -> None:
        self._refused.add(model, why)

    def worker_ended(self, model: str, kind: str) -> None:
        self._restarts.add(model, kind)

    def shadowed(self, model: str, version: str, outcome: str) -> None:
        copies = self._version(model, version).copies
        copies[outcome] = copies.get(outcome, 0) + 1

    # -- trainings ----------------------------------------------------------------------------

    def training_ended(self, model: str, status: str, reason: str | None) -> None:
        """A training's record was closed."""
        self._trainings.add(model if model in self._models else "", status, reason or "")

    # -- versions -----------------------------------------------------------------------------

    def _version(self, model: str, version: str) -> _Version:
        series = self._versions.get((model, version))
        if series is None:
            known = [one for one in self._versions if one[0] == model]
            self._forget(set(known[: max(0, len(known) - _KEPT + 1)]))
            labels = (model, version)
            series = self._versions[labels] = _Version(
                *(self._wait.of(*labels), self._seconds.of(*labels), self._items.of(*labels)),
                *(self._forward.of(*labels), self._worked.of(*labels)),
            )
        return series

    def keep(self, loaded: Collection[tuple[str, str]]) -> None:
        """Called after each scrape: versions that were gone at two of them are counted no more."""
        gone = {one for one in self._versions if one not in loaded}
        self._forget(gone & self._gone)
        self._gone = gone

    def _forget(self, versions: Collection[tuple[str, str]]) -> None:
        for labels in versions:
            del self._versions[labels]
        for family in (self._wait, self._seconds, self._items, self._forward, self._worked):
            family.forget(lambda labels: labels in versions)

    # -- a scrape -----------------------------------------------------------------------------

    def collect(self) -> Iterator[Counter | Histogram]:
        """All that was counted; any thread may ask."""
        about = "Requests answered; 499: the client had gone."
        labels = ("method", "route", "model", "status")
        requests = Counter("modelyard_http_requests", about, *labels)
        for one in {id(one): one for one in list(self._requests.values())}.values():
            for status, count in list(one.statuses.items()):
                requests.set(count, *one.labels, str(status))
        about = "Calls that a worker answered."
        predictions = Counter("modelyard_predictions", about, "model", "version", "status")
        about = "Copies of calls for a version that is tried, by what came of them."
        copies = Counter("modelyard_shadow_copies", about, "model", "version", "outcome")
        for (model, version), series in list(self._versions.items()):
            for outcome, count in list(series.copies.items()):
                copies.set(count, model, version, outcome)
            for status, count in list(series.statuses.items()):
                predictions.set(count, model, version, str(status))
        yield from (requests, self._http, predictions, copies)
        yield from (self._seconds, self._wait, self._items, self._forward, self._worked)
        yield from (self._refused, self._restarts, self._trainings)
        yield from (self._connections_refused, self._connections_cut)


def _by_version(name: str, about: str, bounds: Sequence[float] = SECONDS) -> Histogram:
    return Histogram(f"modelyard_{name}", about, bounds, "model", "version")


def route_of(request: web.Request) -> str:
    """The route as it is declared, without its last slash: never a path that a client chose."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical.rstrip("/") or "/"
