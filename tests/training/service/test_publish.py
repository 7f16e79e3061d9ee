"""From a trained run to a version that is listed: what fails, and what is tried again."""

import asyncio
import json
import signal
import sqlite3
from typing import Any

import pytest

from modelyard.schemas.states import Phase, Reason, Status
from modelyard.storage.versions import install_version
from modelyard.training.paths import read_json


async def test_version_that_cannot_be_written_is_tried_again(yard: Any) -> None:
    """The weights folder is unusable when the run ends, and usable again later."""
    aside = yard.root / "aside"
    yard.home.weights.rename(aside)
    yard.home.weights.write_text("no folder")
    record = await yard.submit()
    waiting = await yard.until(record, lambda now: now.message)
    assert (waiting.status, waiting.phase) == (Status.RUNNING, Phase.PUBLISHING)
    assert "Trying again" in waiting.message
    other = await yard.submit("cooperative")
    await yard.in_phase(other, Phase.TRAINING)  # publishing holds no place
    yard.home.weights.unlink()
    aside.rename(yard.home.weights)
    done = await yard.finished(record)
    assert (done.status, done.message) == (Status.DONE, None)
    assert await yard.versions.check(await yard.versions.get("behaving", done.weights))


async def test_publishing_is_given_up_after_its_limit(new_yard: Any) -> None:
    yard = await new_yard(publish_limit_s=0.5)
    yard.home.weights.rmdir()
    yard.home.weights.write_text("no folder")
    failed = await yard.finished(await yard.submit())
    assert (failed.status, failed.reason) == (Status.ERROR, Reason.PUBLISH_FAILED)
    assert yard.paths(failed).version_manifest.exists()
    yard.home.weights.unlink()
    yard.home.weights.mkdir()


async def test_run_that_waits_to_publish_can_be_cancelled(yard: Any) -> None:
    yard.home.weights.rmdir()
    yard.home.weights.write_text("no folder")
    record = await yard.submit()
    await yard.until(record, lambda now: now.message)
    await yard.service.cancel("behaving", record.id)
    cancelled = await yard.finished(record, 3)
    assert (cancelled.status, cancelled.weights) == (Status.CANCELLED, None)
    yard.home.weights.unlink()
    yard.home.weights.mkdir()


async def test_publishing_goes_on_under_the_next_server(new_yard: Any) -> None:
    yard = await new_yard()
    yard.home.weights.rmdir()
    yard.home.weights.write_text("no folder")
    record = await yard.submit()
    await yard.until(record, lambda now: now.message)
    await yard.stop()
    yard.home.weights.unlink()
    yard = await new_yard()
    done = await yard.finished(record)
    assert (done.status, done.attempt) == (Status.DONE, 1)


async def test_damaged_version_is_never_listed(new_yard: Any, eventually: Any) -> None:
    yard = await new_yard()
    record = await yard.submit("cooperative", arguments={"seconds": 1.0})
    following = await yard.submit()
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    await eventually(yard.paths(record).exit.exists)
    yard = await new_yard()
    done = await yard.finished(following)
    await yard.stop()
    # As if the server had been killed before it published, and the disk had lost the end of a file.
    paths = yard.paths(done)
    manifest = read_json(paths.version_manifest)
    manifest["id"] = "c" * 32
    manifest["files"][0]["size"] += 1
    paths.version_manifest.write_text(json.dumps(manifest))
    with sqlite3.connect(yard.home.database) as database:
        database.execute(
            "UPDATE runs SET status='running', phase='training', tidied=0 WHERE id=?", [done.id]
        )
    database.close()
    yard = await new_yard()
    failed = await yard.finished(done)
    assert failed.reason is Reason.PUBLISH_FAILED
    assert "bytes" in failed.message
    assert await yard.versions.find("behaving", "c" * 32) is None


async def test_cancelled_run_whose_version_was_installed_by_a_killed_server_leaves_no_folder(
    new_yard: Any, eventually: Any
) -> None:
    yard = await new_yard()
    record = await yard.walk(steps=40)
    await yard.in_phase(record, Phase.TRAINING)
    await yard.stop()
    paths = yard.paths(record)
    await eventually(paths.exit.exists)
    # As if the server had been killed after it installed the version, and the run was cancelled.
    installed = install_version(paths.version, yard.home.weights)
    with sqlite3.connect(yard.home.database) as database:
        values = "status='cancelled', reason='cancelled', phase='cancelling'"
        database.execute(f"UPDATE runs SET {values} WHERE id=?", [record.id])
    database.close()
    yard = await new_yard()
    ended = await yard.finished(record)
    assert (ended.status, ended.weights) == (Status.CANCELLED, None)
    assert not (yard.home.weights / installed.id).exists()


async def test_failing_listener_does_not_harm_the_run(yard: Any) -> None:
    async def fail(record: object, version: object) -> None:
        raise RuntimeError("the swap failed")

    yard.service._conclusion._on_ended = fail
    done = await yard.finished(await yard.submit())
    await asyncio.sleep(0.1)
    assert done.status is Status.DONE


async def test_trained_run_is_published_without_training_again(yard: Any) -> None:
    """The finish step fails in the run's own processes; they are started anew for it alone."""
    record = await yard.submit("count")
    waiting = await yard.in_phase(record, Phase.RETRY_WAIT, 30)
    assert "Trying again" in waiting.message
    paths = yard.paths(record)
    paths.version.unlink()
    done = await yard.finished(record)
    assert (done.status, done.attempt, done.message) == (Status.DONE, 2, None)
    assert (paths.plugin / "trainings").read_text() == "x"
    assert await yard.versions.check(await yard.versions.get("behaving", done.weights))


async def test_trained_run_whose_supervisor_is_killed_is_published_too(yard: Any) -> None:
    record = await yard.submit("count")
    paths = yard.paths(record)
    await yard.until(record, lambda _: paths.trained.exists())
    yard.supervisor(record).signal(signal.SIGKILL)
    await yard.in_phase(record, Phase.RETRY_WAIT)
    paths.version.unlink(missing_ok=True)
    done = await yard.finished(record)
    assert (done.status, done.attempt) == (Status.DONE, 2)
    assert (paths.plugin / "trainings").read_text() == "x"


async def test_run_that_waits_to_finish_can_be_cancelled_and_survives_a_restart(
    new_yard: Any,
) -> None:
    yard = await new_yard()
    record = await yard.submit("count")
    paths = yard.paths(record)
    await yard.until(record, lambda _: paths.trained.exists())
    yard.supervisor(record).signal(signal.SIGKILL)
    await yard.in_phase(record, Phase.RETRY_WAIT)
    await yard.stop()
    yard = await new_yard()
    assert (await yard.get(record)).status is Status.RUNNING
    await yard.service.cancel("behaving", record.id)
    assert (await yard.finished(record)).status is Status.CANCELLED


@pytest.mark.slow
async def test_finish_step_is_given_up_after_its_limit(new_yard: Any) -> None:
    yard = await new_yard(publish_limit_s=0.0)
    failed = await yard.finished(await yard.submit("count"), 30)
    assert (failed.status, failed.reason) == (Status.ERROR, Reason.PUBLISH_FAILED)
