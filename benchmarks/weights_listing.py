"""How long the list of a model's 10,000 weights versions takes over HTTP, by page and in all."""

import asyncio
import os
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from yard import Yard, percentile, yard

from modelyard.records.store import RecordStore
from modelyard.records.weights import WeightsRecord, insert_weights

VERSIONS = 10_000
ROUNDS = 300
MODEL = "trivial"
PATH = f"/v2/models/{MODEL}/weights/"


def measure() -> dict[str, Any]:
    """Listing 10,000 weights versions: milliseconds, at the 50th and 99th percentile."""
    with yard("--model-name", MODEL) as server:
        server.wait_ready(MODEL)
        asyncio.run(_fill(server))
        figures: dict[str, Any] = {"versions": VERSIONS}
        for label, path in {
            "first page of 100": PATH,
            "a page of 100 in the middle": f"{PATH}?cursor={VERSIONS // 2:x}",
            "first page of 1,000": f"{PATH}?limit=1000",
            "page of 100 with a tag that 1 in 100 has": f"{PATH}?tag=rare",
            "one version": PATH + _id(VERSIONS // 2),
        }.items():
            begun = _cpu_s(server)
            p50, p99 = _times(server, path)
            figures[f"{label}: CPU ms"] = round(1000 * (_cpu_s(server) - begun) / ROUNDS, 2)
            figures[f"{label}: p50 ms"] = round(p50, 2)
            figures[f"{label}: p99 ms"] = round(p99, 2)
        figures["all, page by page: s"] = round(_walk(server), 2)
        return figures


def _times(server: Yard, path: str) -> tuple[float, float]:
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        server.ask("GET", path)
        found.append(1000 * (time.perf_counter() - begun))
    return statistics.median(found), percentile(found, 0.99)


def _cpu_s(server: Yard) -> float:
    """What the front has used; unlike the times it is much the same on a busy machine."""
    stat = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _walk(server: Yard) -> float:
    begun = time.perf_counter()
    seen, cursor = 0, f"{VERSIONS + 1:x}"
    while page := server.ask("GET", f"{PATH}?limit=1000&cursor={cursor}")["weights"]:
        seen += len(page)
        cursor = f"{VERSIONS - seen + 1:x}"
    if seen != VERSIONS:
        raise RuntimeError(f"{seen} versions were listed")
    return time.perf_counter() - begun


async def _fill(server: Yard) -> None:
    """Writes the records beside the server: what it lists is what the database has."""
    store = RecordStore(server.home / "records.db")
    await store.open()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    files = [
        {"path": f"part{place}.safetensors", "size": 10**8, "sha256": f"{place:064x}"}
        for place in range(4)
    ]
    for start in range(0, VERSIONS, 1000):

        def work(connection: Any, start: int = start) -> None:
            for number in range(start + 1, start + 1001):
                record = WeightsRecord(
                    id=_id(number),
                    model=MODEL,
                    created_at=begin + timedelta(minutes=number),
                    run=_id(number),
                    step=number,
                    checkpoint="best",
                    metrics={"accuracy": number / VERSIONS, "loss": 1 / number},
                    files=files,
                    size=4 * 10**8,
                    tags=["rare"] if number % 100 == 0 else [],
                )
                insert_weights(connection, record)

        await store.write(work)
    await store.close()


def _id(number: int) -> str:
    return f"{number:032x}"
