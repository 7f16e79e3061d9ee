"""Runs that are paused, killed or cut off go on from their last checkpoint, to the same weights."""

import asyncio
import hashlib
import json
import random
import re
import signal
from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import RunConflict
from modelyard.models_plugin.plugin import PluginSource
from modelyard.records.runs import RunRecord
from modelyard.schemas.states import Phase, Reason, Status
from modelyard.schemas.transport import FilePart, RequestData
from modelyard.training.checkpoints import CheckpointIndex
from modelyard.training.executor import read_identity
from modelyard.training.marker import marked
from modelyard.training.metrics import read_series
from modelyard.training.paths import read_json

SEED = 7


def unbroken(steps: int) -> str:
    """Where the walk of a training that nothing interrupts ends."""
    chance, place = random.Random(SEED), ""
    for _ in range(steps):
        place = hashlib.sha256(f"{place} {chance.random()}".encode()).hexdigest()
    return place


async def check_ended_as_unbroken(yard: Any, record: RunRecord, steps: int) -> RunRecord:
    done = await yard.finished(record, 60)
    assert done.status is Status.DONE, (done, yard.words(done))
    version = await yard.versions.get("behaving", done.weights)
    assert (version.folder / "place.txt").read_text() == unbroken(steps)
    points = read_series(yard.paths(done).metrics).series["place"]
    assert [point[0] for point in points] == list(range(1, steps + 1))
    return done


async def at_step(yard: Any, record: RunRecord, step: int) -> None:
    steps = yard.paths(record).plugin / "steps"

    def reached(_: RunRecord) -> bool:
        return steps.exists() and str(step) in steps.read_text().split()

    await yard.until(record, reached)


async def resume(yard: Any, record: RunRecord, **more: Any) -> RunRecord:
    """A new run that goes on with an ended one, as the API asks for it."""
    left = await yard.service.resumption(record)
    assert left.request is not None
    return await yard.service.submit(
        PluginSource(name="behaving", value="walking:Walking"),
        left.request,
        record.args,
        left.secrets,
        None,
        seed=left.order.seed,
        resumes=left,
        **more,
    )


async def test_paused_run_gives_its_place_free_and_goes_on_to_the_same_weights(
    new_yard: Any,
) -> None:
    yard = await new_yard()
    record = await yard.walk(steps=40)
    await at_step(yard, record, 12)
    asked = await yard.service.pause("behaving", record.id)
    assert "Pausing" in (asked.message or "")
    paused = await yard.in_phase(record, Phase.PAUSED)
    assert (paused.status, paused.ended_at) == (Status.RUNNING, None)
    await yard.gone(record)
    assert await yard.service.pause("behaving", record.id) == paused
    assert (await yard.finished(await yard.submit())).status is Status.DONE
    await yard.stop()
    yard = await new_yard()
    await asyncio.sleep(0.3)
    assert (await yard.get(record)).phase is Phase.PAUSED  # a new server does not go on by itself
    await yard.service.go_on("behaving", record.id)
    done = await check_ended_as_unbroken(yard, record, 40)
    assert (done.id, done.attempt, done.message) == (record.id, 2, None)
    steps = (yard.paths(done).plugin / "steps").read_text().split()
    assert steps == [str(step) for step in range(1, 41)]  # none was made twice
    with pytest.raises(RunConflict, match="nothing to resume"):
        await yard.service.go_on("behaving", record.id)


async def test_waiting_run_is_paused_at_once_and_waits_again(yard: Any) -> None:
    held, record = await yard.submit("cooperative"), await yard.walk(steps=3)
    await yard.in_phase(held, Phase.TRAINING)
    assert (await yard.service.pause("behaving", record.id)).phase is Phase.PAUSED
    with pytest.raises(RunConflict, match=r"never asks\s+for run.resume_from"):
        await yard.service.pause("behaving", held.id)
    await yard.service.cancel("behaving", held.id)
    await yard.finished(held)
    assert (await yard.get(record)).phase is Phase.PAUSED
    waiting = await yard.service.go_on("behaving", record.id)
    assert (waiting.phase, waiting.position) == (Phase.QUEUED, 1)
    await check_ended_as_unbroken(yard, record, 3)


async def test_paused_run_keeps_files_and_secrets_until_it_ends(yard: Any, tmp_path: Any) -> None:
    folder = tmp_path / "call"
    folder.mkdir()
    (folder / "data.bin").write_bytes(b"data")
    part = FilePart("upload", "data.bin", "data.bin", "application/octet-stream", 4)
    request = RequestData(files=[part], form=[("password", "open sesame"), ("steps", "60")])
    record = await yard.walk(
        request=request, args={"steps": 60}, secrets=["password"], files=folder
    )
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    paths = yard.paths(record)
    assert "open sesame" in paths.run.read_text()
    assert (paths.files / "data.bin").read_bytes() == b"data"
    await yard.service.go_on("behaving", record.id)
    await yard.until(record, lambda now: now.attempt == 2 and now.phase is Phase.TRAINING)
    await yard.service.cancel("behaving", record.id)
    ended = await yard.finished(record)
    assert (ended.status, paths.files.exists()) == (Status.CANCELLED, False)
    assert "open sesame" not in paths.run.read_text()
    left = await yard.service.resumption(ended)
    assert (left.request, left.secrets) == (None, ("password",))


async def test_paused_run_can_be_cancelled(yard: Any, eventually: Any) -> None:
    record = await yard.walk(steps=1000)
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    cancelled = await yard.service.cancel("behaving", record.id)
    assert (cancelled.status, cancelled.phase) == (Status.CANCELLED, Phase.FINISHED)


KILLS: list[Any] = [("process", 11), ("supervisor", 12)]
MANY = [
    pytest.param(who, seed, marks=pytest.mark.slow)
    for seed in range(20)
    for who in ("process", "supervisor")
]


@pytest.mark.parametrize(("who", "seed"), KILLS + MANY)
async def test_run_killed_at_random_moments_goes_on_to_the_same_weights(
    new_yard: Any, who: str, seed: int
) -> None:
    chance = random.Random(seed)
    yard = await new_yard(resume_attempts=10)
    record = await yard.walk(steps=60, seconds=0.01)
    for kill in range(2):
        began = kill + 1
        await yard.until(record, lambda now: now.attempt == began and now.phase is Phase.TRAINING)  # noqa: B023
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        identity = read_identity(getattr(yard.paths(record), who))
        if identity is None or not identity.signal(signal.SIGKILL):
            break
    done = await check_ended_as_unbroken(yard, record, 60)
    assert done.message is None


async def test_run_goes_on_after_a_power_cut(new_yard: Any) -> None:
    """Everything ends at once, and the machine boots again: what was not synced may be gone."""
    yard = await new_yard()
    record = await yard.walk(steps=30)
    await at_step(yard, record, 12)
    await yard.stop()
    yard.kill_all()
    paths = yard.paths(record)
    identity = read_json(paths.supervisor)
    paths.supervisor.write_text(json.dumps({**identity, "boot_id": "another"}))
    paths.status.write_text("")
    paths.process.write_text("")
    yard = await new_yard()
    waiting = await yard.in_phase(record, Phase.RETRY_WAIT)
    assert re.search(r"Going on from its checkpoint of step (10|15|20|25)\.", waiting.message)
    done = await check_ended_as_unbroken(yard, record, 30)
    assert done.attempt == 2


@pytest.mark.slow
async def test_run_that_only_gets_killed_is_given_up(new_yard: Any) -> None:
    yard = await new_yard(resume_attempts=1)
    record = await yard.walk(steps=1000, save_every=1000)
    for attempt in (1, 2):
        await yard.until(record, lambda now: now.attempt == attempt)  # noqa: B023
        await at_step(yard, record, attempt)
        await yard.in_phase(record, Phase.TRAINING)
        identity = read_identity(yard.paths(record).process)
        assert identity is not None and identity.signal(signal.SIGKILL)
    ended = await yard.finished(record)
    assert (ended.status, ended.reason, ended.attempt) == (
        Status.ERROR, Reason.PROCESS_DIED, 2,
    )  # fmt: skip


async def test_failed_evaluation_is_made_again_without_training(yard: Any) -> None:
    record = await yard.walk(steps=7, fails=2)
    done = await check_ended_as_unbroken(yard, record, 7)
    assert done.attempt == 3
    folder = yard.paths(done).plugin
    assert (folder / "steps").read_text().split() == [str(step) for step in range(1, 8)]
    assert (folder / "evaluations").read_text().split() == ["7", "7", "7"]


async def test_server_that_stops_has_runs_saved_and_the_next_goes_on(new_yard: Any) -> None:
    yard = await new_yard(on_stop="pause", max_trainings=2)
    record, deaf = await yard.walk(steps=60), await yard.submit("cooperative")
    await at_step(yard, record, 12)
    await yard.in_phase(deaf, Phase.TRAINING)
    await yard.service.close()
    await yard.gone(record)
    assert marked(deaf.id) != []  # it could not go on: left alone
    await yard.stop()
    yard = await new_yard(max_trainings=2)
    done = await check_ended_as_unbroken(yard, record, 60)
    assert done.attempt == 2
    steps = (yard.paths(done).plugin / "steps").read_text().split()
    assert len(steps) == 60


async def test_ended_run_is_gone_on_with_as_a_new_one(yard: Any) -> None:
    record = await yard.walk(steps=40)
    await at_step(yard, record, 12)
    with pytest.raises(RunConflict):
        await resume(yard, await yard.get(record))
    await yard.service.cancel("behaving", record.id)
    ended = await yard.finished(record)
    again = await resume(yard, ended)
    with pytest.raises(RunConflict, match=again.id):
        await resume(yard, ended)
    done = await check_ended_as_unbroken(yard, again, 40)
    assert (done.resumed_from, done.id != record.id) == (record.id, True)
    assert await yard.get(record) == ended
    index = CheckpointIndex.read(yard.paths(ended))
    assert yard.paths(ended).checkpoint(index.last).exists()
    with pytest.raises(RunConflict, match="done"):
        await resume(yard, done)


async def test_what_cannot_be_gone_on_with_says_why(yard: Any, tmp_path: Any) -> None:
    failed = await yard.finished(await yard.submit("raise"))
    with pytest.raises(RunConflict, match="does not go on from checkpoints"):
        await yard.service.resumption(failed)
    folder = tmp_path / "call"
    folder.mkdir()
    (folder / "data.bin").write_bytes(b"data")
    part = FilePart("upload", "data.bin", "data.bin", "application/octet-stream", 4)
    record = await yard.walk(
        request=RequestData(files=[part], form=[("steps", "1000")]), files=folder
    )
    await at_step(yard, record, 6)
    await yard.service.cancel("behaving", record.id)
    ended = await yard.finished(record)
    # A stored dataset stands in for uploaded data, not for whatever was uploaded beside it.
    for dataset in (None, "d" * 32):
        with pytest.raises(RunConflict, match="uploaded as upload, which was removed"):
            await yard.service.resumption(replace(ended, dataset=dataset))


async def test_run_whose_weights_were_never_published_is_only_finished(new_yard: Any) -> None:
    yard = await new_yard(publish_limit_s=0.0)
    yard.home.weights.rmdir()
    yard.home.weights.write_text("no folder")
    record = await yard.walk(steps=5)
    failed = await yard.finished(record)
    assert failed.reason is Reason.PUBLISH_FAILED
    yard.home.weights.unlink()
    yard.home.weights.mkdir()
    done = await check_ended_as_unbroken(yard, await resume(yard, failed), 5)
    assert (yard.paths(done).plugin / "steps").read_text().split() == list("12345")


async def test_repeated_training_says_whether_it_is_equal(yard: Any) -> None:
    first = await yard.finished(await yard.walk(steps=5))
    equal = await yard.finished(await yard.walk(steps=5, repeats=first.weights))
    assert equal.message == f"Equal bit for bit to version {first.weights}."
    other = await yard.finished(await yard.walk(steps=6, repeats=first.weights))
    assert other.message == f"Not equal to version {first.weights}: place.txt differ."
    gone = await yard.finished(await yard.walk(steps=5, repeats="a" * 32))
    assert "not here any more" in gone.message


@pytest.mark.slow
async def test_run_paused_while_it_waits_to_try_again_stays_paused(yard: Any) -> None:
    record = await yard.walk(steps=30)
    await at_step(yard, record, 6)
    yard.supervisor(record).signal(signal.SIGKILL)
    await yard.in_phase(record, Phase.RETRY_WAIT)
    assert (await yard.service.pause("behaving", record.id)).phase is Phase.PAUSED
    await asyncio.sleep(1.5)
    assert (await yard.get(record)).phase is Phase.PAUSED
    await yard.service.go_on("behaving", record.id)
    await check_ended_as_unbroken(yard, record, 30)


@pytest.mark.slow
async def test_fine_tuning_goes_on_from_the_parent_that_it_began_with(yard: Any) -> None:
    """`latest` of the time when it started, not of the time when it goes on."""
    first = await yard.finished(await yard.walk(steps=2))
    record = await yard.walk(steps=30)
    await at_step(yard, record, 6)
    await yard.service.pause("behaving", record.id)
    await yard.in_phase(record, Phase.PAUSED)
    await yard.finished(await yard.walk(steps=3))
    await yard.service.go_on("behaving", record.id)
    await check_ended_as_unbroken(yard, record, 30)
    assert read_json(yard.paths(record).run)["weights"] == {"latest": first.weights}
