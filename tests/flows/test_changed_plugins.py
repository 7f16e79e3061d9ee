"""A model's package changes between two starts: what waited goes on with the new one."""

import os
import shutil
from pathlib import Path

from yard_waiting import wait_until

PLUGINS = Path(__file__).parents[1] / "plugins"
CODE = "from yard_fixtures.stepper import Stepper\n\n\nclass Walker(Stepper):\n    pass\n"


def install(folder: Path, module: str, version: str) -> dict[str, str]:
    """The package `walker` in its only release; the environment of a server that has it."""
    shutil.rmtree(folder, ignore_errors=True)
    info = folder / f"walker-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: walker\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[modelyard.models]\nwalker = {module}:Walker\n")
    (folder / f"{module}.py").write_text(CODE)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(PLUGINS)])}


def test_what_waits_finds_a_model_whose_code_has_moved(start_server, tmp_path):
    flags, package = ("--model-name", "walker", "--max-trainings", "1"), tmp_path / "package"
    server = start_server(*flags, env=install(package, "walker_of_old", "1.0"))
    server.wait_ready("walker")
    paused = server.train("walker", steps=200, seconds=0.02)
    checkpoints = f"/v2/models/walker/train/{paused['uuid']}/checkpoints"
    wait_until(lambda: server.get(checkpoints).json()["last"] is not None)
    assert server.post(f"{paused['links']['self']}/pause").status_code == 200
    wait_until(lambda: server.run(paused)["phase"] == "paused")
    running = server.train("walker", steps=5000, seconds=0.02)
    server.wait_run(running, "training")
    queued = server.train("walker", steps=3)
    server.kill()

    new = install(package, "walker_of_today", "2.0")
    server = start_server(*flags, env=new, home=server.home)
    assert server.run(running)["phase"] == "training", "what runs has its code"
    assert server.post(f"{paused['links']['self']}/resume").status_code == 200
    server.delete(running["links"]["self"])
    for record in (paused, queued):
        ended = server.wait_run(record)
        assert ended["status"] == "done", ended["message"]
        told = server.get(f"/v2/models/walker/weights/{ended['weights']}/lineage").json()["code"]
        assert (told["entry_point"], told["version"]) == ("walker_of_today:Walker", "2.0")
    assert "went on after step" in server.log(paused)
