"""A new server takes over what an earlier one left, whatever happened meanwhile."""

import asyncio
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import Busy, HomeInUse
from modelyard.records.home import Home
from modelyard.schemas.states import Phase, Reason, Status
from modelyard.training.marker import marked
from modelyard.training.paths import read_json


async def test_running_run_is_adopted_and_ends_under_the_next_server(new_yard: Any) -> None:
    yard = await new_yard()
    record = await yard.submit("cooperative", arguments={"seconds": 2.0})
    await yard.in_phase(record, Phase.TRAINING)
    before = yard.supervisor(record)
    await yard.stop()
    assert before.alive()
    yard = await new_yard()
    adopted = await yard.get(record)
    assert (adopted.status, adopted.phase) == (Status.RUNNING, Phase.TRAINING)
    done = await yard.finished(record)
    assert (done.status, done.attempt) == (Status.DONE, 1)
    assert yard.supervisor(record) == before


async def test_adopted_run_keeps_its_place(new_yard: Any) -> None:
    yard = await new_yard()
    running = await yard.submit("cooperative")
    await yard.in_phase(running, Phase.TRAINING)
    await yard.stop()
    yard = await new_yard()
    waiting = await yard.submit()
    await asyncio.sleep(0.5)
    assert (await yard.get(waiting)).position == 1


async def test_run_that_ended_meanwhile_is_told_with_its_weights(
    new_yard: Any, eventually: Any
) -> None:
    yard = await new_yard()
    record = await yard.submit("cooperative", arguments={"seconds": 0.7})
    failing = await yard.submit()
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    paths = yard.paths(record)
    await eventually(paths.exit.exists)
    ended_at = read_json(paths.exit)["ended_at"]
    await asyncio.sleep(0.5)
    yard = await new_yard()
    at = time.monotonic()
    done = await yard.finished(record)
    assert time.monotonic() - at < 10
    assert done.status is Status.DONE
    assert done.ended_at.isoformat() == ended_at
    assert (await yard.finished(failing)).weights is not None


async def test_run_killed_while_no_server_ran_is_an_error(new_yard: Any) -> None:
    yard = await new_yard()
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    yard.kill_all()
    yard = await new_yard()
    died = await yard.finished(record, 10)
    assert (died.status, died.reason) == (Status.ERROR, Reason.PROCESS_DIED)


async def test_waiting_runs_go_on_waiting_and_start(new_yard: Any) -> None:
    yard = await new_yard()
    held = await yard.submit("cooperative", arguments={"seconds": 1.5})
    waiting = [await yard.submit() for _ in range(2)]
    await yard.in_phase(held, Phase.TRAINING)
    await yard.stop()
    yard = await new_yard()
    for record in waiting:
        assert (await yard.finished(record)).status is Status.DONE


async def test_cancel_that_only_reached_the_record_is_carried_out(new_yard: Any) -> None:
    """The server died between the record's commit and the request to the supervisor."""
    yard = await new_yard()
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    await yard.service._moves.cancel(record.id, Reason.CANCELLED)
    await yard.stop()
    yard = await new_yard()
    cancelled = await yard.finished(record)
    assert cancelled.status is Status.CANCELLED
    await yard.gone(record)


async def test_run_claimed_but_never_launched_is_launched_anew(new_yard: Any) -> None:
    """The server died between `starting` in the record and the launch; that is no attempt."""
    yard = await new_yard()
    held = await yard.submit("cooperative")
    await yard.in_phase(held, Phase.TRAINING)
    record = await yard.submit()
    for _ in range(5):
        claimed = await yard.service._moves.claim_next()
        assert (claimed.id, claimed.phase) == (record.id, Phase.STARTING)
        await yard.stop()
        yard = await new_yard()
        await yard.in_phase(record, Phase.QUEUED)
    await yard.service.cancel("behaving", held.id)
    done = await yard.finished(record)
    assert (done.status, done.attempt, done.epoch) == (Status.DONE, 1, 6)


async def test_folder_without_a_record_is_removed_and_a_launched_one_kept(new_yard: Any) -> None:
    yard = await new_yard()
    done = await yard.finished(await yard.submit())
    await yard.stop()
    never, launched = yard.home.runs / ("a" * 32), yard.home.runs / ("b" * 32)
    for folder in (never, launched):
        folder.mkdir()
        (folder / "run.json").write_text("{}")
    (launched / "epoch").write_text("1")
    yard = await new_yard()
    assert not never.exists()
    assert launched.exists()
    assert yard.paths(done).root.exists()


async def test_secrets_of_a_run_that_ended_unseen_are_removed(
    new_yard: Any, eventually: Any
) -> None:
    yard = await new_yard()
    record = await yard.finished(await yard.submit(secrets=["password"]))
    await yard.stop()
    paths = yard.paths(record)
    paths.body.write_text("left by a server that was killed")
    with sqlite3.connect(yard.home.database) as database:
        database.execute("UPDATE runs SET tidied = 0")
    database.close()
    yard = await new_yard()
    await eventually(lambda: not paths.body.exists())
    assert (await yard.get(record)).rev == record.rev


async def test_server_that_stops_leaves_runs_or_cancels_them(new_yard: Any) -> None:
    yard = await new_yard(on_stop="cancel")
    running, waiting = await yard.submit("deaf"), await yard.submit()
    await yard.in_phase(running, Phase.TRAINING)
    at = time.monotonic()
    await yard.service.close()
    assert time.monotonic() - at < 9
    await yard.gone(running)
    with pytest.raises(Busy):
        await yard.submit()
    await yard.stop()
    yard = await new_yard()
    for record in (running, waiting):
        after = await yard.get(record)
        assert (after.status, after.reason) == (Status.CANCELLED, Reason.STOPPED)
        assert after.phase is Phase.FINISHED


async def test_second_server_is_refused_with_the_pid_of_the_first(yard: Any) -> None:
    with pytest.raises(HomeInUse, match=f"pid {os.getpid()}"):
        Home(yard.root).open()


async def test_runs_do_not_keep_the_home(new_yard: Any) -> None:
    """A run that outlives its server holds none of its descriptors, so none of its locks."""
    yard = await new_yard()
    record = await yard.submit("family")
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    for stat in marked(record.id):
        targets = [str(p.readlink()) for p in Path(f"/proc/{stat.pid}/fd").iterdir()]
        assert not any(target.endswith(("/lock", "records.db")) for target in targets)
    yard = await new_yard()
    assert (await yard.get(record)).status is Status.RUNNING


async def test_order_written_by_an_older_release_is_understood(new_yard: Any) -> None:
    """Members that this release does not know, or that are missing, do not stop a waiting run."""
    yard = await new_yard()
    held = await yard.submit("cooperative", arguments={"seconds": 1.0})
    record = await yard.submit()
    await yard.in_phase(held, Phase.TRAINING)
    await yard.stop()
    path = yard.paths(record).run
    order = read_json(path)
    del order["weights"], order["nice"]
    path.write_text(json.dumps({**order, "of_the_future": 1}))
    yard = await new_yard()
    assert (await yard.finished(record)).status is Status.DONE
