"""DEEPaaS modules: the cost of their adapter, and ten of them on one server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yard import Yard, cpu_us, pss_mb, quartiles, yard

ROUNDS = 12
CALLS = 1000
MODELS = 10
PLUGINS = Path(__file__).parent / "plugins"


def _cost(server: Yard, model: str) -> float:
    """CPU microseconds of front and worker for one prediction over HTTP."""
    worker = server.ask("GET", f"/v2/models/{model}/")["workers"][0]["pid"]
    before = cpu_us(server.process.pid) + cpu_us(worker)
    for _ in range(CALLS):
        server.ask("POST", f"/v2/models/{model}/predict/", {"x": 1})
    return (cpu_us(server.process.pid) + cpu_us(worker) - before) / CALLS


def measure() -> dict[str, str]:
    """A trivial prediction by a native plugin (A) and an old module (B), in turn; ten models."""
    native, old = [], []
    with yard("--model-name", "trivial,old-trivial", "--no-warm-start") as server:
        for model in ("trivial", "old-trivial"):
            server.wait_ready(model)
            _cost(server, model)
        for _ in range(ROUNDS):
            native.append(_cost(server, "trivial"))
            old.append(_cost(server, "old-trivial"))
    ratios = [b / a for a, b in zip(native, old, strict=True)]
    with _ten_models() as (folder, names):
        path = os.pathsep.join([str(folder), str(PLUGINS)])
        with yard("--model-name", ",".join(names), "--no-warm-start", path=path) as server:
            workers = []
            for name in names:
                server.wait_ready(name)
                server.ask("POST", f"/v2/models/{name}/predict/", {"x": 1})
                workers.append(server.ask("GET", f"/v2/models/{name}/")["workers"][0]["pid"])
            front, each = pss_mb(server.process.pid), [pss_mb(pid) for pid in workers]
    return {
        "CPU of front and worker, native, us": quartiles(native),
        "CPU of front and worker, old module, us": quartiles(old),
        "ratio old / native": quartiles(ratios),
        f"front with {MODELS} models, MB": f"{front:.1f}",
        f"worker of each of {MODELS}, largest, MB": f"{max(each):.1f}",
    }


@contextmanager
def _ten_models() -> Iterator[tuple[Path, list[str]]]:
    """A folder with a distribution that offers the old module under ten names."""
    names = [f"old-{number}" for number in range(MODELS)]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        info = folder / "bench_ten-0.1.dist-info"
        info.mkdir()
        points = "".join(f"{name} = bench_old\n" for name in names)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-ten\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[deepaas.v2.model]\n{points}")
        yield folder, names
        shutil.rmtree(info)
