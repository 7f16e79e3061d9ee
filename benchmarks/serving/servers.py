"""The servers of the comparison: how each is started, asked and answered, and what it costs.

All listen on loopback. What a server costs is the CPU time and memory of the process that was
started and of all its descendants.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from network import FEATURES, expected, pictures, rows

HERE = Path(__file__).resolve().parent
_TICKS = os.sysconf("SC_CLK_TCK")
START_S = 120
STOP_S = 15


@dataclass(frozen=True)
class Kind:
    """One server of the comparison. `environment` None: the interpreter that runs this.

    `batches` are the settings that it is tried at, by model; where there are several, the one with
    the highest throughput stands for it. `request` gives method-less heads and bodies.
    """

    name: str
    script: str
    environment: str | None
    paths: dict[str, str]
    answer: Callable[[bytes], list[float]]
    batches: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {"perceptron": (1,), "cnn": (1,)}
    )
    form: str = "raw"


BATCHING = {"perceptron": (32,), "cnn": (1, 8)}
_SAME = {"perceptron": "/predict", "cnn": "/predict"}
_INFER = {"perceptron": "/v2/models/bench/infer", "cnn": "/v2/models/bench/infer"}

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "modelyard", "", None,
            {model: f"/v2/models/bench-{model}/predict/" for model in ("perceptron", "cnn")},
            lambda body: json.loads(body)["predictions"],
        ),
        Kind(
            "deepaas", "deepaas_server.py", "deepaas",
            {model: "/v2/models/bench/predict/" for model in ("perceptron", "cnn")},
            lambda body: json.loads(body)["predictions"],
            form="multipart x",
        ),
        Kind(
            "litserve", "litserve_server.py", "litserve", _SAME,
            lambda body: json.loads(body)["y"], BATCHING, "multipart request",
        ),
        Kind(
            "mlserver", "mlserver_server.py", "mlserver", _INFER,
            lambda body: json.loads(body)["outputs"][0]["data"], BATCHING, "v2 base64",
        ),
        Kind(
            "fastapi", "fastapi_server.py", "fastapi",
            {"perceptron": "/perceptron", "cnn": "/cnn"}, json.loads,
        ),
        Kind(
            "triton", "triton_server.py", "triton", _INFER,
            lambda body: json.loads(body)["outputs"][0]["data"], BATCHING, "v2 binary",
        ),
        Kind(
            "checkout", "", None,
            {model: f"/v2/models/bench-{model}/predict/" for model in ("perceptron", "cnn")},
            lambda body: json.loads(body)["predictions"],
        ),
        Kind(
            "constant", "constant_server.py", None, _SAME, lambda body: json.loads(body)["y"],
        ),
    )
}  # fmt: skip
PEERS = tuple(name for name, kind in KINDS.items() if kind.environment is not None)


def requests(kind: Kind, model: str, token: str | None = None) -> list[bytes]:
    """The whole HTTP requests for the payloads, in this server's own form."""
    if model == "perceptron":
        made = [_row(kind, row) for row in rows()]
    else:
        made = [_picture(kind, png) for png in pictures()]
    extra = f"Authorization: Bearer {token}\r\n" if token else ""
    return [_request(kind.paths[model], head + extra, body) for head, body in made]


def _request(path: str, head: str, body: bytes) -> bytes:
    first = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
    return f"{first}{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _row(kind: Kind, row: np.ndarray) -> tuple[str, bytes]:
    values = [round(float(value), 3) for value in row]
    document: object = {"x": values}
    if kind.form.startswith("v2"):
        document = {
            "inputs": [{"name": "x", "shape": [1, FEATURES], "datatype": "FP32", "data": values}]
        }
    return "Content-Type: application/json\r\n", json.dumps(document).encode()


def _picture(kind: Kind, png: bytes) -> tuple[str, bytes]:
    if kind.form == "raw":
        return "Content-Type: image/png\r\n", png
    if kind.form.startswith("multipart"):
        name = kind.form.split()[1]
        part = (
            f'--b0undary\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = part.encode() + png + b"\r\n--b0undary--\r\n"
        return "Content-Type: multipart/form-data; boundary=b0undary\r\n", body
    put = {"name": "x", "shape": [1, 1], "datatype": "BYTES"}
    if kind.form == "v2 base64":
        text = base64.b64encode(png).decode()
        return "Content-Type: application/json\r\n", json.dumps(
            {"inputs": [{**put, "data": [text]}]}
        ).encode()
    item = len(png).to_bytes(4, "little") + png
    # The binary extension of the Open Inference Protocol; the answer is JSON all the same.
    header = json.dumps(
        {"inputs": [{**put, "parameters": {"binary_data_size": len(item)}}]}
    ).encode()
    head = (
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n"
    )
    return head, header + item


class Server:
    """A server that was started, and answers."""

    def __init__(
        self, kind: Kind, model: str, batch: int, process: subprocess.Popen[bytes], port: int,
        token: str | None = None,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.model = model
        self.batch = batch
        self.process = process
        self.port = port
        self.token = token
        self.requests = requests(kind, model, token)

    @property
    def label(self) -> str:
        batched = len(self.kind.batches[self.model]) > 1
        return f"{self.kind.name} (batch {self.batch})" if batched else self.kind.name

    def ask(self, request: bytes, timeout_s: float = 10) -> tuple[int, bytes]:
        """Status and body of one whole request. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.read()

    def check_answers(self) -> None:
        """Every payload once. Raises RuntimeError if an answer is not that of the bare network."""
        if self.kind.name == "constant":
            return
        for number, wanted in enumerate(expected(self.model)):
            status, body = self.ask(self.requests[number])
            if status != 200:
                raise RuntimeError(f"{self.label}: {status} {body[:500]!r}")
            found = np.array(self.kind.answer(body), np.float32).ravel()
            if found.shape != wanted.shape or not np.allclose(found, wanted, atol=1e-4):
                raise RuntimeError(f"{self.label}: payload {number}: {found} is not {wanted}")

    # -- what it costs ------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (values := _stat(int(entry.name))):
                children.setdefault(int(values[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def cpu_s(self) -> float:
        """utime and stime of all of them; of those that have ended, what their parents count."""
        total = 0
        for pid in self.pids():
            if values := _stat(pid):
                total += sum(int(values[index]) for index in (11, 12, 13, 14))
        return total / _TICKS

    def pss_mb(self) -> float:
        return sum(pss_of(pid) for pid in self.pids())


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name; None if the process is gone (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def pss_of(pid: int, kind: str = "Pss") -> float:
    """Proportional set size in MB (1e6 bytes); 0 if the process is gone. `Pss_Anon`: without what
    is mapped from files, whose share changes with every other process that maps them."""
    with contextlib.suppress(OSError):
        match = re.search(
            rf"^{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M
        )
        return int(match[1]) * 1024 / 1e6 if match else 0.0
    return 0.0


@contextlib.contextmanager
def serving(name: str, model: str, batch: int, folder: Path, peers: Path) -> Iterator[Server]:
    """Starts a server, checks its answers, ends it. `peers` holds the environments.

    Raises RuntimeError with the end of its log if it does not start or answers wrongly.
    """
    kind = KINDS[name]
    port = _free_port()
    log_path = folder / f"{name}-{model}-{batch}.log"
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(log_path.open("wb"))
        command, environ, token = _command(kind, model, batch, port, folder, peers)
        process = subprocess.Popen(
            command, env=environ, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        server = Server(kind, model, batch, process, port, token)
        stack.callback(_end, server)
        try:
            _wait_until_it_answers(server)
            server.check_answers()
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            tail = log_path.read_text(errors="replace")[-1500:]
            raise RuntimeError(f"{server.label}: {error}\n{tail}") from error
        yield server


def _command(
    kind: Kind, model: str, batch: int, port: int, folder: Path, peers: Path
) -> tuple[list[str], dict[str, str], str | None]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environ["TMPDIR"] = str(folder)
    if kind.name == "checkout":
        other = os.environ.get("BENCH_CHECKOUT", "")
        if not (Path(other) / "modelyard").is_dir():
            raise RuntimeError("BENCH_CHECKOUT has to name a folder with another modelyard/ in it")
        environ["PYTHONPATH"] = other
    if kind.name in ("modelyard", "checkout"):
        return _ours(environ, model, port, folder)
    python = sys.executable
    if kind.environment is not None:
        python = str(peers / kind.environment / "bin" / "python")
        environ.pop("PYTHONPATH", None)
    return [python, str(HERE / "peers" / kind.script), model, str(port), str(batch)], environ, None


def _ours(
    environ: dict[str, str], model: str, port: int, folder: Path
) -> tuple[list[str], dict[str, str], str | None]:
    """`modelyard serve` as it is installed: validation and metrics are always on.

    Its home has a key, which is sent with each request; a checkout of a release without keys is
    asked without. BENCH_FLAGS are more flags to start with.
    """
    paths = [environ.get("PYTHONPATH", ""), str(HERE), str(HERE / "plugin")]
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    home = folder / f"home-{model}-{port}"
    settings = folder / f"modelyard-{port}.toml"
    last = environ.get("BENCH_CHANNELS_LAST", "0")
    settings.write_text(f'[models.bench-{model}]\nenv = {{ BENCH_CHANNELS_LAST = "{last}" }}\n')
    command = [
        sys.executable, "-m", "modelyard", "serve", "--home", str(home), "--port", str(port),
        "--model-name", f"bench-{model}", "--threads", "1", "--no-warm-start", "--device", "cpu",
        "--on-stop", "cancel", "--log-level", "warning", "--config-file", str(settings),
        *environ.get("BENCH_FLAGS", "").split(),
    ]  # fmt: skip
    return command, environ, _key(environ, home)


def _key(environ: dict[str, str], home: Path) -> str | None:
    scopes = [word for scope in ("read", "predict", "train") for word in ("--scope", scope)]
    command = [sys.executable, "-m", "modelyard", "keys", "create", "bench", *scopes]
    command += ["--home", str(home)]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=START_S, check=False
    )
    if done.returncode and "No such command" not in done.stderr:
        raise RuntimeError(done.stderr)
    return done.stdout.strip() or None


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_until_it_answers(server: Server) -> None:
    until = time.monotonic() + START_S
    told = "no answer"
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise RuntimeError(f"ended with exit code {server.process.returncode}")
        try:
            status, body = server.ask(server.requests[0])
        except (OSError, http.client.HTTPException) as error:
            told = repr(error)
        else:
            if status == 200:
                return
            told = f"{status} {body[:300]!r}"
        time.sleep(0.2)
    raise RuntimeError(f"not ready after {START_S} s: {told}")


def _end(server: Server) -> None:
    """SIGTERM, and after a while SIGKILL to what is left of it: only to what we started."""
    family = server.pids()
    server.process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(STOP_S)
    for pid in family:
        # Its session is the one that was made for it: a number that was given anew is another's.
        with contextlib.suppress(ProcessLookupError):
            if pid == server.process.pid or os.getsid(pid) == server.process.pid:
                os.kill(pid, signal.SIGKILL)
    server.process.wait()
