"""Whose turn it is to send a large body, and how much of them all is here at once."""

import asyncio

import pytest

from modelyard.api.port import intake as taking
from modelyard.api.port.intake import BUDGET, LEAST, Intake, Turn

PIECE = 256 * 1024
PLACES = BUDGET // PIECE


class Sender:
    """A connection of which only the body's bytes matter: those that are here, and whether more
    may come."""

    def __init__(self, intake):
        self.intake, self.turn = intake, Turn()
        self.here, self.may = 0, True

    def unused(self):
        return self.here

    def hold(self):
        self.may = False

    def let(self):
        self.may = True

    def sends(self, size=PIECE):
        assert self.may
        self.here += size
        if self.here >= LEAST:
            self.intake.came(self)

    def used(self):
        self.here = 0
        self.intake.asks(self)


@pytest.fixture
async def intake():
    return Intake()


def senders(intake, count):
    made = [Sender(intake) for _ in range(count)]
    for one in made:
        intake.begins(one)
    return made


async def turns():
    """What the loop has to do now is done."""
    for _ in range(3):
        await asyncio.sleep(0)


async def until(what):
    end = asyncio.get_running_loop().time() + 60
    while not what():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


async def test_no_more_is_let_in_than_the_budget_has_room_for(intake):
    crowd = senders(intake, 300)
    most, finished = 0, 0
    for _ in range(1000):
        for one in crowd:
            if one.may:
                one.sends()
        most = max(most, intake.held)
        for one in [one for one in crowd if one.here][:7]:
            one.used()
            finished += 1
        await turns()
    assert most <= BUDGET + PIECE
    assert finished == 7000


async def test_who_began_first_goes_first(intake):
    crowd = senders(intake, 200)
    taken = dict.fromkeys(crowd, 0)
    for _ in range(40):
        for one in crowd:
            if one.may:
                one.sends()
        for one in crowd:
            if one.here:
                taken[one] += 1
                one.used()
        await turns()
    assert [taken[one] for one in crowd[:PLACES]] == [40] * PLACES
    assert sum(taken[one] for one in crowd[PLACES + 1 :]) == 0


async def test_who_has_sent_much_goes_behind_the_others(intake, monkeypatch):
    monkeypatch.setattr(taking, "_SHARE", 4 * PIECE)
    crowd = senders(intake, 200)
    for _ in range(4 * 200 * 4 // PLACES):
        for one in crowd:
            if one.may:
                one.sends()
        for one in crowd:
            if one.here:
                one.used()
        await turns()
    assert all(one.turn.number >= 200 for one in crowd)


async def test_who_may_send_and_does_not_keeps_nobody_out(intake):
    silent, late = senders(intake, 300), Sender(intake)
    assert not silent[-1].may
    await until(lambda: all(one.may for one in silent))
    intake.begins(late)
    await until(lambda: late.may)


async def test_all_who_were_silent_and_send_at_once_are_held_as_the_budget_is_reached(intake):
    crowd = senders(intake, 300)
    await until(lambda: all(one.may for one in crowd))
    for one in crowd:
        if one.may:
            one.sends()
    assert intake.held <= BUDGET + PIECE


async def test_a_piece_that_nobody_uses_keeps_others_out_for_a_second_only(intake):
    stuck = senders(intake, 100)
    for one in stuck:
        if one.may:
            one.sends()
    late = Sender(intake)
    intake.begins(late)
    assert not late.may
    await until(lambda: late.may)
    assert not any(one.may for one in stuck if one.here)
    held = next(one for one in stuck if one.here)
    held.used()
    await until(lambda: held.may)


async def test_who_leaves_gives_back_what_it_had(intake):
    crowd = senders(intake, 300)
    for one in crowd:
        if one.may:
            one.sends()
    waiting = crowd[-1]
    assert not waiting.may
    for one in crowd[:-1]:
        intake.leave(one)
        intake.leave(one)
    await turns()
    assert intake.held == 0 and waiting.may


async def test_bytes_on_their_way_to_a_file_count(intake):
    with intake.using(BUDGET):
        one = Sender(intake)
        intake.begins(one)
        assert not one.may
        await asyncio.sleep(0.3)
        assert not one.may
    await turns()
    assert one.may
