"""Runs the load generator (`load.c`, built on the first use) and reads what it recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from servers import Server

SOURCE = Path(__file__).with_name("load.c")
_RECORD = np.dtype([("due", "<f8"), ("done", "<f8"), ("status", "<i4"), ("request", "<i4")])


@dataclass(frozen=True)
class Load:
    """What a run of the generator saw. Times in seconds of the monotonic clock."""

    began: float
    seconds: float
    generator_cpu_s: float
    due: np.ndarray
    done: np.ndarray
    status: np.ndarray

    @property
    def answered(self) -> int:
        return int((self.status == 200).sum())

    @property
    def failed(self) -> int:
        return len(self.status) - self.answered

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds

    def latency_ms(self, share: float, status: int = 200) -> float:
        """The latency that this share of the answers of a status do not exceed; NaN without any."""
        latencies = (self.done - self.due)[self.status == status]
        return float(np.quantile(latencies, share) * 1000) if len(latencies) else float("nan")

    def counts(self) -> dict[str, int]:
        """How many of each status; below zero: see the head of `load.c`."""
        values, counts = np.unique(self.status, return_counts=True)
        return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


class Generator:
    """The built program; `folder` is for it and its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
        self._program = folder / f"load-{digest}"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("The load generator needs a C compiler: install gcc.")
        subprocess.run(
            [compiler, "-O2", "-o", self._program, SOURCE, "-lm"], check=True, timeout=120
        )

    def run(
        self, server: Server, clients: int, seconds: float,
        rate: float = 0, limit: int = 0, grace_s: float = 10,
    ) -> Load:  # fmt: skip
        """Runs it to its end; see the head of `load.c`."""
        running = self.start(server, clients, seconds, rate, limit, grace_s)
        return running.result(seconds + grace_s + 60)

    def start(
        self, server: Server, clients: int, seconds: float,
        rate: float = 0, limit: int = 0, grace_s: float = 10,
    ) -> Running:  # fmt: skip
        """Starts it; ends by itself."""
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="load-"))
        requests, records = folder / "requests", folder / "records"
        requests.write_bytes(b"".join(struct.pack("<I", len(r)) + r for r in server.requests))
        words = (server.port, clients, seconds, rate, limit, grace_s, requests, records)
        process = subprocess.Popen(
            [self._program, *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        return Running(process, records)


class Running:
    """A load that goes on."""

    def __init__(self, process: subprocess.Popen[str], records: Path) -> None:
        self._process = process
        self._records = records

    def stop(self) -> None:
        """No new requests; those under way are waited for."""
        self._process.terminate()

    def result(self, timeout_s: float) -> Load:
        """Waits for its end. Raises RuntimeError if it failed."""
        try:
            told, _ = self._process.communicate(timeout=timeout_s)
        finally:
            self._process.kill()
        if self._process.returncode:
            raise RuntimeError(f"The load generator ended with {self._process.returncode}.")
        own = json.loads(told)
        found = np.fromfile(self._records, _RECORD)
        shutil.rmtree(self._records.parent)
        return Load(
            own["began"], own["seconds"], own["cpu_s"], found["due"], found["done"], found["status"]
        )
