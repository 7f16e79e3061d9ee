"""The finish step is made again, by itself or by hand, and the training is not."""

from __future__ import annotations

import subprocess
import sys

from modelyard.training.paths import read_json


def trainings(run) -> int:
    return len((run.paths.plugin / "trainings").read_text())


async def test_failed_finish_is_tried_again_without_training_again(new_run):
    run = new_run("count")
    await run.launch()
    await run.until(lambda: "could not be published" in run.last_words())
    run.paths.version.unlink()
    ended = await run.ended()
    assert ended["status"] == "done", ended
    assert run.paths.version_manifest.exists() and trainings(run) == 1


async def test_finish_that_keeps_failing_is_told_and_can_be_made_later(new_run):
    run = new_run("count")
    await run.launch()
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", "publish_failed")
    run.paths.version.unlink()
    await run.launch(epoch=2)
    assert (await run.ended())["status"] == "done"
    assert trainings(run) == 1


async def test_finish_works_by_hand_and_again_gives_the_same_version(new_run):
    run = new_run("finish")
    await run.launch()
    await run.ended()
    version = read_json(run.paths.result)["version"]
    run.paths.result.unlink()
    command = [sys.executable, "-m", "modelyard.training.finish", str(run.paths.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version
    assert read_json(run.paths.result)["output"] == {"final": 0.9}


async def test_run_that_is_not_trained_cannot_be_finished(new_run):
    run = new_run("finish")
    command = [sys.executable, "-m", "modelyard.training.finish", str(run.paths.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "not been trained" in done.stderr
