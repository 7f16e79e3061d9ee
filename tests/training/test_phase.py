"""Which phase a run shows, by what its plugin says and does not say."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.training.paths import read_json


async def test_training_that_says_nothing_is_shown_as_training_after_a_second(new_run):
    run = new_run("silent")
    await run.launch()
    await run.until(run.paths.status.exists)
    assert read_json(run.paths.status)["phase"] == "starting"
    await run.in_phase("training", within_s=5)


@pytest.mark.parametrize(("how", "phase"), [("reading", "starting"), ("evaluating", "evaluating")])
async def test_phase_of_a_plugin_that_speaks_is_not_guessed(new_run, how, phase):
    run = new_run(how)
    await run.launch()
    await run.until(lambda: (read_json(run.paths.status) or {}).get("phase") == phase)
    await run.until(lambda: "how=" in run.paths.log.read_text())
    await asyncio.sleep(2)  # twice as long as silence is taken for starting
    assert read_json(run.paths.status)["phase"] == phase
