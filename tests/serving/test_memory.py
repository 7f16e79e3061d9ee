"""Workers stay within a number of bytes: idle ones end, and come back for the next call."""

import asyncio
import os
import signal

import pytest

from modelyard.errors import ModelUnavailable
from modelyard.schemas.transport import RequestData
from modelyard.serving.gate import LoadGate
from modelyard.serving.memory import MemoryBudget, pss_of

TWO = {"one": "odd_models:Odd", "two": "odd_models:Odd"}


class Nobody:
    """A group of workers that takes no room."""

    size = 0


async def until(true, seconds=15.0):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture
async def serving(serve):
    """Two models, and room for one."""
    measured = await serve(**TWO)
    size = pss_of(measured.worker("one")["pid"])
    assert size > 5_000_000
    await measured.pool.close()
    yield await serve(options={"memory_budget": int(1.5 * size)}, **TWO)


async def test_the_model_used_longest_ago_is_unloaded_and_comes_back_for_a_call(serving):
    one, two = (serving.pool.get(name) for name in TWO)
    pid = serving.worker("one")["pid"]
    await serving.predict("two")
    await until(lambda: one.state == "unloaded")
    assert serving.worker("one")["state"] == "unloaded"
    assert two.state == "ready"
    await until(lambda: pss_of(pid) == 0)
    await asyncio.sleep(1.0)
    answer = await serving.predict("one", note="x")
    assert answer["note"] == "x" and answer["pid"] != pid
    assert (one.state, two.state) == ("ready", "unloaded")
    assert serving.worker("one")["restarts"] == 0


async def test_a_model_that_is_being_loaded_for_the_first_time_is_left_to_it(serve):
    serving = await serve(
        options={"memory_budget": 10_000_000},
        one="odd_models:Odd",
        slow="odd_models:SlowToMake",
    )
    assert await serving.predict("slow") == "made"


async def test_a_question_wakes_an_unloaded_model(serving):
    await serving.predict("two")
    one = serving.pool.get("one")
    await until(lambda: one.state == "unloaded")
    await one.validate("predict", RequestData(body=b"{}"))
    await until(lambda: one.state == "ready")  # its weights follow


async def test_a_model_with_calls_is_never_unloaded(serving):
    slow = asyncio.ensure_future(serving.predict("one", seconds=4.0))
    await asyncio.sleep(0.1)
    await serving.predict("two")
    await asyncio.sleep(2.5)
    assert serving.pool.get("one").state == "ready"
    await slow


async def test_who_cannot_wait_for_a_load_is_told_so_at_once_and_it_begins(serving):
    await serving.predict("two")
    one = serving.pool.get("one")
    await until(lambda: one.state == "unloaded")
    with pytest.raises(ModelUnavailable, match="being loaded again") as told:
        await serving.predict("one", timeout_s=0.05)
    assert told.value.retry_after_s > 0.05
    await until(lambda: one.state == "ready")


async def test_models_that_hang_while_they_are_loaded_again_keep_no_other_unloaded(monkeypatch):
    monkeypatch.setattr("modelyard.serving.memory.LONGEST_TURN_S", 0.1)
    budget = MemoryBudget(1, LoadGate(width=4, longest_s=0.1))

    async def hang():
        async with budget.waking(Nobody()):
            await asyncio.sleep(600)

    hanging = [asyncio.ensure_future(hang()) for _ in range(4)]
    await asyncio.sleep(0)
    assert budget.crowded
    await until(lambda: not budget.crowded)
    async with asyncio.timeout(10), budget.waking(Nobody()):
        assert not budget.crowded
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_many_calls_for_an_unloaded_model_wait_for_one_load(serving):
    await serving.predict("two")
    await until(lambda: serving.pool.get("one").state == "unloaded")
    answers = await asyncio.gather(*(serving.predict("one") for _ in range(20)))
    assert len({answer["pid"] for answer in answers}) == 1


async def test_a_model_that_dies_again_and_again_is_told_and_does_not_use_up_the_machine(serve):
    serving = await serve(one="odd_models:Odd")
    handle = serving.pool.get("one")
    for _ in range(6):
        await until(lambda: handle.state == "ready")
        os.kill(serving.worker("one")["pid"], signal.SIGSEGV)
        await until(lambda: handle.state != "ready")
    assert handle.state == "crashing"
    assert "6 times within a minute" in handle.problem and "SIGSEGV" in handle.problem
    with pytest.raises(ModelUnavailable, match="SIGSEGV"):
        await serving.predict("one")
    await asyncio.sleep(1.0)
    assert serving.worker("one")["pid"] is None
