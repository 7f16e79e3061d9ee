"""Who may receive a message by gRPC, and who waits: fair between callers, whatever they do."""

import asyncio

import pytest

from modelyard.api.grpc.reading import AT_ONCE, SharedPlaces, StrangersPlaces
from modelyard.errors import Busy

LONGEST = AT_ONCE // 8


class Reading:
    def __init__(self, caller):
        self.caller = caller
        self.error = None

    def cut(self, error):
        self.error = error


def places(wait_s=60.0, longest=LONGEST):
    return SharedPlaces(longest, wait_s)


async def entered(here, *callers):
    """Those that have a place, and the tasks of all."""
    readers = [Reading(caller) for caller in callers]
    tasks = [asyncio.ensure_future(here.enter(reader)) for reader in readers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    inside = [reader for reader, task in zip(readers, tasks, strict=True) if task.done()]
    return inside, readers, tasks


def of(readers):
    return [reader.caller for reader in readers]


async def given_up(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_there_are_as_many_places_as_longest_messages_fit():
    for longest, count in ((LONGEST, 8), (LONGEST // 4, 32), (AT_ONCE, 4)):
        here = places(longest=longest)
        inside, _, tasks = await entered(here, *(str(number) for number in range(count + 1)))
        assert len(inside) == count
        await given_up(tasks)


async def test_one_caller_leaves_some_to_the_next_and_that_one_too():
    here = places()
    first, _, waiting = await entered(here, *("a" * 20))
    second, _, more = await entered(here, *("b" * 20))
    third, _, most = await entered(here, "c")
    assert (len(first), len(second), len(third)) == (5, 2, 1)
    await given_up([*waiting, *more, *most])


async def test_those_who_wait_are_served_in_turn_caller_by_caller():
    here = places()
    inside, _, tasks = await entered(here, *"abcdefgh")
    _, waiting, more = await entered(here, *"xxxyz")
    for reader in inside:
        here.leave(reader)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    done = [reader for reader, task in zip(waiting, more, strict=True) if task.done()]
    assert of(done) == list("xxxyz")
    here = places()
    inside, _, _ = await entered(here, *"abcdefgh")
    _, waiting, more = await entered(here, *"xxxyz")
    for reader in inside[:3]:
        here.leave(reader)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = [reader for reader, task in zip(waiting, more, strict=True) if task.done()]
    assert of(done) == list("xyz")
    await given_up([*tasks, *more])


async def test_who_waits_in_vain_is_told_and_keeps_no_place():
    here = places(wait_s=0.05)
    inside, _, _ = await entered(here, *("a" * 5))
    with pytest.raises(Busy):
        await here.enter(Reading("a"))
    for reader in inside:
        here.leave(reader)
        here.leave(reader)  # once too often does no harm
    again, _, tasks = await entered(here, *("a" * 6))
    assert len(again) == 5
    await given_up(tasks)


async def test_who_gives_up_while_waiting_or_as_it_is_let_in_keeps_no_place():
    here = places()
    inside, _, _ = await entered(here, *("a" * 5))
    _, _, waiting = await entered(here, *("a" * 2))
    waiting[0].cancel()
    here.leave(inside[0])
    waiting[1].cancel()  # it has its place, and does not know it yet
    await asyncio.gather(*waiting, return_exceptions=True)
    for reader in inside[1:]:
        here.leave(reader)
    again, _, tasks = await entered(here, *("a" * 6))
    assert len(again) == 5
    await given_up(tasks)


async def test_no_more_than_so_many_wait():
    here = places()
    _, _, tasks = await entered(here, *("a" * 5))
    _, _, waiting = await entered(here, *("a" * 1000))
    with pytest.raises(Busy):
        await here.enter(Reading("a"))
    assert (await entered(here, "b"))[0]  # there is a place for it
    await given_up([*tasks, *waiting])


async def test_among_strangers_the_last_ones_stay():
    here = StrangersPlaces()
    readers = [Reading(str(number)) for number in range(4)]
    for reader in readers:
        await here.enter(reader)
    assert [type(reader.error) for reader in readers] == [Busy, Busy, type(None), type(None)]
    for reader in readers:
        here.leave(reader)
    await here.enter(readers[0])
    await here.enter(readers[1])
    assert readers[2].error is None
