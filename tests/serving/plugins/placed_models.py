"""A model that tells which CPUs its process got, and what it starts."""

import os
import re
import subprocess
import sys
from pathlib import Path

from modelyard.models_plugin import Model

AT_IMPORT = sorted(os.sched_getaffinity(0))
CHILD = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def allowed(status):
    return re.search(r"^Cpus_allowed_list:\s*(\S+)$", status.read_text(), re.M)[1]


class Placed(Model):
    """Ends with its worker, and its child too."""

    weights_optional = True

    def predict(self):
        tasks = Path("/proc/self/task").iterdir()
        return {
            "at_import": AT_IMPORT,
            "tasks": sorted({allowed(task / "status") for task in tasks}),
            "child": allowed(Path(f"/proc/{CHILD.pid}/status")),
            "threads": os.environ["OMP_NUM_THREADS"],
        }
