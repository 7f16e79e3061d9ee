"""Predict latency alone and beside a training that uses every core, in turn."""

import time

from yard import Yard, percentile, quartiles, yard

ROUNDS = 5
CALLS = 400


def _latencies(server: Yard) -> list[float]:
    """Milliseconds of each call on one kept connection."""
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        server.ask("POST", "/v2/models/trivial/predict/", {"x": 1})
        times.append((time.perf_counter() - started) * 1000)
    return times


def measure() -> dict[str, str]:
    """A trivial model's predict over HTTP, alone (A) and beside a training on every core (B)."""
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    with yard("--model-name", "trivial,burner") as server:
        for model in ("trivial", "burner"):
            server.wait_ready(model)
        _latencies(server)
        for _ in range(ROUNDS):
            alone.append(_latencies(server))
            record = server.ask("POST", "/v2/models/burner/train/", {"seconds": 120})
            server.wait_run(record, "training")
            time.sleep(0.3)
            beside.append(_latencies(server))
            server.ask("DELETE", record["links"]["self"])
            server.wait_run(record)
    ratio50 = [percentile(b, 0.5) / percentile(a, 0.5) for a, b in zip(alone, beside, strict=True)]
    ratio99 = [
        percentile(b, 0.99) / percentile(a, 0.99) for a, b in zip(alone, beside, strict=True)
    ]
    times = {
        name: [value for round_ in rounds for value in round_]
        for name, rounds in (("alone", alone), ("beside a training", beside))
    }
    return {
        **{
            f"{name}, ms: median, p99": f"{percentile(t, 0.5):.2f}, {percentile(t, 0.99):.2f}"
            for name, t in times.items()
        },
        "ratio beside / alone of the medians": quartiles(ratio50),
        "ratio beside / alone of the p99": quartiles(ratio99),
    }
