"""CPU sets, as flags and files give them, in the processes of a real server."""

import os
import re
from pathlib import Path

from modelyard.training.paths import read_json

OURS = sorted(os.sched_getaffinity(0))


def allowed(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^Cpus_allowed_list:\s*(\S+)$", status, re.M)[1]


def test_workers_and_trainings_keep_to_the_cpus_that_are_set_for_them(start_server, tmp_path):
    file = tmp_path / "yard.toml"
    file.write_text(f"[models.counter]\ncpus = {OURS[0]}\n")
    flags = ["--config-file", str(file), "--training-cpus", str(OURS[-1])]
    server = start_server("--model-name", "counter", "--no-warm-start", *flags)
    (worker,) = server.wait_ready("counter")["workers"]
    assert allowed(worker["pid"]) == str(OURS[0])
    record = server.wait_run(server.train("counter", steps=600, seconds=0.1), "training")
    run = read_json(server.home / "runs" / record["uuid"] / "process.json")
    assert allowed(run["pid"]) == str(OURS[-1])
    assert sorted(os.sched_getaffinity(server.process.pid)) == OURS
    server.delete(record["links"]["self"])
