"""A model may do anything to its process: its call says why it failed, the next one is served."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.errors import (
    DeadlineExceeded,
    ModelFailedToLoad,
    ModelUnavailable,
    PluginFailed,
    WorkerDied,
)
from modelyard.schemas.transport import RequestData
from modelyard.serving.options import ModelOptions

ODD = "odd_models:Odd"
PLUGINS = Path(__file__).parents[1] / "plugins"
HOSTILE = "yard_fixtures.hostile:Hostile"


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("exit", "exited with code 3"),
        ("segfault", "killed by SIGSEGV"),
        ("stop", "stopped by a signal"),
    ],
)
async def test_a_call_in_which_the_process_ends_is_told_how_and_the_next_is_served(
    serve, do, words
):
    serving = await serve(hostile=HOSTILE)
    with pytest.raises(WorkerDied, match=words):
        await serving.predict("hostile", do=do)
    assert (await serving.predict("hostile"))["pid"]
    assert words in serving.worker("hostile")["last_exit"]


@pytest.mark.parametrize("do", ["system_exit", "interrupt", "recurse"])
async def test_what_is_only_raised_fails_the_call_and_keeps_the_process(serve, do):
    serving = await serve(hostile=HOSTILE)
    with pytest.raises(PluginFailed):
        await serving.predict("hostile", do=do)
    await serving.predict("hostile")
    assert serving.worker("hostile")["restarts"] == 0


async def test_an_overflow_of_the_native_stack_is_told_with_the_last_words(serve):
    serving = await serve(odd=ODD)
    with pytest.raises(WorkerDied, match="SIG") as caught:
        await serving.predict("odd", do="deep")
    assert "odd_models.py" in caught.value.traceback
    assert (await serving.predict("odd"))["pid"]


async def test_a_hung_call_ends_at_its_deadline_and_the_next_is_served(serve):
    serving = await serve(hostile=HOSTILE)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"1\.2 s"):
        await serving.predict("hostile", 1.2, do="hang")
    assert time.monotonic() - started < 30
    assert (await serving.predict("hostile"))["pid"]


async def test_waiting_calls_survive_the_death_of_the_worker_before_them(serve):
    serving = await serve(odd=ODD, hostile=HOSTILE)
    bad = asyncio.ensure_future(serving.predict("hostile", do="exit"))
    good = [asyncio.ensure_future(serving.predict("hostile")) for _ in range(5)]
    with pytest.raises(WorkerDied):
        await bad
    assert all([(await one)["pid"] for one in good])


async def test_time_spent_waiting_is_not_the_workers_fault(serve):
    """Else, with more calls than it can answer, a worker would be killed again and again."""
    serving = await serve(odd=ODD)
    calls = [
        asyncio.ensure_future(serving.predict("odd", 1.5, do="answer", seconds=0.6))
        for _ in range(6)
    ]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in ended[:2]] == [dict, dict]
    assert {type(one) for one in ended[3:]} == {DeadlineExceeded}
    assert (await serving.predict("odd"))["pid"] == ended[0]["pid"]
    assert serving.worker("odd")["restarts"] == 0


async def test_an_idle_worker_that_is_stopped_is_replaced_before_anybody_calls(serve):
    serving = await serve(odd=ODD)
    pid = (await serving.predict("odd"))["pid"]
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(60):
        while serving.worker("odd")["pid"] in (pid, None) or not gone(pid):
            await asyncio.sleep(0.05)
    assert (await serving.predict("odd"))["pid"] != pid


async def test_a_client_in_a_hurry_does_not_cost_the_worker(serve):
    serving = await serve(odd=ODD)
    with pytest.raises(DeadlineExceeded):
        await serving.predict("odd", 0.05, do="answer", seconds=0.3)
    await serving.predict("odd")
    assert serving.worker("odd")["restarts"] == 0


async def test_a_call_that_meets_a_worker_which_was_just_killed_goes_to_the_next(serve):
    serving = await serve(odd=ODD)
    for _ in range(3):
        pid = (await serving.predict("odd"))["pid"]
        os.kill(pid, signal.SIGKILL)
        answer = await serving.predict("odd")  # before the front can know of the death
        assert answer["pid"] != pid
    assert serving.worker("odd")["restarts"] == 3


async def test_a_call_that_was_on_its_way_to_a_worker_that_died_goes_to_the_next(serve):
    """It stood in the socket unread, or in part not even there: it has killed nobody."""
    serving = await serve(odd=ODD)
    pid = (await serving.predict("odd"))["pid"]
    for note in ("short", "long" * 50_000):
        os.kill(pid, signal.SIGSTOP)
        call = asyncio.ensure_future(serving.predict("odd", note=note))
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        answer = await call
        assert answer["note"] == note and answer["pid"] != pid
        pid = answer["pid"]


async def test_a_client_in_a_hurry_does_not_cost_a_worker_that_takes_long_to_load(serve):
    """Else one client with short deadlines would keep the model from all others."""
    serving = await serve(odd=ODD)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await serving.predict("odd", 1.2, do="answer", seconds=2.0)
    await serving.predict("odd")
    assert serving.worker("odd")["restarts"] == 0


async def test_the_operators_own_deadline_is_kept_to(serve):
    serving = await serve(odd=ODD, own=ModelOptions(predict_timeout_s=1.2))
    with pytest.raises(DeadlineExceeded):
        await serving.predict("odd", do="answer", seconds=600.0)
    await until(lambda: serving.worker("odd")["restarts"] == 1, 60.0)
    assert (await serving.predict("odd", 60.0))["pid"]


async def test_processes_that_the_model_started_end_with_its_worker(serve, tmp_path):
    serving = await serve(odd=ODD)
    with pytest.raises(DeadlineExceeded):
        await serving.predict("odd", 1.5, do="child", note=str(tmp_path / "child"))
    child = int((tmp_path / "child").read_text())
    await until(lambda: gone(child))


async def test_temporary_files_are_gone_with_their_worker_however_it_ends(serve, tmp_path):
    serving = await serve(odd=ODD, options={"temporary": tmp_path / "workers"})
    (folder,) = (tmp_path / "workers").iterdir()
    (folder / "left").write_text("left")
    os.kill(serving.worker("odd")["pid"], signal.SIGKILL)
    await until(lambda: not folder.exists(), 60.0)
    assert (await serving.predict("odd", 60.0))["pid"]
    assert folder not in list((tmp_path / "workers").iterdir())


async def test_an_answer_given_just_before_the_end_is_an_answer(serve):
    serving = await serve(odd=ODD)
    first = await serving.predict("odd", do="answer_and_die")
    await until(lambda: serving.worker("odd")["pid"] != first["pid"])
    assert (await serving.predict("odd"))["pid"] != first["pid"]


@pytest.mark.parametrize("do", ["close", "threads", "flood"])
async def test_what_a_call_leaves_behind_does_not_spoil_the_next(serve, do):
    serving = await serve(odd=ODD)
    await serving.predict("odd", do=do)
    assert await serving.predict("odd", do="print") == "printed"
    assert (await serving.predict("odd"))["pid"]


async def test_the_log_has_what_was_printed_even_before_a_crash(serve, tmp_path):
    serving = await serve(odd=ODD)
    await serving.predict("odd", do="print")
    assert "a line" in (tmp_path / "logs" / "odd.log").read_text()


async def test_the_log_of_a_model_that_prints_without_end_is_cut(serve, tmp_path):
    serving = await serve(odd=ODD)
    await serving.predict("odd", do="flood")
    log = tmp_path / "logs" / "odd.log"
    await until(lambda: log.stat().st_size < 40_000_000, 10)
    assert (tmp_path / "logs" / "odd.log.1").stat().st_size <= 2**20
    await serving.predict("odd", do="print")
    assert log.read_text().endswith("a line\n")


async def test_one_models_crashes_do_not_disturb_another(serve):
    serving = await serve(hostile=HOSTILE, bare="yard_fixtures.bare:Bare")

    async def crash():
        for _ in range(4):
            with pytest.raises(WorkerDied):
                await serving.predict("hostile", do="segfault")

    crashing = asyncio.ensure_future(crash())
    served = 0
    while not crashing.done():
        assert await serving.predict("bare") == "here"
        served += 1
        await asyncio.sleep(0.01)
    await crashing
    assert served > 20
    assert serving.worker("bare")["restarts"] == 0


async def test_a_crash_at_the_import_is_listed_with_the_signal_and_its_last_words(serve):
    serving = await serve(crashes="odd_models:CrashesWhenMade", wait=False)
    with pytest.raises(ModelFailedToLoad, match="SIGSEGV"):
        await serving.pool.wait_loaded(["crashes"])
    handle = serving.pool.get("crashes")
    assert handle.state == "failed"
    assert "the last words" in handle.error.traceback
    with pytest.raises(ModelUnavailable, match="SIGSEGV"):
        await serving.predict("crashes")


async def test_a_crash_at_the_import_that_passes_is_tried_again(serve, tmp_path):
    serving = await serve(
        crashes="odd_models:CrashesOnce", env={"MARK": str(tmp_path / "mark")}, wait=False
    )
    await until(lambda: serving.pool.get("crashes").state == "ready")
    assert await serving.predict("crashes") == "second"


async def test_a_hanging_import_is_given_up(serve):
    serving = await serve(
        hangs="yard_fixtures.hangs_at_import:Model", wait=False, options={"load_timeout_s": 1.5}
    )
    with pytest.raises(ModelFailedToLoad, match=r"1\.5 s"):
        await serving.pool.wait_loaded(["hangs"])


async def test_closing_leaves_no_process_whatever_they_are_doing(serve):
    serving = await serve(hostile=HOSTILE, odd=ODD)
    pids = [serving.worker("hostile")["pid"], serving.worker("odd")["pid"]]
    hanging = asyncio.ensure_future(serving.predict("hostile", do="hang"))
    await asyncio.sleep(0.2)
    os.kill(pids[1], signal.SIGSTOP)
    started = time.monotonic()
    await serving.pool.close()
    assert time.monotonic() - started < 30
    assert all(gone(pid) for pid in pids)
    with pytest.raises((ModelUnavailable, WorkerDied)):
        await hanging


async def test_workers_are_gone_within_two_seconds_of_the_front_being_killed(tmp_path):
    front = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "front.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PLUGINS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = [int(word) for word in front.stdout.readline().split()]
    assert len(pids) == 2
    front.kill()
    front.wait()
    await until(lambda: all(gone(pid) for pid in pids), 2.0)


async def test_text_that_is_no_unicode_does_not_block_the_worker(serve, tmp_path):
    """aiohttp hands on bytes of a header that are no UTF-8 as lone surrogates."""
    serving = await serve(bare="yard_fixtures.bare:Bare")
    handle = serving.pool.get("bare")
    for _ in range(3):
        request = RequestData(accept="image/\udcff, */*", headers={"user-agent": "\udcfe"})
        answer = await handle.submit(request, None, tmp_path / "call").answer()
        assert b"here" in answer.body


async def test_a_worker_that_cannot_be_started_for_want_of_descriptors_is_started_later(
    serve, monkeypatch
):
    serving = await serve(hostile=HOSTILE)
    made, refusals = socket.socketpair, iter(range(3))

    def refusing(*arguments):
        if next(refusals, None) is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return made(*arguments)

    monkeypatch.setattr("modelyard.serving.process.socket.socketpair", refusing)
    os.kill(serving.worker("hostile")["pid"], signal.SIGKILL)
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await serving.predict("hostile"))["pid"]
                break
            except (ModelUnavailable, WorkerDied):
                await asyncio.sleep(0.1)
    assert next(refusals, None) is None, "it was tried again"
