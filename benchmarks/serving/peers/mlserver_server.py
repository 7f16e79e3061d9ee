"""MLServer: `mlserver_server.py KIND PORT BATCH`, by its own command `mlserver start`.

The model runs in the server's process (`parallel_workers` 0), which costs it less than a worker
beside it. A batch waits for BATCH requests or 2 ms.
"""

import json
import os
import socket
import sys
import tempfile
from pathlib import Path

KIND, PORT, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
settings = {
    "debug": False,
    "host": "127.0.0.1",
    "http_port": PORT,
    "grpc_port": free_port(),
    "metrics_port": free_port(),
    "parallel_workers": int(os.environ.get("BENCH_MLSERVER_WORKERS", "0")),
}
model = {"name": "bench", "implementation": "mlserver_model.Served"}
if BATCH > 1:
    model |= {"max_batch_size": BATCH, "max_batch_time": 0.002}
(folder / "settings.json").write_text(json.dumps(settings))
(folder / "model-settings.json").write_text(json.dumps(model))
here = str(Path(__file__).resolve().parent)
os.environ |= {"BENCH_KIND": KIND, "PYTHONPATH": here}
program = str(Path(sys.executable).with_name("mlserver"))
os.execv(sys.executable, [sys.executable, program, "start", str(folder)])
