"""Calls that a worker gets together: each has its own answer, and only the guilty one fails."""

import asyncio
import random
import time

import pytest

from modelyard.errors import Busy, DeadlineExceeded, PluginFailed, WorkerDied
from modelyard.serving.options import ModelOptions

SUMMING = {"summing": "batch_models:Summing"}
PATIENT = {"queue_s": 60}  # whatever else the machine does


def ask(serving, **arguments):
    return asyncio.ensure_future(serving.predict("summing", **arguments))


async def test_an_idle_model_answers_at_once_and_a_busy_one_in_batches(serve):
    serving = await serve(**SUMMING)
    assert (await ask(serving))["together"] == 1
    answers = await asyncio.gather(*(ask(serving, number=n) for n in range(40)))
    assert [answer["number"] for answer in answers] == list(range(40))
    sizes = [answer["together"] for answer in answers]
    assert max(sizes) > 4, sizes


async def test_every_caller_gets_its_own_answer_whatever_the_sizes_and_the_order(serve):
    serving = await serve(options={"workers": 2, **PATIENT}, **SUMMING)
    order = random.Random(5)
    calls = []
    for number in range(300):
        padding = "x" * order.choice([0, 10, 5000, 40_000, 300_000])
        calls.append(ask(serving, number=number, padding=padding, seconds=order.random() / 500))
        if order.random() < 0.2:
            await asyncio.sleep(order.random() / 100)
        if order.random() < 0.05:
            calls.pop().cancel()
            calls.append(ask(serving, number=len(calls)))
        assert len(calls) == number + 1
    answers = await asyncio.gather(*calls)
    assert [answer["number"] for answer in answers] == list(range(300))


async def test_calls_of_another_size_are_no_part_of_a_batch(serve):
    serving = await serve(**SUMMING)
    first = ask(serving, seconds=0.2)
    await asyncio.sleep(0.05)
    large = "x" * 300_000
    answers = await asyncio.gather(
        *(ask(serving, number=n, padding=large if n % 2 else "") for n in range(10))
    )
    assert all(len(answer["lengths"]) == 1 for answer in answers)
    assert max(answer["together"] for answer in answers) > 1
    await first


async def test_a_call_that_the_model_refuses_fails_alone(serve):
    serving = await serve(**SUMMING)
    busy = ask(serving, seconds=0.2)
    await asyncio.sleep(0.05)
    calls = [ask(serving, number=n, do="refuse" if n == 4 else "") for n in range(9)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers.pop(4), PluginFailed)
    assert [answer["number"] for answer in answers] == [0, 1, 2, 3, 5, 6, 7, 8]
    await busy


async def test_a_call_that_kills_its_worker_fails_alone_and_what_came_with_it_is_served(
    serve,
):
    serving = await serve(options=PATIENT, **SUMMING)
    await asyncio.gather(*(ask(serving, seconds=0.004) for _ in range(20)))  # batches are short
    calls = [ask(serving, number=n, seconds=0.004) for n in range(60)]
    guilty = ask(serving, do="die")
    more = [ask(serving, number=n, seconds=0.004) for n in range(60, 100)]
    with pytest.raises(WorkerDied):
        await guilty
    answers = await asyncio.gather(*calls, *more)
    assert [answer["number"] for answer in answers] == list(range(100))


async def test_calls_that_are_too_late_are_not_worked_on(serve):
    serving = await serve(**SUMMING)
    busy = ask(serving, seconds=1.0)
    await asyncio.sleep(0.1)
    late = [
        asyncio.ensure_future(serving.predict("summing", 0.2, number=n, seconds=0.5))
        for n in range(5)
    ]
    began = time.monotonic()
    for call in late:
        with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
            await call
    assert not busy.done()
    await busy
    assert (await ask(serving, number=1, seconds=0))["together"] == 1
    assert time.monotonic() - began < 3.0  # five times 0.5 s, had they been worked on


async def test_a_queue_is_as_long_as_it_can_be_worked_off_in_time(serve):
    options = {"queue_s": 0.5, "least_waiting": 3}
    serving = await serve(odd="odd_models:Odd", options=options)
    for _ in range(3):
        await serving.predict("odd", seconds=0.1)
    calls = [asyncio.ensure_future(serving.predict("odd", seconds=0.1)) for _ in range(40)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Busy)]
    assert 30 <= len(refused) <= 37
    assert refused[0].retry_after_s == pytest.approx(0.5, rel=0.5)


async def test_rows_are_counted_and_not_calls(serve):
    serving = await serve(options=PATIENT, rows="batch_models:Rows")
    await serving.predict("rows", x=[[0, 0]])
    busy = asyncio.ensure_future(serving.predict("rows", x=[[1, 1]] * 10))
    await asyncio.sleep(0.05)
    calls = [
        asyncio.ensure_future(serving.predict("rows", x=[[n, n]] * size))
        for n, size in enumerate([5, 5, 20, 5, 5, 5])
    ]
    answers = await asyncio.gather(*calls)
    await busy
    assert [len(answer["own"]) for answer in answers] == [5, 5, 20, 5, 5, 5]
    assert [answer["own"][0][0] for answer in answers] == list(range(6))
    assert answers[2]["rows"] == 20  # more than a batch may have: by itself
    assert all(one["rows"] <= 16 for n, one in enumerate(answers) if n != 2)


async def test_a_queue_counts_each_call_by_what_its_size_takes(serve):
    """After one call that took long, a burst of quick ones is not turned away."""
    serving = await serve(options={"queue_s": 8.0, "least_waiting": 2}, odd="odd_models:Odd")
    for _ in range(3):
        await serving.predict("odd")
    await serving.predict("odd", seconds=1.5, note="x" * 200_000)
    calls = [asyncio.ensure_future(serving.predict("odd")) for _ in range(200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert not [answer for answer in answers if isinstance(answer, Exception)]


async def test_a_call_that_would_wait_past_its_deadline_is_refused_at_once(serve):
    serving = await serve(options=PATIENT, odd="odd_models:Odd")
    await serving.predict("odd", seconds=0.4)
    calls = [asyncio.ensure_future(serving.predict("odd", seconds=0.4)) for _ in range(4)]
    await asyncio.sleep(0.1)
    with pytest.raises(Busy, match=r"would wait for about .* and has 0\.5 s") as caught:
        await serving.predict("odd", timeout_s=0.5)
    assert 0 < caught.value.retry_after_s < 30
    assert not any(call.done() for call in calls[1:])
    assert await serving.predict("odd", timeout_s=60)
    await asyncio.gather(*calls)


async def test_a_queue_is_bounded_in_bytes(serve):
    options = {"max_waiting_size": 1_000_000}
    serving = await serve(options=options, **SUMMING)
    busy = ask(serving, seconds=0.5)
    await asyncio.sleep(0.1)
    calls = [ask(serving, padding="x" * 300_000) for _ in range(5)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Busy) for answer in answers) == 2
    assert "bytes wait" in next(a.message for a in answers if isinstance(a, Busy))
    await busy


async def test_a_model_may_wait_for_more_calls(serve):
    serving = await serve(own=ModelOptions(max_wait_ms=300), **SUMMING)
    began = time.monotonic()
    calls = []
    for _ in range(3):
        calls.append(ask(serving))
        await asyncio.sleep(0.05)
    assert [answer["together"] for answer in await asyncio.gather(*calls)] == [3, 3, 3]
    assert 0.25 < time.monotonic() - began < 8


async def test_a_full_batch_is_not_waited_for(serve):
    serving = await serve(own=ModelOptions(max_wait_ms=5000), **SUMMING)
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(serving) for _ in range(16)))
    assert {answer["together"] for answer in answers} == {16}
    assert time.monotonic() - began < 4.5
