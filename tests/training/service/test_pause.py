"""Pause and resume that meet something else: a cancel, an end, another resume, a server's end."""

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import Busy, RunConflict
from modelyard.schemas.states import Phase, Status
from modelyard.training.messages import Control
from modelyard.training.paths import RunPaths, read_json, write_json
from modelyard.training.resuming import carry_over, count_interruption
from modelyard.training.stopping import request_pause

from .test_resume import at_step, check_ended_as_unbroken, resume


@pytest.mark.parametrize("pause_first", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_pause_and_cancel_at_once_cancel(yard: Any, pause_first: bool) -> None:
    record = await yard.walk(steps=1000)
    await at_step(yard, record, 2)
    asks = [yard.service.pause, yard.service.cancel]
    if not pause_first:
        asks.reverse()
    answers = await asyncio.gather(
        *(ask("behaving", record.id) for ask in asks), return_exceptions=True
    )
    assert not [a for a in answers if isinstance(a, Exception) and not isinstance(a, RunConflict)]
    ended = await yard.finished(record, 10)
    assert ended.status is Status.CANCELLED
    await yard.gone(record)
    with pytest.raises(RunConflict, match="cancelled"):
        await yard.service.pause("behaving", record.id)


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(9))])
async def test_pause_at_any_moment_pauses_or_the_run_is_done(yard: Any, seed: int) -> None:
    """From the submission to the end, and again after each time it goes on."""
    chance = random.Random(seed)
    record = await yard.walk(steps=8, seconds=0.01, save_every=3)
    for _ in range(4):
        await asyncio.sleep(chance.uniform(0.0, 0.7))
        try:
            await yard.service.pause("behaving", record.id)
        except RunConflict as refusal:
            assert "publishing" in refusal.message or "done" in refusal.message
        now = await yard.until(record, lambda now: now.ended or now.phase is Phase.PAUSED)
        if now.ended:
            break
        assert now.message is None or "Paused" in now.message
        await yard.gone(record)
        await yard.service.go_on("behaving", record.id)
    await check_ended_as_unbroken(yard, record, 8)


async def test_of_two_that_resume_at_once_one_is_told_that_there_is_nothing(yard: Any) -> None:
    record = await yard.walk(steps=1000)
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    twice = [yard.service.go_on("behaving", record.id) for _ in range(2)]
    first, second = await asyncio.gather(*twice, return_exceptions=True)
    assert {type(first), type(second)} >= {RunConflict}
    await yard.until(record, lambda now: now.attempt == 2 and now.phase is Phase.TRAINING)
    await yard.service.cancel("behaving", record.id)
    ended = await yard.finished(record)
    again = await asyncio.gather(*(resume(yard, ended) for _ in range(2)), return_exceptions=True)
    assert len([one for one in again if isinstance(one, RunConflict)]) == 1
    assert len(list(yard.home.runs.iterdir())) == 2, "the one that was refused left a folder"


@pytest.mark.slow
async def test_server_that_stops_resumes_nothing(new_yard: Any) -> None:
    yard = await new_yard()
    record, other = await yard.walk(steps=3), await yard.submit("cooperative")
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    await yard.in_phase(other, Phase.TRAINING)
    await yard.service.close()
    with pytest.raises(Busy):
        await yard.service.go_on("behaving", record.id)
    await yard.stop()
    yard = await new_yard(max_trainings=2)
    assert (await yard.service.go_on("behaving", record.id)).phase is Phase.QUEUED
    await check_ended_as_unbroken(yard, record, 3)


async def test_promised_pause_is_kept_by_the_next_server(new_yard: Any) -> None:
    """The server is killed right after the answer, and then the run's processes."""
    yard = await new_yard()
    record = await yard.walk(steps=1000)
    await at_step(yard, record, 6)
    yard.supervisor(record).signal(signal.SIGSTOP)  # it takes up nothing any more
    await yard.service.pause("behaving", record.id)
    # A server that stops asks as well, but takes back no pause.
    await yard.service._lives[record.id].pause(resumes_by_itself=True)
    await yard.stop()
    yard.kill_all()
    yard = await new_yard()
    paused = await yard.in_phase(record, Phase.PAUSED)
    assert "goes on from its checkpoint of step" in paused.message
    await yard.gone(record)


async def test_pause_of_a_run_that_was_never_launched_is_kept(new_yard: Any) -> None:
    """The server died between `starting` in the record and the launch, the pause in between."""
    yard = await new_yard()
    held = await yard.submit("cooperative")
    await yard.in_phase(held, Phase.TRAINING)
    record = await yard.walk(steps=3)
    claimed = await yard.service._moves.claim_next()
    await request_pause(yard.executor, yard.paths(record), claimed, False)
    await yard.stop()
    yard = await new_yard()
    await yard.in_phase(record, Phase.PAUSED)
    await yard.service.cancel("behaving", held.id)
    await yard.service.go_on("behaving", record.id)
    await check_ended_as_unbroken(yard, record, 3)


@pytest.mark.slow
async def test_run_that_cannot_be_started_again_for_a_while_goes_on(yard: Any) -> None:
    record = await yard.walk(steps=12)
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    paths = yard.paths(record)
    order = read_json(paths.run)
    assert order is not None
    gone = {**order, "source": {**order["source"], "python": "/nowhere/python"}}
    write_json(paths.run, gone, mode=0o600)
    await yard.service.go_on("behaving", record.id)
    waiting = await yard.in_phase(record, Phase.RETRY_WAIT)
    assert "is gone" in waiting.message and "Going on from its checkpoint" in waiting.message
    write_json(paths.run, order, mode=0o600)
    await check_ended_as_unbroken(yard, record, 12)


def test_stop_of_the_server_is_no_interruption(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert [count_interruption(paths, epoch) for epoch in (1, 2)] == [1, 2]
    write_json(paths.control, Control(3, "stop", reason="interrupted").to_data())
    assert count_interruption(paths, 3) == 0
    assert count_interruption(paths, 4) == 3


def test_checkpoint_is_carried_over_with_all_that_the_model_saved(tmp_path: Path) -> None:
    """Whatever the names: only what a kill cut off is left behind."""
    old, new = RunPaths(tmp_path / "old"), RunPaths(tmp_path / "new")
    state = old.checkpoint(5) / "state"
    state.mkdir(parents=True)
    (state / "optimizer.old").write_text("kept")
    (old.checkpoints / ".0000000006.1.tmp").mkdir()
    old.checkpoints_index.write_text(json.dumps({"last": 5}))
    new.root.mkdir()
    carry_over(old, new)
    assert (new.checkpoint(5) / "state" / "optimizer.old").samefile(state / "optimizer.old")
    assert sorted(path.name for path in new.checkpoints.iterdir()) == [
        new.checkpoint(5).name, "index.json",
    ]  # fmt: skip
