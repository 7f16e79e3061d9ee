"""A forward in batches with the memory settings that plugins' processes get, and without them."""

import os
import statistics
import subprocess
import sys

from modelyard.models_plugin.environment import plugin_environment
from modelyard.models_plugin.plugin import PluginSource

ROUNDS = int(os.environ.get("MODELYARD_BENCH_ROUNDS", "5"))
_FORWARDS = """
import resource, time, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
    nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
).eval()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with torch.inference_mode():
    for size in (1, 8, 16):
        pictures = torch.rand(size, 3, 96, 96)
        for _ in range(3):
            net(pictures)
        count, before, begun = 96 // size, faults(), time.process_time()
        for _ in range(count):
            net(pictures)
        print(time.process_time() - begun, (faults() - before) / count)
"""


def _forwards(environ: dict[str, str]) -> list[tuple[float, float]]:
    done = subprocess.run(
        [sys.executable, "-c", _FORWARDS], env=environ, capture_output=True, text=True, check=True
    )
    return [tuple(map(float, line.split())) for line in done.stdout.splitlines()]  # type: ignore[misc]


def measure() -> dict[str, str]:
    """CPU and page faults of forwards with the settings (A) and without (B), in turn."""
    tuned = plugin_environment(PluginSource("m", "m:M"), {}, 1)
    plain = {k: v for k, v in tuned.items() if not k.startswith("MALLOC_")}
    rounds = [(_forwards(tuned), _forwards(plain)) for _ in range(ROUNDS)]
    figures = {}
    for index, size in enumerate((1, 8, 16)):
        ratio = statistics.median(a[index][0] / b[index][0] for a, b in rounds)
        figures[f"batch of {size}: CPU with, of without"] = f"{ratio:.2f}"
        with_, without = (statistics.median(r[i][index][1] for r in rounds) for i in (0, 1))
        figures[f"batch of {size}: page faults a forward, with; without"] = (
            f"{with_:.0f}; {without:.0f}"
        )
    return figures
