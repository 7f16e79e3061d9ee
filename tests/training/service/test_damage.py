"""A training that damages what the server keeps of it is told what it did, and ends."""

import asyncio
import os
import threading
from typing import Any

import pytest

from modelyard.training.checkpoints import Checkpoints
from modelyard.training.log_limit import read_log
from modelyard.training.metrics import read_series
from modelyard.training.paths import RunPaths, write_json

FAILED = {
    "whole_folder": "Its folder is gone: the training itself may have removed it. train() may",
    "whole_folder_then_save": "Its folder is gone",
    "checkpoints": "train() has removed the weights of its checkpoint of step 1. train() may",
    "best_emptied": "train() has removed the weights of its checkpoint of step 1",
    "checkpoints_are_a_file": "the run's folder checkpoints was removed or replaced",
    "checkpoint_within": "its folder `weights` was removed or replaced. Write into the folders",
    "weights_within": "its folder `weights` was removed or replaced",
    "nested": "step 2 was begun within that of step 1: end one `with run.checkpoint(...)` before",
    "nested_same": "step 1 was begun within that of step 1",
    "subfolder": "it has no folder `weights/layers`. Make it first: mkdir(parents=True)",
    "reads_another": "no such data",
    "run_json": "Its folder is damaged (run.json is missing). train() may change",
    "run_json_spoilt": "Its folder is damaged (run.json is not as the server wrote it)",
}
DONE = (
    *("checkpoints_then_save", "best_then_save", "state_within", "index_spoilt"),
    *("index_spoilt_then_save", "lineage_spoilt", "lineage", "epoch", "epoch_other"),
    *("supervisor_json", "supervisor_spoilt", "stop", "result_forged", "exit_forged"),
    *("control_forged", "status_folder", "metrics_gone", "own_folder"),
    *("events", "pipes", "links"),
)
"""What does no harm to what was trained."""


async def test_a_training_that_damages_its_folder_is_told_what_it_did(new_yard: Any) -> None:
    yard = await new_yard(max_trainings=3, publish_limit_s=2.0)
    runs = {how: await yard.submit(how, plugin="damaging:Damaging") for how in FAILED}
    for how, words in FAILED.items():
        ended = await yard.finished(runs[how])
        assert (ended.status.value, ended.weights) == ("error", None), (how, ended.message)
        assert words in ended.message, (how, ended.message)


async def test_what_can_be_made_good_loses_no_training(new_yard: Any) -> None:
    yard = await new_yard(max_trainings=3, publish_limit_s=2.0)
    runs = {how: await yard.submit(how, plugin="damaging:Damaging") for how in DONE}
    for how in DONE:
        ended = await yard.finished(runs[how])
        assert ended.status.value == "done", (how, ended.message)
        version = await yard.versions.get("behaving", ended.weights)
        assert [path.name for path in (version.folder).iterdir()] == ["weights.txt"], how
    paths = yard.paths(runs["pipes"])
    assert list((await asyncio.to_thread(read_series, paths.metrics)).series) == ["loss"]
    for path in (paths.metrics, paths.log):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    async with asyncio.timeout(30):  # nobody waits for a writer of these
        assert (await asyncio.to_thread(read_series, paths.metrics)).series == {}
        assert await asyncio.to_thread(read_log, paths.log, 0, 100) == (b"", 0)


def test_another_thread_waits_until_a_checkpoint_is_saved(tmp_path: Any) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.root.mkdir()
    write_json(paths.run, {"id": "x"})
    checkpoints, begun = Checkpoints(paths), threading.Event()

    def save(step: int) -> None:
        with checkpoints.save(step, None, True, None) as folder:
            begun.set()
            (folder.weights / "weights.txt").write_text(str(step))

    other = threading.Thread(target=save, args=(2,))
    with checkpoints.save(1, None, True, None) as folder:
        other.start()
        assert not begun.wait(0.3), "it has its turn when this one is whole"
        (folder.weights / "weights.txt").write_text("1")
    other.join(30)
    assert checkpoints.index.last == 2
    within = checkpoints.save(3, None, True, None)
    with pytest.raises(ValueError, match="within that of step 3"), within:
        save(4)
    assert checkpoints.index.last == 2
