"""Calls that wait, clients that go, and questions that are answered meanwhile."""

import asyncio

import pytest

from modelyard.errors import Busy, InvalidArguments, ModelUnavailable
from modelyard.schemas.transport import RequestData

ODD = "odd_models:Odd"


async def slow(serving, seconds):
    """A call that keeps the worker busy for so long; returns when the worker has it."""
    call = asyncio.ensure_future(serving.predict("odd", do="answer", seconds=seconds))
    while serving.worker("odd")["state"] != "busy":
        await asyncio.sleep(0.01)
    return call


async def test_arguments_are_checked_while_a_call_runs(serve):
    serving = await serve(odd=ODD)
    call = await slow(serving, 2)
    checked = await serving.pool.get("odd").validate("train", RequestData(body=b'{"do": "x"}'))
    assert (checked.record, checked.secrets) == ({"do": "x"}, [])
    with pytest.raises(InvalidArguments) as caught:
        await serving.pool.get("odd").validate("train", RequestData(body=b'{"do": 7}'))
    assert list(caught.value.errors) == ["do"]
    assert not call.done()
    await call


async def test_a_model_that_cannot_check_arguments_in_time_is_unavailable(serve):
    serving = await serve(odd=ODD, options={"validate_timeout_s": 0.7})
    call = asyncio.ensure_future(serving.predict("odd", do="hold_the_lock", seconds=3))
    await asyncio.sleep(0.3)
    with pytest.raises(ModelUnavailable) as caught:
        await serving.pool.get("odd").validate("train", RequestData())
    assert not call.done()
    assert caught.value.retry_after_s > 0
    assert await call == "held"


async def test_a_worker_that_dies_while_it_checks_makes_the_model_unavailable(serve):
    serving = await serve(odd=ODD)
    call = asyncio.ensure_future(serving.predict("odd", 1.2, do="hold_the_lock", seconds=30))
    await asyncio.sleep(0.3)
    with pytest.raises(ModelUnavailable):
        await serving.pool.get("odd").validate("train", RequestData())
    with pytest.raises(Exception, match=r"1\.2 s"):
        await call


async def test_a_check_waits_for_a_worker_that_is_starting_anew(serve):
    serving = await serve(hostile="yard_fixtures.hostile:Hostile")
    with pytest.raises(Exception, match="exited"):
        await serving.predict("hostile", do="exit")
    checked = await serving.pool.get("hostile").validate("train", RequestData())
    assert checked.record == {"do": "answer"}


async def test_a_client_that_goes_frees_its_place_in_the_queue(serve):
    serving = await serve(odd=ODD, options={"max_waiting": 2})
    running = await slow(serving, 1)
    waiting = [asyncio.ensure_future(serving.predict("odd", note=str(n))) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await serving.predict("odd")
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert (await serving.predict("odd", note="third"))["note"] == "third"
    assert (await waiting[1])["note"] == "1"
    await running


async def test_a_running_call_whose_client_went_is_finished_by_a_healthy_worker(serve):
    serving = await serve(odd=ODD)
    call = await slow(serving, 0.5)
    pid = serving.worker("odd")["pid"]
    call.cancel()
    assert (await serving.predict("odd"))["pid"] == pid


async def test_a_fresh_description_reaches_every_worker(serve, tmp_path):
    choices = tmp_path / "choices"
    choices.write_text("one")
    serving = await serve(
        choosy="odd_models:Choosy", env={"CHOICES": str(choices)}, options={"workers": 2}
    )
    handle = serving.pool.get("choosy")
    while {worker["state"] for worker in handle.workers} != {"idle"}:
        await asyncio.sleep(0.05)
    with pytest.raises(InvalidArguments):
        await serving.predict("choosy", one="two")
    choices.write_text("one two")
    described = await handle.describe_again()
    assert described.predict_arguments[0].choices == ["one", "two"]
    assert handle.description is described
    await asyncio.sleep(0.2)
    answers = await asyncio.gather(*(serving.predict("choosy", one="two") for _ in range(20)))
    assert set(answers) == {"two"}


async def test_the_folder_of_the_server_shadows_no_module_of_the_plugin(
    serve, tmp_path, monkeypatch
):
    (tmp_path / "types.py").write_text("raise SystemError('the wrong types')")
    (tmp_path / "api").mkdir()
    monkeypatch.chdir(tmp_path)
    serving = await serve(odd=ODD)
    assert str(tmp_path) not in await serving.predict("odd", do="import", note="types")


async def test_the_worker_sees_its_own_variables_and_no_secret(serve, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("MODELYARD_DATABASE", "postgresql://u:s3cret@db/x")
    serving = await serve(odd=ODD, env={"MINE": "1"})
    seen = await serving.predict("odd", do="environment")
    assert seen["MINE"] == "1"
    assert "s3cret" not in str(seen)
    assert int(seen["OMP_NUM_THREADS"]) >= 1
