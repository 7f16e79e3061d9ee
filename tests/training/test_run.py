"""A run from its launch to its exit record, in real processes."""

from __future__ import annotations

import json

from modelyard.training.metrics import read_series
from modelyard.training.paths import read_json


async def test_run_ends_done_with_a_version_of_its_weights(new_run):
    run = new_run("finish", steps=5)
    await run.launch()
    ended = await run.ended()
    assert (ended["status"], ended["reason"], ended["exit_code"]) == ("done", "completed", 0)
    result = read_json(run.paths.result)
    assert result["output"] == {"final": 0.9} and result["metrics"] == {"accuracy": 0.9}
    manifest = read_json(run.paths.version_manifest)
    assert manifest["id"] == result["version"] and manifest["run"] == run.paths.id
    assert [file["path"] for file in manifest["files"]] == ["weights.txt"]
    assert (run.paths.version_files / "weights.txt").read_text() == "trained"
    assert (manifest["step"], manifest["checkpoint"]) == (5, "best")


async def test_everything_reported_is_on_disk_when_the_run_has_ended(new_run):
    run = new_run("finish", steps=50)
    await run.launch()
    await run.ended()
    series = read_series(run.paths.metrics)
    assert [step for step, _, _ in series.series["loss"]] == list(range(1, 51))
    status = read_json(run.paths.status)
    assert (status["phase"], status["step"], status["done"]) == ("publishing", 50, 50.0)
    assert status["best"] == {"step": 50, "metric": 0.9, "metrics": {"accuracy": 0.9}}
    log = run.paths.log.read_text()
    assert log.index("how=finish") < log.index("printed")
    assert len(list(run.paths.events.iterdir())) == 1


async def test_large_output_is_a_file_in_the_folder_of_the_run(new_run):
    run = new_run("large")
    run.paths.plugin.mkdir()
    (run.paths.plugin / "output.json").write_text("the plugin's own")
    await run.launch()
    assert (await run.ended())["status"] == "done"
    output = read_json(run.paths.result)["output"]
    assert set(output) == {"note", "file", "size"} and output["file"] == "output-2.json"
    kept = run.paths.plugin / output["file"]
    assert kept.stat().st_size == output["size"]
    assert json.loads(kept.read_bytes()) == {"text": "x" * (1 << 20)}
    assert (run.paths.plugin / "output.json").read_text() == "the plugin's own"


async def test_weights_that_are_not_on_this_disk_are_told_with_what_to_do(new_run):
    run = new_run("far_weights")
    await run.launch()
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", "invalid_data")
    assert "modelyard weights pull behaving " + "a" * 32 in ended["message"]
    assert "an argument" in ended["message"]
