"""Order and places: who runs, who waits, and where in the queue."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from modelyard.errors import InvalidArguments, RunNotFound
from modelyard.records.runs import RunRecord, insert_run
from modelyard.schemas.states import Phase, Status


async def _hold_the_place(yard: Any) -> RunRecord:
    record = await yard.submit("cooperative")
    return await yard.in_phase(record, Phase.TRAINING)


async def test_runs_beyond_the_places_wait_with_their_position(yard: Any) -> None:
    await _hold_the_place(yard)
    waiting = [await yard.submit() for _ in range(3)]
    assert [record.position for record in waiting] == [1, 2, 3]
    assert [(await yard.get(record)).position for record in waiting] == [1, 2, 3]
    listed, _ = await yard.service.list("behaving")
    assert [record.position for record in listed] == [None, 1, 2, 3]


async def test_waiting_runs_start_in_the_order_of_submission(yard: Any) -> None:
    held = await _hold_the_place(yard)
    waiting = [await yard.submit() for _ in range(3)]
    await yard.service.cancel("behaving", held.id)
    done = [await yard.finished(record) for record in waiting]
    started = [record.started_at for record in done]
    assert started == sorted(started)
    assert all(a.ended_at <= b.started_at for a, b in pairwise(done))


async def test_position_moves_up_and_watchers_see_it(yard: Any) -> None:
    held = await _hold_the_place(yard)
    first, second = await yard.submit("cooperative"), await yard.submit("cooperative")
    seen = []

    async def watch() -> None:
        async for record in yard.service.changes(second.id):
            seen.append(record.position)
            if record.position is None:
                return

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    await yard.service.cancel("behaving", first.id)
    await asyncio.sleep(0.1)
    await yard.service.cancel("behaving", held.id)
    await asyncio.wait_for(watching, 20)
    assert seen == [2, 1, None]


async def test_as_many_run_at_a_time_as_there_are_places(new_yard: Any) -> None:
    yard = await new_yard(max_trainings=2, threads=1)
    records = [await yard.submit("cooperative") for _ in range(3)]
    for record in records[:2]:
        await yard.in_phase(record, Phase.TRAINING)
    assert (await yard.get(records[2])).position == 1


async def test_cancelled_waiting_run_never_starts(yard: Any) -> None:
    held = await _hold_the_place(yard)
    waiting = await yard.submit()
    cancelled = await yard.service.cancel("behaving", waiting.id)
    assert (cancelled.status, cancelled.phase) == (Status.CANCELLED, Phase.FINISHED)
    await yard.service.cancel("behaving", held.id)
    await yard.finished(held)
    await asyncio.sleep(0.3)
    after = await yard.get(waiting)
    assert after == replace(cancelled, tidied=True)
    assert not yard.paths(waiting).epoch.exists()
    assert not yard.paths(waiting).body.exists()


async def test_clock_set_back_does_not_reorder_runs(yard: Any) -> None:
    """Records with times that run backwards: list, pages and queue keep to the submission."""
    held = await _hold_the_place(yard)
    now = datetime.now(UTC)
    ids = [f"{number:032x}" for number in range(4)]
    for number, run_id in enumerate(ids):
        at = now - timedelta(days=number)
        draft = RunRecord(
            id=run_id, model="behaving", args={}, date=at.strftime("%F %T.%f"), created_at=at
        )
        await yard.store.write(lambda c, draft=draft: insert_run(c, draft))
    listed, _ = await yard.service.list("behaving")
    assert [record.id for record in listed] == [held.id, *ids]
    page, _ = await yard.service.list("behaving", limit=2)
    assert [record.id for record in page] == [ids[3], ids[2]]
    assert [(await yard.service.get("behaving", i)).position for i in ids] == [1, 2, 3, 4]


async def test_pages_hold_every_run_once_newest_first(yard: Any) -> None:
    await _hold_the_place(yard)
    for _ in range(6):
        await yard.submit()
    everything, cursor = await yard.service.list("behaving")
    assert cursor is None
    paged: list[str] = []
    while True:
        page, cursor = await yard.service.list("behaving", limit=3, cursor=cursor)
        paged += [record.id for record in page]
        if cursor is None:
            break
    assert paged == [record.id for record in reversed(everything)]


async def test_list_can_be_asked_for_one_status_and_model(yard: Any) -> None:
    done = await yard.finished(await yard.submit())
    held = await _hold_the_place(yard)
    assert [r.id for r in (await yard.service.list("behaving", status="running"))[0]] == [held.id]
    assert [r.id for r in (await yard.service.list("behaving", status="done"))[0]] == [done.id]
    assert await yard.service.list("another") == ([], None)
    with pytest.raises(RunNotFound):
        await yard.service.get("another", done.id)
    with pytest.raises(InvalidArguments):
        await yard.service.list("behaving", status="completed")
    with pytest.raises(InvalidArguments):
        await yard.service.list("behaving", limit=1, cursor="no cursor")
