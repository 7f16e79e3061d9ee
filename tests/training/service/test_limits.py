"""`max_seconds` and `restart_on_failure`: what a run may take, and what follows its failures."""

import asyncio
import json
from typing import Any

import pytest

from modelyard.errors import IdempotencyConflict
from modelyard.schemas.states import Phase, Reason, Status
from modelyard.training.options import RunLimits, TrainingOptions
from modelyard.training.paths import read_json

from .test_resume import at_step, check_ended_as_unbroken


def reasons(record: Any) -> list[str | None]:
    return [attempt.reason for attempt in record.attempts]


async def test_run_whose_time_is_over_saves_and_ends_as_time_limit(yard: Any) -> None:
    record = await yard.walk(steps=100_000, save_every=10_000, limits=RunLimits(max_seconds=1.0))
    assert record.max_seconds == 1.0
    ended = await yard.finished(record, 60)
    assert (ended.status, ended.reason) == (Status.ERROR, Reason.TIME_LIMIT)
    assert "max_seconds" in ended.message and reasons(ended) == ["time_limit"]
    saved = read_json(yard.paths(record).checkpoints_index)
    assert saved is not None and saved["last"] > 0, "should_stop let it save"
    again = await yard.service.resumption(ended)
    assert again.order.max_seconds == 1.0
    await yard.gone(record)


async def test_run_that_does_not_hear_that_its_time_is_over_is_killed_after_the_grace(
    new_yard: Any,
) -> None:
    yard = await new_yard(stop_grace_s=0.5)
    record = await yard.submit("deaf", limits=RunLimits(max_seconds=0.5))
    ended = await yard.finished(record, 60)
    assert (ended.status, ended.reason) == (Status.ERROR, Reason.TIME_LIMIT)
    await yard.gone(record)


async def test_time_in_the_queue_and_in_a_pause_does_not_count_and_attempts_add_up(
    yard: Any,
) -> None:
    held = await yard.submit("cooperative", arguments={"seconds": 2.5})
    record = await yard.walk(steps=100_000, seconds=0.01, limits=RunLimits(max_seconds=2.0))
    await yard.in_phase(held, Phase.TRAINING, 60)
    await yard.finished(held, 60)
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED, 60)
    spent = read_json(yard.paths(record).spent)
    assert spent is not None and spent["seconds"] > 0
    await yard.service.go_on("behaving", record.id)
    ended = await yard.finished(record, 60)
    assert ended.reason is Reason.TIME_LIMIT and reasons(ended) == [None, "time_limit"]
    now = read_json(yard.paths(record).spent)
    assert now is not None and now["seconds"] > max(2.0, spent["seconds"])


async def test_time_limit_does_not_undo_what_is_trained(yard: Any) -> None:
    """The finish step is not training: an attempt of it may take its time."""
    record = await yard.submit(limits=RunLimits(max_seconds=60.0))
    done = await yard.finished(record, 60)
    assert done.status is Status.DONE and reasons(done) == ["completed"]


async def test_failed_run_is_begun_again_from_its_last_checkpoint(new_yard: Any) -> None:
    yard = await new_yard(restart_wait_s=0.05)
    record = await yard.walk(steps=20, save_every=3, breaks=2, limits=RunLimits(restarts=3))
    done = await check_ended_as_unbroken(yard, record, 20)
    done = await yard.get(record) if done is None else done
    assert (done.attempt, done.restarts) == (3, 2)
    assert reasons(done) == ["plugin_failed", "plugin_failed", "completed"]
    told = [attempt.message for attempt in done.attempts]
    assert "it broke" in told[0] and "Restart 1 of 3, from its checkpoint of step 9" in told[0]
    assert all(attempt.ended_at is not None for attempt in done.attempts)


async def test_run_that_fails_again_and_again_ends_with_its_reason(new_yard: Any) -> None:
    yard = await new_yard(restart_wait_s=0.05)
    record = await yard.submit("raise", limits=RunLimits(restarts=2))
    ended = await yard.finished(record, 60)
    assert (ended.status, ended.reason) == (Status.ERROR, Reason.PLUGIN_FAILED)
    assert reasons(ended) == ["plugin_failed"] * 3


@pytest.mark.parametrize("how", ["bad_data", "finish"])
async def test_refused_data_and_a_good_end_are_no_failures_to_try_again(
    new_yard: Any, how: str
) -> None:
    yard = await new_yard(restart_wait_s=0.05)
    ended = await yard.finished(await yard.submit(how, limits=RunLimits(restarts=5)))
    assert (ended.attempt, ended.restarts) == (1, 0)


async def test_model_that_does_not_go_on_begins_anew_with_nothing_of_before(new_yard: Any) -> None:
    """Its second attempt's numbers do not follow those of the first, nor its checkpoints."""
    yard = await new_yard(restart_wait_s=0.05)
    record = await yard.submit("break_once", limits=RunLimits(restarts=1))
    done = await yard.finished(record, 60)
    assert (done.status, done.attempt) == (Status.DONE, 2)
    lines = yard.paths(record).metrics.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]


async def test_waiting_run_can_be_cancelled_paused_and_resumed_at_once(new_yard: Any) -> None:
    yard = await new_yard(restart_wait_s=600.0)
    limits = RunLimits(restarts=5)
    record = await yard.walk(steps=20, save_every=3, breaks=1, limits=limits)
    waiting = await yard.in_phase(record, Phase.RETRY_WAIT, 60)
    assert waiting.status is Status.RUNNING
    await yard.gone(record)
    other = await yard.finished(await yard.submit())
    assert other.status is Status.DONE, "a run that waits holds no place"
    paused = await yard.service.pause("behaving", record.id)
    assert paused.phase is Phase.PAUSED
    await yard.service.go_on("behaving", record.id)
    await check_ended_as_unbroken(yard, record, 20)
    record = await yard.walk(steps=20, breaks=1, limits=limits)
    await yard.in_phase(record, Phase.RETRY_WAIT, 60)
    await yard.service.cancel("behaving", record.id)
    cancelled = await yard.finished(record, 60)
    assert (cancelled.status, cancelled.reason) == (Status.CANCELLED, Reason.CANCELLED)
    assert reasons(cancelled) == ["plugin_failed"]


async def test_run_that_waits_is_begun_again_by_the_next_server(new_yard: Any) -> None:
    yard = await new_yard(restart_wait_s=600.0)
    record = await yard.walk(steps=20, save_every=3, breaks=1, limits=RunLimits(restarts=1))
    await yard.in_phase(record, Phase.RETRY_WAIT, 60)
    await yard.stop()
    yard = await new_yard(restart_wait_s=0.05)
    await check_ended_as_unbroken(yard, record, 20)
    assert (await yard.get(record)).restarts == 1


async def test_same_key_with_other_limits_is_another_request(yard: Any) -> None:
    first = await yard.submit(key="k", limits=RunLimits(max_seconds=60.0))
    again = await yard.submit(key="k", limits=RunLimits(max_seconds=60.0))
    assert again.id == first.id
    with pytest.raises(IdempotencyConflict):
        await yard.submit(key="k", limits=RunLimits(max_seconds=61.0))
    await asyncio.sleep(0)


def test_request_may_ask_for_less_time_than_the_server_gives_and_for_any_restarts() -> None:
    options = TrainingOptions(
        limit=RunLimits(100.0, 2), limits={"own": RunLimits(50.0), "patient": RunLimits(None, 7)}
    )
    assert options.limits_of("any", RunLimits()) == RunLimits(100.0, 2)
    assert options.limits_of("any", RunLimits(10.0, 0)) == RunLimits(10.0, 0)
    assert options.limits_of("any", RunLimits(1000.0, 9)) == RunLimits(100.0, 9)
    assert options.limits_of("own", RunLimits(70.0)) == RunLimits(50.0, 2)
    assert options.limits_of("patient", RunLimits()) == RunLimits(100.0, 7)
    assert TrainingOptions().limits_of("any", RunLimits()) == RunLimits(None, 0)
