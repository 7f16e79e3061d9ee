"""Two things at once in one model: what was begun with the one is not lost by the other."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from modelyard.errors import Corrupt, ModelUnavailable, ModelyardError
from modelyard.serving.choices import Division
from modelyard.serving.options import ModelOptions

MODEL = {"model": "odd_models:Weighty"}


async def until(true, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


def workers_here():
    """The workers that this process has, whoever knows of them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if b"serving.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.add(int(pid))
    return found


def known(handle):
    return {worker["pid"] for worker in handle.workers} - {None}


def ask(serving, name=None, timeout_s=None, **arguments):
    weights = None if name is None else serving.weights(name)
    return asyncio.ensure_future(serving.ask("model", timeout_s, weights, **arguments))


def let_go(serving, name):
    (serving.folder / "weights" / name / "go").touch()


def divided(serving, *names):
    return Division(tuple((serving.weights(name), 1.0) for name in names))


async def is_loading(serving, name):
    await until((serving.folder / "weights" / name / "pid").exists)


@pytest.mark.parametrize("how", ["default", "share"])
async def test_a_version_that_is_chosen_while_it_is_taken_up_leaves_no_worker_behind(serve, how):
    serving = await serve("a", options={"keep_versions": 3}, **MODEL)
    handle = serving.pool.get("model")
    if how == "default":
        moving = asyncio.ensure_future(handle.use_weights(serving.weights("waits")))
    else:
        moving = asyncio.ensure_future(handle.divide(divided(serving, "a", "waits")))
    await is_loading(serving, "waits")
    chosen = ask(serving, "waits")
    await asyncio.sleep(0.5)
    let_go(serving, "waits")
    assert (await chosen).weights_id == "waits"
    await moving
    for name in ("b", "c"):
        await handle.use_weights(serving.weights(name))
        await handle.divide(None)
    await until(lambda: workers_here() == known(handle))
    assert (await ask(serving, "waits")).weights_id == "waits"
    await serving.pool.close()
    await until(lambda: not workers_here())


async def test_a_version_that_gets_its_share_while_it_becomes_the_default_stays_the_default(serve):
    """Two had one group of workers: when the one let go of it, the other had none for good."""
    serving = await serve("a", options={"keep_versions": 1}, **MODEL)
    handle = serving.pool.get("model")
    await handle.divide(divided(serving, "a", "b"))
    dividing = asyncio.ensure_future(handle.divide(divided(serving, "a", "b", "waits")))
    await is_loading(serving, "waits")
    await handle.use_weights(serving.weights("b"))
    let_go(serving, "waits")
    await dividing
    await handle.divide(None)
    for name in ("c", "d", "e"):
        assert (await ask(serving, name)).weights_id == name
    await until(lambda: len(handle.workers) <= 3)
    assert (await ask(serving, timeout_s=20)).weights_id == "b"
    await until(lambda: workers_here() == known(handle))


async def test_what_waited_for_the_default_is_answered_by_an_unloaded_one_that_takes_over(serve):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await ask(serving, "b")
    (other,) = handle._others.groups()
    await other.sleep()
    calls = [ask(serving, timeout_s=30) for _ in range(30)]
    await asyncio.sleep(0.02)
    await handle.use_weights(serving.weights("b"))
    answers = await asyncio.gather(*calls)
    assert {answer.weights_id for answer in answers} <= {"a", "b"}
    assert (await ask(serving)).weights_id == "b"


@pytest.mark.parametrize("moved", [False, True])
async def test_weights_that_hang_while_they_are_loaded_first_do_not_keep_out_the_next(serve, moved):
    options = {"load_timeout_s": 3.0}
    if moved:
        serving = await serve(options=options, **MODEL)
        for name in ("hang", "a"):
            await serving.pool.get("model").use_weights(serving.weights(name))
    else:
        serving = await serve("hang", "a", options=options, **MODEL)
    handle = serving.pool.get("model")
    assert (handle.state, handle.weights) == ("ready", "a")
    assert (await ask(serving)).weights_id == "a"
    await until(lambda: workers_here() == known(handle))


async def test_calls_of_a_version_that_is_removed_are_all_told_so(serve):
    """Those that came in a batch waited for a worker that would never come."""
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await ask(serving, "b")
    calls = [ask(serving, "b") for _ in range(20)]
    await asyncio.sleep(0.07)
    await handle.release("b")
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    failed = [one for one in ended if isinstance(one, BaseException)]
    assert failed and all(isinstance(one, ModelyardError) for one in failed)
    assert (await ask(serving)).weights_id == "a"


async def test_what_came_with_a_call_that_kills_its_worker_goes_to_an_idle_one(serve, tmp_path):
    """It waited for the successor of the dead one, beside a worker that had nothing to do."""
    slow = tmp_path / "slow"
    own = ModelOptions(workers=2)
    serving = await serve(own=own, env={"SLOW": str(slow)}, model="batch_models:SlowToComeBack")
    handle = serving.pool.get("model")
    await until(lambda: [one["state"] for one in handle.workers] == ["idle", "idle"])
    await asyncio.gather(*(ask(serving) for _ in range(40)))
    slow.touch()
    try:
        harmless = [ask(serving, number=n) for n in range(3)]
        guilty = ask(serving, do="die")
        async with asyncio.timeout(10):
            await asyncio.gather(*harmless)
        with pytest.raises(ModelyardError):
            await asyncio.wait_for(guilty, 10)
    finally:
        slow.unlink()


async def test_workers_that_cannot_be_started_for_a_while_are_started_when_they_can(
    serve, tmp_path
):
    """No room, no descriptors: that ended who tried, and with it the model or the version."""
    place = tmp_path / "place"
    place.touch()  # in the place of a folder
    serving = await serve("a", wait=False, options={"temporary": place}, **MODEL)
    handle = serving.pool.get("model")
    await asyncio.wait_for(handle.loaded(), 60)
    assert "cannot be started" in handle.problem
    place.unlink()
    await until(lambda: handle.state == "ready")

    with_room = tmp_path / "with-room"
    place.rename(with_room)
    place.touch()
    with pytest.raises(ModelUnavailable, match="cannot be started"):
        await ask(serving, "b", timeout_s=20)
    await handle.use_weights(serving.weights("c"))
    assert "cannot be started" in handle.weights_error
    await handle.divide(divided(serving, "a", "b", "c"))
    assert "cannot be started" in handle.traffic.problem
    assert (await ask(serving)).weights_id == "a"
    place.unlink()
    with_room.rename(place)
    assert (await ask(serving, "b")).weights_id == "b"


async def test_a_version_that_nobody_asks_for_is_not_loaded_again_and_again(serve):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await ask(serving, "b")
    (other,) = handle._others.groups()
    serving.weights("b").folder.joinpath("text").write_text("bad")
    os.kill(other.pids()[0], signal.SIGKILL)
    await until(lambda: [one["weights"] for one in handle.workers] == ["a"])
    serving.weights("b")
    assert (await ask(serving, "b")).weights_id == "b"


async def test_other_versions_answer_while_the_default_begins_again(serve):
    serving = await serve("a", options={"keep_versions": 2}, **MODEL)
    handle = serving.pool.get("model")
    await handle.divide(divided(serving, "a", "b"))
    await ask(serving, "c")
    os.kill(serving.worker("model")["pid"], signal.SIGKILL)
    await until(lambda: not handle._default.ready)
    began = asyncio.ensure_future(handle._begin_again(handle._default, Corrupt("rotten")))
    await asyncio.sleep(0)
    seen = set()
    while not began.done():
        seen.add((await ask(serving)).weights_id)
        assert (await ask(serving, "c")).weights_id == "c"
    assert "b" in seen
    await began
