"""A plugin task process: loads one plugin, does one task, ends. Started by the front.

    python -m modelyard.serving.task_process --fd N --parent PID

The descriptor is of a file in memory: the order is in it at first, the answer at the end. So the
front waits for nothing but the end of this process, whatever the plugin does with its descriptors
or leaves running. Python 3.8 syntax, standard library and marshmallow only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import ModelyardError
from ..models_plugin.aftercare import out_of_reach
from ..models_plugin.answers import json_bytes
from ..models_plugin.loading import open_plugin
from ..models_plugin.memory import limit_memory
from ..models_plugin.plugin import PluginSource
from ..models_plugin.refusals import told
from ..models_plugin.tasks import TASKS
from .failures import failed
from .worker import begin

_NICE = 5
"""Predictions go first; but somebody waits for this too, who at 19 would wait for minutes."""


def perform(order: dict[str, Any]) -> bytes:
    """The answer as JSON: `{"result"}`, or `{"error", "message", "details"}` of our family."""
    try:
        limit_memory(order.get("memory_limit", 0))
        sys.path.extend(entry for entry in order["path"] if entry not in sys.path)
        plugin = open_plugin(PluginSource.from_data(order["source"]))
        return json_bytes({"result": TASKS[order["task"]](plugin, order["parameters"])})
    except BaseException as error:  # SystemExit of a plugin is its failure, not our way out
        ours = error if isinstance(error, ModelyardError) else told(error, f"doing {order['task']}")
        said = failed(0, ours)
        return json.dumps(
            {"error": said.error, "message": said.message, "details": said.details}
        ).encode()


def main() -> None:
    """The entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    begin(arguments.parent)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):  # of the session, where nice alone has no effect: sched(7)
        Path("/proc/self/autogroup").write_text(str(_NICE))
    with contextlib.suppress(OSError):  # when memory runs out: this process first, not the server
        Path("/proc/self/oom_score_adj").write_text("500")
    descriptor = out_of_reach(arguments.fd)
    os.close(arguments.fd)
    order = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    answer = perform(order)
    os.ftruncate(descriptor, 0)
    done = 0
    while done < len(answer):
        done += os.pwrite(descriptor, answer[done:], done)
    sys.stdout.flush()
    os._exit(0)  # threads that the plugin has started would keep the process


if __name__ == "__main__":
    main()
