"""A run from its submission to its end, as its record tells it."""

import asyncio
import json
import os
import signal
import threading
import time
from typing import Any

from modelyard.schemas.states import Phase, Reason, Status
from modelyard.training.paths import read_json


async def test_submitted_run_is_recorded_and_ends_as_done(yard: Any) -> None:
    record = await yard.submit()
    assert record.status is Status.RUNNING
    assert record.position == 1 or record.phase is not Phase.QUEUED
    assert len(record.id) == 32
    assert len(record.date) == 26
    done = await yard.finished(record)
    assert (done.status, done.reason) == (Status.DONE, Reason.COMPLETED)
    assert done.result.output == {"final": 0.9}
    assert done.result.finish_date[:10] == done.date[:10]
    assert done.started_at >= done.created_at
    assert done.ended_at >= done.started_at
    assert done.progress.done == done.progress.total == 5
    assert done.rev > record.rev


async def test_done_run_has_a_whole_version_that_is_latest(yard: Any, eventually: Any) -> None:
    done = await yard.finished(await yard.submit())
    version = await yard.versions.get("behaving", "latest")
    assert version.id == done.weights
    assert version.run == done.id
    assert version.aliases == ("latest",)
    assert (version.folder / "weights.txt").read_text() == "trained"
    assert await yard.versions.check(version)
    await eventually(lambda: [one.id for one in yard.published] == [done.weights])
    assert yard.publishing == ["behaving"]


async def test_version_is_listed_as_soon_as_the_run_is_done(yard: Any) -> None:
    record = await yard.submit()
    async for seen in yard.service.changes(record.id):
        if seen.status is Status.DONE:
            assert await yard.versions.find("behaving", seen.weights) is not None


async def test_run_without_checkpoint_is_done_without_weights(yard: Any) -> None:
    done = await yard.finished(await yard.submit("cooperative", arguments={"seconds": 0.1}))
    assert done.status is Status.DONE
    assert done.weights is None
    assert await yard.versions.list("behaving") == []


async def test_newer_version_becomes_latest_and_the_older_stays(yard: Any) -> None:
    first = await yard.finished(await yard.submit())
    second = await yard.finished(await yard.submit())
    assert [one.id for one in await yard.versions.list("behaving")] == [
        second.weights,
        first.weights,
    ]
    assert (await yard.versions.latest("behaving")).id == second.weights


async def test_failing_run_tells_reason_and_message(yard: Any) -> None:
    failed = await yard.finished(await yard.submit("raise"))
    assert (failed.status, failed.reason) == (Status.ERROR, Reason.PLUGIN_FAILED)
    assert "the reason" in failed.message
    refused = await yard.finished(await yard.submit("bad_data"))
    assert refused.reason is Reason.INVALID_DATA
    assert "train.txt:7" in refused.message


async def test_run_process_killed_from_outside_is_an_error(yard: Any) -> None:
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    os.kill(read_json(yard.paths(record).process)["pid"], signal.SIGKILL)
    died = await yard.finished(record)
    assert (died.status, died.reason) == (Status.ERROR, Reason.PROCESS_DIED)


async def test_killed_supervisor_is_noticed_and_its_run_swept(yard: Any) -> None:
    record = await yard.submit("family")
    await yard.in_phase(record, Phase.TRAINING)
    yard.supervisor(record).signal(signal.SIGKILL)
    at = time.monotonic()
    died = await yard.finished(record)
    assert time.monotonic() - at < 10
    assert (died.status, died.reason) == (Status.ERROR, Reason.PROCESS_DIED)
    await yard.gone(record)


async def test_supervisor_of_an_earlier_boot_means_interrupted(new_yard: Any) -> None:
    yard = await new_yard()
    record = await yard.submit("deaf")
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    yard.kill_all()
    path = yard.paths(record).supervisor
    path.write_text(json.dumps({**read_json(path), "boot_id": "an-earlier-boot"}))
    yard = await new_yard()
    assert (await yard.finished(record)).reason is Reason.INTERRUPTED


async def test_progress_is_recorded_without_flooding_the_records(yard: Any) -> None:
    record = await yard.submit("cooperative", arguments={"seconds": 2.0})
    done = await yard.finished(record)
    assert done.rev < 15


async def test_request_and_secrets_are_gone_when_the_run_has_ended(yard: Any) -> None:
    record = await yard.submit(
        "cooperative",
        arguments={"seconds": 0.5, "password": "hunter2"},
        args={"how": "cooperative", "seconds": 0.5},
        secrets=["password"],
    )
    paths = yard.paths(record)
    assert "hunter2" in paths.body.read_text()
    for path in (paths.body, paths.secrets, paths.run):
        assert path.stat().st_mode & 0o077 == 0
    await yard.finished(record)
    everything = b"".join(p.read_bytes() for p in yard.root.rglob("*") if p.is_file())
    assert b"hunter2" not in everything
    assert not paths.body.exists()
    assert not paths.secrets.exists()


async def test_changes_end_with_the_finished_record(yard: Any) -> None:
    record = await yard.submit()
    seen = [one async for one in yard.service.changes(record.id)]
    assert seen[-1].phase is Phase.FINISHED
    assert [one.rev for one in seen] == sorted(one.rev for one in seen)


async def test_waiting_for_a_change_ends_with_its_time(yard: Any) -> None:
    record = await yard.finished(await yard.submit())
    at = time.monotonic()
    assert (await yard.service.wait_change(record.id, record.rev, 0.2)).rev == record.rev
    assert 0.15 < time.monotonic() - at < 8


async def test_event_loop_never_waits_for_the_records(yard: Any) -> None:
    """While runs come and go, the loop answers: a task that only sleeps is never late."""
    late = {"loop": 0.0, "thread": 0.0}
    over = threading.Event()

    def note(who: str, at: float) -> None:
        late[who] = max(late[who], time.monotonic() - at - 0.005)

    async def tick() -> None:
        while True:
            at = time.monotonic()
            await asyncio.sleep(0.005)
            note("loop", at)

    def tick_beside() -> None:  # as late as the machine makes everybody
        while not over.is_set():
            at = time.monotonic()
            time.sleep(0.005)
            note("thread", at)

    ticking = asyncio.create_task(tick())
    beside = threading.Thread(target=tick_beside)
    beside.start()
    try:
        records = [await yard.submit() for _ in range(5)]
        await yard.finished(records[-1])
    finally:
        ticking.cancel()
        over.set()
        beside.join()
    assert late["loop"] < 0.25 + 2 * late["thread"], late


async def test_arguments_that_have_no_utf8_are_kept(yard: Any) -> None:
    """JSON may say "\\ud800", which is no character."""
    record = await yard.submit(args={"how": "finish", "name": "\ud800"})
    done = await yard.finished(record)
    assert done.status is Status.DONE
    assert done.args["name"] == "\ud800"


async def test_submission_goes_on_when_its_client_hangs_up(yard: Any, eventually: Any) -> None:
    """Cancelled at whatever line, it leaves a whole run or none."""
    for wait_s in (0.0, 0.002, 0.005, 0.01):
        task = asyncio.create_task(yard.submit("raise"))
        await asyncio.sleep(wait_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for _ in range(200):
        await asyncio.sleep(0.3)
        records, _ = await yard.service.list("behaving")
        if {path.name for path in yard.home.runs.iterdir()} == {one.id for one in records}:
            break
    else:
        raise AssertionError([path.name for path in yard.home.runs.iterdir()])
    for record in records:
        assert (await yard.finished(record)).reason is Reason.PLUGIN_FAILED
