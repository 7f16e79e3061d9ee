"""Calls that name no version are divided between versions, and copied for one that is tried."""

import asyncio
from collections import Counter

import pytest

from modelyard.schemas.transport import RequestData
from modelyard.serving.choices import Division
from modelyard.serving.traffic import chosen, point_of

MODEL = {"model": "odd_models:Weighty"}


def division(serving, shadow=None, shadow_share=1.0, **shares):
    refs = tuple((serving.weights(name), float(weight)) for name, weight in shares.items())
    return Division(refs, serving.weights(shadow) if shadow else None, shadow_share)


async def texts(serving, count, sticky=None):
    handle = serving.pool.get("model")
    calls = [
        handle.submit(
            RequestData(body=b"{}"), None, serving.folder / "call", sticky=sticky
        ).answer()
        for _ in range(count)
    ]
    return Counter(answer.weights_id for answer in await asyncio.gather(*calls))


async def test_calls_are_divided_by_weight_and_each_answer_names_its_version(serve):
    serving = await serve("a", **MODEL)
    await serving.pool.get("model").divide(division(serving, a=90, b=10))
    seen = await texts(serving, 100)
    assert abs(seen["b"] - 10) <= 2 and seen["a"] + seen["b"] == 100


async def test_a_sticky_caller_stays_with_its_version_and_there_are_callers_of_both(serve):
    serving = await serve("a", **MODEL)
    await serving.pool.get("model").divide(division(serving, a=50, b=50))
    seen = [await texts(serving, 3, f"client {number}") for number in range(12)]
    assert all(len(one) == 1 for one in seen)
    assert set().union(*seen) == {"a", "b"}


def test_more_weight_for_the_first_moves_nobody_from_it():
    points = [point_of(str(number)) for number in range(1000)]
    before = {point for point in points if chosen([50, 50], point) == 0}
    after = {point for point in points if chosen([90, 10], point) == 0}
    assert before < after and 450 < len(before) < 550 and 870 < len(after) < 930


@pytest.mark.parametrize(("name", "words"), [("bad", "bad weights"), ("crash", "SIGSEGV")])
async def test_the_share_of_a_version_that_cannot_be_loaded_goes_to_the_other(serve, name, words):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await handle.divide(division(serving, a=50, **{name: 50}))
    assert await texts(serving, 10) == {"a": 10}
    assert words in handle.traffic.problem
    await handle.divide(None)
    assert handle.traffic.problem is None and handle.traffic.to_data(handle.weights) is None


async def test_no_call_fails_while_shares_move_and_a_canary_becomes_the_default(serve):
    serving = await serve("a", **MODEL)
    handle, stop, seen = serving.pool.get("model"), False, Counter()

    async def load():
        while not stop:
            seen.update(await texts(serving, 1))

    clients = [asyncio.ensure_future(load()) for _ in range(6)]
    await handle.divide(division(serving, a=80, b=20))
    await asyncio.sleep(0.5)
    pid = {worker["pid"] for worker in handle.workers if worker["weights"] == "b"}
    await handle.use_weights(serving.weights("b"))
    await handle.divide(None)
    stop = True
    await asyncio.gather(*clients)
    assert handle.weights == "b" and set(seen) == {"a", "b"}
    # It was warm: nothing was loaded again.
    assert {worker["pid"] for worker in handle.workers if worker["weights"] == "b"} == pid


async def copies(serving, count):
    handle, request = serving.pool.get("model"), RequestData(body=b"{}")
    for _ in range(count):
        answer = await handle.submit(request, None, serving.folder / "call").answer()
        handle.copied(request, serving.folder / "call", answer)
        await asyncio.sleep(0.15)
    return handle.traffic.to_data(handle.weights)["shadow"]


async def test_a_shadow_gets_its_part_of_the_calls_and_its_answers_are_compared(serve):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await handle.divide(division(serving, a=1, shadow="b", shadow_share=0.5))
    told = await copies(serving, 4)
    assert told["ready"] and told["different"] == 2 and told["equal"] == told["failed"] == 0
    assert "b" in handle.needed_versions


async def test_copies_are_dropped_while_callers_wait(serve):
    serving = await serve("a", **MODEL)
    handle, request = serving.pool.get("model"), RequestData(body=b"{}")
    await handle.divide(division(serving, a=1, shadow="b"))
    waiting = [asyncio.ensure_future(texts(serving, 1)) for _ in range(20)]
    await asyncio.sleep(0.02)
    answer = await handle.submit(request, serving.weights("b"), serving.folder / "call").answer()
    assert not handle.copied(request, serving.folder / "call", answer)
    assert handle.traffic.to_data(handle.weights)["shadow"]["dropped"] == 1
    await asyncio.gather(*waiting)
