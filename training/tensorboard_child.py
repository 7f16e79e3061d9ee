"""TensorBoard's web application on a Unix socket, and nowhere else:

    python -m modelyard.training.tensorboard_child --socket PATH --logdir DIR --path-prefix /tb

Child of the server, which proxies to it. The stock program is not used: it listens on TCP without
any secret, and its fast loader is a second program that listens too (`load_fast=false` is its
Python loader). Ends with its parent.
"""

from __future__ import annotations

import argparse
import logging
import os
import socketserver
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from tensorboard import assets, default, program  # type: ignore[import-untyped]
from tensorboard.backend import application  # type: ignore[import-untyped]
from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
    data_ingester,
)

from .kernel import die_with_parent, set_name

RELOAD_S = 2.0
"""How often event files are read again."""


def wsgi_app(logdir: Path, path_prefix: str) -> Any:
    """TensorBoard's WSGI application, its loader started. Listens on nothing."""
    board = program.TensorBoard(default.get_plugins(), assets.get_default_assets_zip_provider())
    board.configure(
        argv=[
            "tensorboard",
            *("--logdir", str(logdir)),
            *("--path_prefix", path_prefix),
            *("--reload_interval", str(RELOAD_S)),
            "--load_fast=false",
        ]
    )
    flags = board.flags
    ingester = data_ingester.LocalDataIngester(flags)
    ingester.start()
    return application.TensorBoardWSGIApp(
        flags,
        board.plugin_loaders,
        ingester.data_provider,
        board.assets_zip_provider,
        ingester.deprecated_multiplexer,
    )


class UnixServer(socketserver.ThreadingMixIn, WSGIServer):
    """wsgiref's server on a Unix socket; a thread a request, since a page asks for many at once."""

    address_family = socketserver.UnixStreamServer.address_family
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        path = Path(str(self.server_address))
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)  # only for this user, from the first moment on
        try:
            socketserver.TCPServer.server_bind(self)
        finally:
            os.umask(mask)
        self.server_name, self.server_port = "tensorboard", 80
        self.setup_environ()


class Handler(WSGIRequestHandler):
    """Wsgiref's handler expects a TCP peer's address."""

    def address_string(self) -> str:
        return "server"

    def setup(self) -> None:
        self.client_address = ("server", 0)
        super().setup()

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        handler = _PlainHandler(self.rfile, self.wfile, sys.stderr, self.get_environ())  # type: ignore[arg-type]
        handler.request_handler = self  # type: ignore[attr-defined]
        handler.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Not logged: the server logs the requests that it proxies."""


class _PlainHandler(ServerHandler):
    http_version = "1.1"

    def log_exception(self, exc_info: Any) -> None:
        if not isinstance(exc_info[1], (BrokenPipeError, ConnectionResetError)):
            super().log_exception(exc_info)


def main(arguments: Iterable[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m modelyard.training.tensorboard_child")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--logdir", type=Path, required=True)
    parser.add_argument("--path-prefix", default="/tensorboard")
    parser.add_argument("--parent", type=int, help="pid of the process to end with")
    options = parser.parse_args(list(arguments))
    if options.parent is not None:
        die_with_parent(options.parent)
    set_name("modelyard-tb")
    logging.basicConfig(level=logging.WARNING)
    # By the open folder: its own path may be longer than a socket's may be (unix(7)).
    folder = os.open(options.socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    address = f"/proc/self/fd/{folder}/{options.socket.name}"
    server = UnixServer(address, Handler)  # type: ignore[arg-type]
    # By its name alone: the page says where it reads, to everybody who may see it.
    os.chdir(options.logdir.parent)
    server.set_app(wsgi_app(Path(options.logdir.name), options.path_prefix))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
