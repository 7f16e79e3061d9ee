"""Ended runs are removed for good, and nothing else is."""

import asyncio
import sqlite3

import pytest

from modelyard.errors import RunConflict, RunNotFound
from modelyard.training.purging import RunPurge
from modelyard.training.resuming import last_step


def purge_of(yard, keep=None):
    return RunPurge(yard.store, yard.home, keep, {}, yard.service.turns)


async def test_purged_run_is_gone_and_its_weights_stay(yard):
    done = await yard.finished(await yard.submit(key="one"))
    record = await purge_of(yard).purge("behaving", done.id)
    assert record.id == done.id
    assert list((yard.root / "runs").iterdir()) == []
    with pytest.raises(RunNotFound):
        await yard.get(done)
    with pytest.raises(RunNotFound):
        await purge_of(yard).purge("behaving", done.id)
    assert await yard.versions.check(await yard.versions.get("behaving", done.weights))


async def test_run_that_has_not_ended_is_not_purged(yard):
    running = await yard.submit("cooperative", arguments={"seconds": 60})
    with pytest.raises(RunConflict, match="Cancel it first"):
        await purge_of(yard).purge("behaving", running.id)
    assert yard.paths(running).run.exists()
    with pytest.raises(RunNotFound):
        await purge_of(yard).purge("another", running.id)


async def test_the_newest_ended_runs_are_kept(yard):
    ended = [await yard.finished(await yard.submit()) for _ in range(3)]
    running = await yard.submit("cooperative", arguments={"seconds": 60})
    await purge_of(yard, keep=2).retain_all()
    left = {record.id for record in (await yard.service.list("behaving"))[0]}
    assert left == {ended[1].id, ended[2].id, running.id}
    assert {path.name for path in (yard.root / "runs").iterdir()} == left


async def test_a_run_that_another_goes_on_with_stays_and_keeps_no_others(new_yard):
    yard = await new_yard(max_trainings=2)
    old = await yard.walk(steps=4000, seconds=0.01)
    await yard.until(old, lambda now: last_step(yard.paths(now)) is not None)
    await yard.service.cancel(old.model, old.id)
    left = await yard.service.resumption(await yard.finished(old))
    again = await yard.submit(
        plugin="walking:Walking", request=left.request, args=old.args, resumes=left
    )
    ended = [await yard.finished(await yard.submit()) for _ in range(3)]
    await purge_of(yard, keep=1).retain_all()
    left_over = {record.id for record in (await yard.service.list("behaving"))[0]}
    assert left_over == {old.id, again.id, ended[-1].id}


@pytest.mark.parametrize("recorded", [True, False])
async def test_purge_that_was_killed_is_completed_or_undone(new_yard, recorded):
    yard = await new_yard()
    done = await yard.finished(await yard.submit())
    await yard.stop()
    folder = yard.root / "runs" / done.id
    folder.rename(folder.with_name(f".gone-{done.id}"))
    if not recorded:
        with sqlite3.connect(yard.root / "records.db") as connection:
            connection.execute("DELETE FROM runs")
        connection.close()
    yard = await new_yard()
    names = [path.name for path in (yard.root / "runs").iterdir()]
    assert names == ([done.id] if recorded else [])


async def test_purges_at_the_same_time_do_not_meet(yard):
    done = await yard.finished(await yard.submit())
    purge = purge_of(yard)
    answers = await asyncio.gather(
        *(purge.purge("behaving", done.id) for _ in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(one, Exception) for one in answers) == 1
    assert all(isinstance(one, RunNotFound) for one in answers if isinstance(one, Exception))
    assert list((yard.root / "runs").iterdir()) == []


async def test_run_that_is_purged_while_it_is_resumed_is_not_begun_anew(new_yard):
    """Whoever comes first: the other one is refused, and no checkpoint is lost unseen."""
    yard = await new_yard()
    for number in range(6):
        old = await yard.walk(steps=4000, seconds=0.001)
        await yard.until(old, lambda now: last_step(yard.paths(now)) is not None)
        await yard.service.cancel(old.model, old.id)
        old = await yard.finished(old)
        left = await yard.service.resumption(old)

        async def purge(old=old, later_s=0.001 * number):
            await asyncio.sleep(later_s)
            return await purge_of(yard).purge(old.model, old.id)

        resumed, purged = await asyncio.gather(
            yard.submit(
                plugin="walking:Walking", request=left.request, args=old.args, resumes=left
            ),
            purge(),
            return_exceptions=True,
        )
        if isinstance(resumed, RunNotFound):
            assert purged.id == old.id
            continue
        assert isinstance(purged, RunConflict), purged
        assert last_step(yard.paths(resumed)) is not None, "it has what the ended one had"
        await yard.service.cancel(resumed.model, resumed.id)
        await yard.finished(resumed)
