"""However a run ends badly, its exit record says how, and nothing of it is left."""

from __future__ import annotations

import os
import signal

import pytest

from modelyard.training.ending import judge
from modelyard.training.identity import Identity
from modelyard.training.paths import read_json


async def test_killed_run_process_is_told_as_process_died(new_run):
    run = new_run("deaf")
    await run.launch()
    await run.in_phase("training")
    os.kill(run.identity("process").pid, signal.SIGKILL)
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", "process_died")
    assert ended["signal"] == "SIGKILL" and "out of memory" in ended["message"]
    await run.gone(within_s=2)


@pytest.mark.parametrize(
    ("how", "reason", "words"),
    [
        ("raise", "plugin_failed", "the reason"),
        ("bad_data", "invalid_data", "train.txt:7: label 12 is out of range"),
        ("memory", "out_of_memory", "MemoryError"),
        ("huge_step", "plugin_failed", "ValueError: the step"),
        ("bad_name", "plugin_failed", "ValueError: the name of a metric"),
        ("bad_progress", "plugin_failed", "ValueError: progress"),
        ("exit", "process_died", "last words before exiting"),
        ("segfault", "process_died", "SIGSEGV"),
    ],
)
async def test_failed_training_tells_its_reason(new_run, how, reason, words):
    run = new_run(how)
    await run.launch()
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", reason)
    assert words in ended["message"]


async def test_failed_training_leaves_its_traceback_in_the_log_and_the_result(new_run):
    run = new_run("raise")
    await run.launch()
    await run.ended()
    error = read_json(run.paths.result)["error"]
    assert error["original_type"] == "KeyError"
    assert "in _raise" in error["traceback"] and "in _raise" in run.paths.log.read_text()


async def test_file_and_line_of_bad_data_are_kept(new_run):
    run = new_run("bad_data")
    await run.launch()
    await run.ended()
    error = read_json(run.paths.result)["error"]
    assert (error["file"], error["line"]) == ("train.txt", 7)


async def test_plugin_that_cannot_be_imported_fails_the_run_with_its_name(new_run):
    run = new_run(module="no_such_module:Thing")
    await run.launch()
    ended = await run.ended()
    assert ended["reason"] == "plugin_failed" and "no_such_module" in ended["message"]


async def test_children_left_after_a_good_end_are_killed(new_run):
    run = new_run("leave_children")
    await run.launch()
    assert (await run.ended())["status"] == "done"
    await run.gone(within_s=2)


async def test_thread_that_the_plugin_left_does_not_keep_the_run_from_ending(new_run):
    run = new_run("linger")
    await run.launch()
    assert (await run.ended(within_s=8))["status"] == "done"


async def test_output_without_json_form_does_not_lose_the_training(new_run):
    run = new_run("no_json")
    await run.launch()
    ended = await run.ended()
    assert ended["status"] == "done" and "not in the record" in ended["message"]
    assert run.paths.version_manifest.exists()


async def test_killed_supervisor_takes_all_of_its_run_along(new_run):
    run = new_run("family")
    await run.launch()
    await run.until((run.paths.plugin / "ready").exists)
    os.kill(run.identity("supervisor").pid, signal.SIGKILL)
    await run.gone(within_s=20)
    assert not run.executor.alive(run.paths)
    assert not run.paths.exit.exists()
    assert judge(run.paths, 1, None).reason == "interrupted"


async def test_killed_supervisor_takes_along_what_cannot_be_told_by_its_environment(new_run):
    run = new_run("unmarked")
    await run.launch()
    await run.until((run.paths.plugin / "ready").exists)
    unmarked = Identity.of(int((run.paths.plugin / "unmarked").read_text()))
    assert unmarked.pid not in run.living(), "the test needs a process without the run's id"
    supervisor = run.identity("supervisor")
    os.kill(supervisor.pid, signal.SIGKILL)
    await run.until(lambda: not supervisor.alive())
    await run.executor.sweep(run.paths)
    assert not unmarked.alive()
    assert run.living() == []


async def test_sweep_ends_what_a_dead_supervisor_and_a_dead_guardian_have_left(new_run):
    run = new_run("family")
    await run.launch()
    await run.until((run.paths.plugin / "ready").exists)
    process = run.identity("process")
    guardian = Identity.from_data(read_json(run.paths.supervisor)["guardian"])
    for one in (guardian, run.identity("supervisor")):
        assert one.signal(signal.SIGKILL)
    await run.until(lambda: not process.alive())
    assert await run.executor.sweep(run.paths) > 0
    assert run.living() == []


async def test_killed_guardian_harms_no_run(new_run):
    run = new_run("cooperative", seconds=1.0)
    await run.launch()
    await run.in_phase("training")
    guardian = Identity.from_data(read_json(run.paths.supervisor)["guardian"])
    assert guardian.signal(signal.SIGKILL)
    assert (await run.ended())["status"] == "done"


async def test_sweep_leaves_a_living_run_alone(new_run):
    run = new_run("cooperative")
    await run.launch()
    await run.in_phase("training")
    assert await run.executor.sweep(run.paths) == 0
    assert run.executor.alive(run.paths)


async def test_supervisor_that_gets_sigterm_ends_its_run_as_interrupted(new_run):
    run = new_run("cooperative")
    await run.launch()
    await run.in_phase("training")
    os.kill(run.identity("supervisor").pid, signal.SIGTERM)
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", "interrupted")
