"""One server's turn under a closed loop, and what two servers' alternating turns say.

Both are up all the time; the one whose turn it is not is asked nothing. Ratios are of neighbouring
turns, so that what the machine does beside falls on both.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from load import Generator
from servers import Server


@dataclass(frozen=True)
class Turn:
    """`cpu_ms` is the server's CPU time for each answer, all its processes together."""

    per_s: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    pss_mb: float
    failed: int


MEASURES = ("per_s", "cpu_ms", "p50_ms", "p99_ms", "pss_mb")


def take_turn(generator: Generator, server: Server, clients: int, seconds: float) -> Turn:
    """Raises RuntimeError if nothing was answered."""
    before = server.cpu_s()
    load = generator.run(server, clients, seconds)
    cpu_s = server.cpu_s() - before
    if not load.answered:
        raise RuntimeError(f"{server.label}: no answer of {len(load.status)}: {load.counts()}")
    return Turn(
        load.per_s, cpu_s / load.answered * 1000, load.latency_ms(0.5), load.latency_ms(0.99),
        server.pss_mb(), load.failed,
    )  # fmt: skip


def alternate(
    generator: Generator, ours: Server, peer: Server, clients: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Figures of both and ratios ours/peer: for each measure (median, lower, upper quartile)."""
    for server in (ours, peer):
        generator.run(server, clients, min(2.0, seconds))
    turns: dict[str, list[Turn]] = {"ours": [], "peer": []}
    for number in range(rounds):
        both = [("ours", ours), ("peer", peer)]
        for side, server in both if number % 2 == 0 else reversed(both):
            turns[side].append(take_turn(generator, server, clients, seconds))
    return compared(turns["ours"], turns["peer"]) | {"clients": clients, "peer": peer.label}


def compared(ours: Sequence[Turn], peer: Sequence[Turn]) -> dict[str, Any]:
    """What turns taken in pairs say."""
    told: dict[str, Any] = {"ours": {}, "theirs": {}, "ratio": {}}
    for name in MEASURES:
        a = [getattr(turn, name) for turn in ours]
        b = [getattr(turn, name) for turn in peer]
        told["ours"][name], told["theirs"][name] = quartiles(a), quartiles(b)
        told["ratio"][name] = quartiles([x / y for x, y in zip(a, b, strict=True) if y])
    told["failed"] = {"ours": sum(t.failed for t in ours), "theirs": sum(t.failed for t in peer)}
    told["turns"] = {"ours": [asdict(t) for t in ours], "theirs": [asdict(t) for t in peer]}
    return told


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, lower quartile, upper quartile)."""
    if len(values) < 2:
        return (values[0], values[0], values[0]) if values else (0.0, 0.0, 0.0)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
