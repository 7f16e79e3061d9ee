"""Predict latency alone and beside a training that uses every core, in turn."""

import contextlib
import time
from pathlib import Path

from yard import Yard, cpu_us, percentile, quartiles, yard

ROUNDS = 30
CALLS = 200
WAIT_S = 10.0
OTHERS = 0.15
"""Cores that other processes of the machine may use in a round that counts."""


class Turns:
    """Rounds of calls, and what else ran meanwhile."""

    def __init__(self, server: Yard) -> None:
        self.server = server
        self.others = 0.0

    def latencies(self) -> list[float]:
        """Milliseconds of each call on one kept connection."""
        started, busy, ours = time.perf_counter(), _busy_s(), self._ours_s()
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            self.server.ask("POST", "/v2/models/trivial/predict/", {"x": 1})
            times.append((time.perf_counter() - began) * 1000)
        foreign = _busy_s() - busy - (self._ours_s() - ours)
        self.others = max(self.others, foreign / (time.perf_counter() - started))
        return times

    def wait(self) -> None:
        """Until the machine is quiet, at most for a while."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            busy, ours = _busy_s(), self._ours_s()
            time.sleep(0.15)
            if _busy_s() - busy - (self._ours_s() - ours) <= OTHERS * 0.15:
                return

    def _ours_s(self) -> float:
        used = time.process_time()
        for pid in self.server.family():
            with contextlib.suppress(OSError):  # it has just ended
                used += cpu_us(pid) / 1e6
        return used


def _busy_s() -> float:
    """What all processes have used of all cores (proc(5), stat: hundredths of seconds)."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / 100


def measure() -> dict[str, str]:
    """A trivial model's predict over HTTP, alone (A) and beside a training on every core (B).

    Rounds in which others used the machine too do not count.
    """
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    with yard("--model-name", "trivial,burner") as server:
        for model in ("trivial", "burner"):
            server.wait_ready(model)
        Turns(server).latencies()
        for _ in range(ROUNDS):
            turns = Turns(server)
            turns.wait()
            before = turns.latencies()
            record = server.ask("POST", "/v2/models/burner/train/", {"seconds": 120})
            server.wait_run(record, "training")
            time.sleep(0.3)
            during = turns.latencies()
            server.ask("DELETE", record["links"]["self"])
            server.wait_run(record)
            if turns.others <= OTHERS:
                alone.append(before)
                beside.append(during)
    if len(alone) < 3:
        return {"rounds that count": f"{len(alone)} of {ROUNDS}: too many others use this machine"}
    ratio50 = [percentile(b, 0.5) / percentile(a, 0.5) for a, b in zip(alone, beside, strict=True)]
    ratio99 = [
        percentile(b, 0.99) / percentile(a, 0.99) for a, b in zip(alone, beside, strict=True)
    ]
    times = {
        name: [value for round_ in rounds for value in round_]
        for name, rounds in (("alone", alone), ("beside a training", beside))
    }
    return {
        "rounds that count": f"{len(alone)} of {ROUNDS}",
        **{
            f"{name}, ms: median, p99": f"{percentile(t, 0.5):.2f}, {percentile(t, 0.99):.2f}"
            for name, t in times.items()
        },
        "ratio beside / alone of the medians": quartiles(ratio50),
        "ratio beside / alone of the p99": quartiles(ratio99),
    }
