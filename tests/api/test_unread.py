"""Answers that nobody takes have one budget; who has let one wait longest is cut off first."""

import asyncio

import pytest

from modelyard.api.metrics import Metrics
from modelyard.api.port.unread import Unread

MB = 1_000_000


class Reader:
    """A connection of which only what it has not taken matters."""

    def __init__(self, left):
        self.left, self.cut_at = left, None

    def left_to_send(self):
        return self.left

    def cut(self, phase):
        self.cut_at = phase.value


@pytest.fixture
def unread():
    return Unread(Metrics([]), budget=10 * MB)


def waiting(unread, count):
    readers = [Reader(MB) for _ in range(count)]
    for one in readers:
        unread.waits(one)
    return readers


async def test_who_has_waited_longest_is_cut_off_when_the_budget_is_used_up(unread):
    readers = waiting(unread, 13)
    await asyncio.sleep(0.3)
    assert [one.cut_at for one in readers] == ["answer"] * 3 + [None] * 10


async def test_within_the_budget_nobody_is_and_who_has_read_counts_no_more(unread):
    readers = waiting(unread, 10)
    for one in readers:
        unread.taken(one)
        unread.taken(one)
    again = waiting(unread, 10)
    await asyncio.sleep(0.3)
    assert not any(one.cut_at for one in readers + again)


async def test_what_has_left_meanwhile_does_not_count(unread):
    """A transport tells that it has much to send before it has tried."""
    readers = waiting(unread, 30)
    for one in readers:
        one.left = MB // 10
    await asyncio.sleep(0.3)
    assert not any(one.cut_at for one in readers)
