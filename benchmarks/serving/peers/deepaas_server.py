"""DEEPaaS 2.6: `deepaas_server.py KIND PORT BATCH`. It has no batching.

One worker, by its own command `deepaas-run`.
"""

import os
import sys
import tempfile
from pathlib import Path

KIND, PORT = sys.argv[1], sys.argv[2]
folder = Path(tempfile.mkdtemp(prefix="deepaas-"))
info = folder / "bench_deepaas-0.1.dist-info"
info.mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-deepaas\nVersion: 0.1\n")
(info / "entry_points.txt").write_text("[deepaas.v2.model]\nbench = deepaas_model\n")
here = Path(__file__).resolve().parent
os.environ |= {
    "BENCH_KIND": KIND,
    "PYTHONPATH": os.pathsep.join(map(str, (folder, here, here.parent))),
}
command = [
    sys.executable, str(Path(sys.executable).with_name("deepaas-run")), "--listen-ip", "127.0.0.1",
    "--listen-port", PORT, "--model-name", "bench", "--workers", "1", "--nodoc-endpoint",
]  # fmt: skip
os.execv(sys.executable, command)
