"""Runs the application on a port until a signal: the front process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import sys
from typing import NamedTuple

from aiohttp import web

from ..errors import CannotStart, InvalidSettings, StorageUnavailable
from ..models_plugin.discovery import list_sources
from ..models_plugin.interpreter import Interpreter
from ..records.home import Home
from ..records.keyring import has_keys
from ..seclusion import seclude
from ..serving.pool import ServingPool
from ..settings import Settings
from ..settings.checks import check_settings, warnings_about
from ..streams import let_go
from .app import create_app
from .exporting import EXPORTER
from .farewell import take_leave
from .grpc_port import GRPC_PORT, GrpcPort
from .lane.lane import Lane
from .logs import configure_logging
from .metrics_page import METRICS
from .port.addresses import Addresses
from .port.handler import Framework
from .port.roster import Roster
from .port.tls import HANDSHAKE_S, certificate_of
from .services import SERVICES
from .settling import settle
from .store_rooms import check_store

try:
    import uvloop
except ImportError:  # not on every platform; asyncio's own loop does the same, slower
    uvloop = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_CANCELLED_S = 1.0
"""Seconds that requests get to clean up after themselves whose time was over."""
_MOST_FDS = 65_536  # not more: there are plugins that close every number there may be
_LEAST_FDS = 256  # its own, those of some workers and trainings, and some connections
_UNSENT = 512 * 1024
"""Bytes that the kernel takes of an answer beyond what its client has room for: else it would keep
megabytes for each that does not read, and nobody would see that they do not move (tcp(7))."""
_BACKLOG = 4096  # as the kernel's own bound is: whom it drops tries again only after a second


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code.

    0 after a signal; 1 cannot start; 2 settings; 3 a model that was named failed its first load
    (also after the port was opened); 4 the home is in use.
    """
    run = uvloop.run if uvloop else asyncio.run
    seclude()
    try:
        _raise_descriptor_limit()
        check_settings(settings, os.environ)
        check_store(settings)
        configure_logging(settings.log_level, settings.log_file, settings.log_size)
        for told in warnings_about(settings, os.environ):
            log.warning(told)
        check_access(settings)
        return run(_serve(settings))
    except (CannotStart, StorageUnavailable) as error:
        print(f"modelyard: {error.message}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        return 130


def _raise_descriptor_limit() -> None:
    """Each connection has one, and the usual soft limit is 1024, whatever the hard one is.

    Raises CannotStart if there may be too few for any server.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FDS if hard == resource.RLIM_INFINITY else min(hard, _MOST_FDS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FDS:
        raise CannotStart(
            f"The server may have {soft} files and connections open, which are too few: it needs "
            f"{_LEAST_FDS} at least, and 4096 to serve many. Raise the limit (ulimit -n, "
            "LimitNOFILE= of systemd, --ulimit nofile= of a container)."
        )


def check_access(settings: Settings) -> None:
    """Refuses to listen where other machines can reach it, unless callers are asked for a key, or
    that was said.

    Raises InvalidSettings, and StorageUnavailable if the records cannot be read.
    """
    if settings.oidc_issuer is not None or settings.is_loopback or settings.access == "open":
        return
    if has_keys(Home(settings.home).database):
        return
    raise InvalidSettings(
        f"The address {settings.host} can be reached from other machines, and everybody could "
        "train and predict here. Make a key first (modelyard keys create NAME --home "
        f"{settings.home}) or name an issuer of tokens (--oidc-issuer), or listen on 127.0.0.1; "
        "or say --access open (or MODELYARD_ACCESS=open) if everybody is meant."
    )


async def _serve(settings: Settings) -> int:
    interpreters = {
        name: Interpreter(own.python, own.env)
        for name, own in settings.models.items()
        if own.python is not None
    }
    certificate_of(settings)  # what is wrong with it is told before anything is loaded
    sources = list_sources(settings.model_name, interpreters)
    for name in set(settings.models) - {source.name for source in sources}:
        log.warning("the settings have a table for a model that is not served: %s", name)
    app = create_app(settings, sources)
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=_CANCELLED_S,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    port = None
    try:
        # The ports first: a taken one costs no model's loading.
        with _listen(settings.host, settings.port, "--port") as listener:
            if GRPC_PORT in app:
                _bind_grpc(app[GRPC_PORT], settings)
            await runner.setup()
            settle()
            if settings.listen_when_loaded:
                await until_loaded(app, settings, stop)
            if GRPC_PORT in app:
                await app[GRPC_PORT].start(app[SERVICES])
            port = await _open_port(app, runner, settings, listener)
            names = [source.name for source in sources]
            grpc_port = app[GRPC_PORT].port if GRPC_PORT in app else None
            closed = app[SERVICES].gate.closed
            _tell(settings, listener.getsockname()[1], grpc_port, names, closed)
            code = await _until_stopped(app, settings, stop)
            await take_leave(app, runner, port.lane, listener)
            return code
    finally:
        if port is not None:
            await app[EXPORTER].close()  # its requests are answered then
            await port.close(settings.stop_timeout)
        await runner.cleanup()


class _Port(NamedTuple):
    """The open port, and all that reads its connections."""

    lane: Lane
    framework: Framework
    roster: Roster
    renewing: asyncio.Future[None] | None

    async def close(self, timeout_s: float) -> None:
        """Listens no more; what is under way has so many seconds, by whatever way it came."""
        self.lane.stop_listening()
        until = asyncio.get_running_loop().time() + timeout_s
        await asyncio.gather(self.lane.close(until), self.framework.close(until))
        self.roster.close()
        if self.renewing is not None:
            self.renewing.cancel()


async def _open_port(
    app: web.Application, runner: web.AppRunner, settings: Settings, listener: socket.socket
) -> _Port:
    """Begins to listen. Raises InvalidSettings for a certificate that cannot be used."""
    assert runner.server is not None
    proxies = Addresses(settings.trusted_proxies)
    roster = Roster(settings, app[METRICS], proxies)
    framework = Framework(runner.server, roster, proxies)
    lane = Lane(app[SERVICES], settings, app[METRICS], framework, roster)
    loop = asyncio.get_running_loop()
    certificate = certificate_of(settings)
    if certificate is None:
        lane.listening = await loop.create_server(lane, sock=listener, backlog=_BACKLOG)
        return _Port(lane, framework, roster, None)
    lane.listening = await loop.create_server(
        lane,
        sock=listener,
        backlog=_BACKLOG,
        ssl=certificate.context,
        ssl_handshake_timeout=HANDSHAKE_S,
    )
    return _Port(lane, framework, roster, asyncio.ensure_future(certificate.follow()))


async def until_loaded(app: web.Application, settings: Settings, stop: asyncio.Event) -> None:
    """Returns when every model has been loaded, or failed to be, or the server is to stop.

    Clients of DEEPaaS take a port that answers for a model that does. Raises ModelFailedToLoad if
    a named model, or every model, has failed.
    """
    pool = app[SERVICES].pool
    loaded = asyncio.ensure_future(_all_loaded(pool))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({loaded, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        loaded.cancel()
        return
    stopped.cancel()
    handles = pool.all()
    nothing_serves = bool(handles) and all(handle.error is not None for handle in handles)
    # A port that answers for no model at all would look like one that works.
    await pool.wait_loaded([handles[0].name] if nothing_serves else settings.model_name)


async def _all_loaded(pool: ServingPool) -> bool:
    for handle in pool.all():
        await handle.loaded()
    return True


async def _until_stopped(app: web.Application, settings: Settings, stop: asyncio.Event) -> int:
    stopped = asyncio.ensure_future(stop.wait())
    loaded = asyncio.ensure_future(app[SERVICES].pool.wait_loaded(settings.model_name))
    await asyncio.wait([stopped, loaded], return_when=asyncio.FIRST_COMPLETED)
    if loaded.done() and not stopped.done():
        error = loaded.exception()
        if isinstance(error, CannotStart):
            stopped.cancel()
            raise error
        if error is not None:
            raise error
        await stopped
    loaded.cancel()
    with contextlib.suppress(asyncio.CancelledError, CannotStart):
        await loaded
    log.info("stopping")
    going_on = app[SERVICES].runs.under_way
    if going_on and settings.on_stop == "leave":
        print(
            f"{going_on} training(s) go on; the next server on this home takes them over. "
            "(--on-stop cancel would end them.)",
            flush=True,
        )
    elif going_on and settings.on_stop == "pause":
        print(
            f"{going_on} training(s) are asked to save a checkpoint; the next server on this home "
            "goes on with them. Those that cannot go on from one are left running.",
            flush=True,
        )
    return 0


def _listen(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        address = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0][4]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections have it from here
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        flag = flag if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise CannotStart(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with {flag}."
        ) from error
    return listener


def _bind_grpc(grpc: GrpcPort, settings: Settings) -> None:
    """At the same address as HTTP; what the system has against it is asked for in its own words."""
    with _listen(settings.host, settings.grpc_port or 0, "--grpc-port") as probe:
        address = probe.getsockname()[0]
    grpc.bind(address)


def _tell(
    settings: Settings, port: int, grpc_port: int | None, models: list[str], closed: bool
) -> None:
    """Says on standard output where everything is, once the port answers."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if settings.tls_cert is None else "https"
    base = f"{scheme}://{host}:{port}{settings.base_path}"
    lines = [
        f"Modelyard is listening on {base}/",
        f"  models       {base}/v2/models/   ({', '.join(models) or 'none installed'})",
    ]
    if settings.doc_endpoint:
        lines.append(f"  Swagger UI   {base}/ui   (and /api)")
    lines.append(f"  OpenAPI      {base}/openapi.json   (Swagger 2.0: /swagger.json)")
    if grpc_port is not None:
        lines.append(f"  gRPC         {host}:{grpc_port}   (Open Inference Protocol)")
    if settings.public_url is not None:
        lines.append(f"  clients see  {settings.public_url}/")
    lines.append(f"  TensorBoard  {base}/tensorboard/")
    if closed:
        also = f" or tokens of {settings.oidc_issuer}" if settings.oidc_issuer else ""
        lines.append(f"  access       with keys{also} (modelyard keys; docs/access.md)")
    elif settings.access == "open" and not settings.is_loopback:
        log.warning("open access: everybody who reaches %s may train and predict", settings.host)
    try:
        print("\n".join(lines), flush=True)
    except OSError:  # nobody reads it any more, which is no reason to serve nobody
        let_go(sys.stdout)
