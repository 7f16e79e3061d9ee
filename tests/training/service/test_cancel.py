"""DELETE of a run: the record is cancelled and stays, its processes go."""

import asyncio
import os
import random
import signal
from typing import Any

import pytest

from modelyard.errors import RunNotFound
from modelyard.schemas.states import Phase, Reason, Status


async def test_cancelled_run_keeps_its_record_and_its_processes_go(
    yard: Any, eventually: Any
) -> None:
    record = await yard.submit("family")
    await yard.until(record, lambda now: (yard.paths(now).plugin / "ready").exists())
    cancelled = await yard.service.cancel("behaving", record.id)
    assert (cancelled.status, cancelled.phase) == (Status.CANCELLED, Phase.CANCELLING)
    await yard.gone(record)
    finished = await yard.finished(record)
    assert (finished.status, finished.reason) == (Status.CANCELLED, Reason.CANCELLED)
    assert finished.ended_at is not None
    assert [r.id for r in (await yard.service.list("behaving"))[0]] == [record.id]


async def test_cancel_of_an_ended_run_changes_nothing(yard: Any) -> None:
    done = await yard.finished(await yard.submit())
    assert await yard.service.cancel("behaving", done.id) == done
    assert await yard.get(done) == done


async def test_cancel_of_a_cancelled_run_changes_nothing(yard: Any) -> None:
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    first = await yard.service.cancel("behaving", record.id)
    second = await yard.service.cancel("behaving", record.id)
    assert (first.status, first.rev) == (second.status, second.rev)


async def test_cancel_of_no_run_is_not_found(yard: Any) -> None:
    with pytest.raises(RunNotFound):
        await yard.service.cancel("behaving", "0" * 32)


async def test_cancel_while_starting_ends_the_run(yard: Any, eventually: Any) -> None:
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.STARTING)
    await yard.service.cancel("behaving", record.id)
    finished = await yard.finished(record)
    assert finished.status is Status.CANCELLED
    await yard.gone(record)


async def test_stopped_supervisor_does_not_keep_a_cancelled_run(new_yard: Any) -> None:
    yard = await new_yard(cancel_limit_s=1.0)
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    os.kill(yard.supervisor(record).pid, signal.SIGSTOP)
    await yard.service.cancel("behaving", record.id)
    finished = await yard.finished(record)
    assert (finished.status, finished.reason) == (Status.CANCELLED, Reason.CANCELLED)
    await yard.gone(record)


async def test_place_of_a_cancelled_run_is_free_only_when_its_processes_are_gone(
    yard: Any,
) -> None:
    first = await yard.submit("deaf")
    await yard.in_phase(first, Phase.TRAINING)
    second = await yard.submit()
    await yard.service.cancel("behaving", first.id)
    started = await yard.until(second, lambda now: now.phase is not Phase.QUEUED)
    await yard.gone(first)
    assert started.started_at >= (await yard.get(first)).created_at


async def test_cancel_and_completion_race_to_one_of_both(yard: Any) -> None:
    """Cancelled at random moments about its end, a run is cancelled or done, and stays so."""
    chance = random.Random(7)
    seen = set()
    for _ in range(8):
        record = await yard.submit()
        await yard.until(record, lambda now: now.phase is not Phase.QUEUED)
        await asyncio.sleep(chance.uniform(0.0, 0.35))
        answered = await yard.service.cancel("behaving", record.id)
        finished = await yard.finished(record)
        assert answered.status is finished.status
        seen.add(finished.status)
        version = await yard.versions.find("behaving", finished.weights or "none")
        if finished.status is Status.DONE:
            assert version is not None
            assert await yard.versions.check(version)
        else:
            assert finished.status is Status.CANCELLED
            assert (finished.weights, finished.result) == (None, None)
    listed = {one.id for one in await yard.versions.list("behaving")}
    assert {path.name for path in yard.home.weights.iterdir()} == listed
    assert seen <= {Status.DONE, Status.CANCELLED}
