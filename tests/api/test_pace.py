"""How long a connection may take: its clock, look by look."""

import pytest

from modelyard.api.port.pace import Limits, Pace, Phase
from modelyard.settings import Settings

LIMITS = Limits(idle_s=73.0, client_s=28.0, rate=256)


class Clock:
    """Looks at one connection; `every_s` is more than planned where the server is busy."""

    def __init__(self, every_s):
        self.pace, self.every_s, self.now, self.moved = Pace(), every_s, 1000.0, 0

    def cut_after(self, phase, most_s, bytes_a_second=0):
        """The seconds after which it is cut at this, None: not in so many."""
        began = self.now
        while self.now - began < most_s:
            self.now += self.every_s
            self.moved += int(bytes_a_second * self.every_s)
            if self.pace.overdue(phase, self.moved, self.now, LIMITS):
                return self.now - began
        return None


EVERY = pytest.mark.parametrize("every_s", [1.0, 1.25, 4.0])


@EVERY
def test_time_for_which_a_body_is_held_back_is_not_its_clients(every_s):
    clock = Clock(every_s)
    assert clock.cut_after(Phase.BODY, 16) is None
    assert clock.cut_after(Phase.HELD, 600) is None, "it waits for us"
    left = clock.cut_after(Phase.BODY, 100)
    assert 28 - 16 - every_s <= left <= 28 - 16 + 2 * every_s, "its clock goes on where it stood"


@EVERY
def test_who_is_let_in_again_and_sends_is_not_cut_however_often_it_was_held(every_s):
    clock = Clock(every_s)
    for _ in range(50):
        assert clock.cut_after(Phase.BODY, 20, bytes_a_second=1000) is None
        assert clock.cut_after(Phase.HELD, 60) is None
    assert clock.cut_after(Phase.BODY, 100) is not None


@EVERY
def test_being_held_gains_no_time_for_who_sends_nothing(every_s):
    clock = Clock(every_s)
    spent = 0.0
    while clock.cut_after(Phase.BODY, 4) is None:
        spent += 4
        assert spent <= 28 + 2 * every_s
        assert clock.cut_after(Phase.HELD, 20) is None


@pytest.mark.parametrize("phase", [Phase.HEAD, Phase.BODY, Phase.ANSWER])
def test_what_stands_still_is_cut_before_the_time_that_was_set(phase):
    limits = Limits.of(Settings(client_timeout=30))
    assert limits.client_s + 2 * 1.25 < 30, "a look late at its begin, and one at its end"
    clock = Clock(1.25)
    assert 27 <= clock.cut_after(phase, 100) <= 28 + 2 * 1.25


def test_who_takes_or_sends_at_the_rate_goes_on_for_ever():
    for phase in (Phase.BODY, Phase.ANSWER):
        assert Clock(1.0).cut_after(phase, 3600, bytes_a_second=300) is None
        assert Clock(1.0).cut_after(phase, 3600, bytes_a_second=100) < 120
