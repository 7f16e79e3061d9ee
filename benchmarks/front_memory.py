"""Memory of the front and of a worker without torch."""

import time

from yard import pss_mb, yard

CALLS = 20_000


def measure() -> dict[str, str]:
    """Proportional set size after start, and its growth over many predictions."""
    with yard("--model-name", "trivial", "--no-warm-start") as server:
        server.wait_ready("trivial")
        worker = server.ask("GET", "/v2/models/trivial/")["workers"][0]["pid"]
        for _ in range(500):
            server.ask("POST", "/v2/models/trivial/predict/", {"x": 1})
        front, child = pss_mb(server.process.pid), pss_mb(worker)
        started = time.perf_counter()
        for _ in range(CALLS):
            server.ask("POST", "/v2/models/trivial/predict/", {"x": 1})
        seconds = time.perf_counter() - started
        grown = pss_mb(server.process.pid) - front
        grown_child = pss_mb(worker) - child
    return {
        "front, MB": f"{front:.1f}",
        "worker of a trivial model, MB": f"{child:.1f}",
        f"growth of the front over {CALLS} predictions, kB per 1000": f"{grown / CALLS * 1e6:.1f}",
        "growth of the worker, kB per 1000": f"{grown_child / CALLS * 1e6:.1f}",
        "predictions per second, one connection": f"{CALLS / seconds:.0f}",
    }
