"""Sessions of browsers, by themselves: when they end, and that one is nobody else's."""

import pytest
from aiohttp.test_utils import make_mocked_request

from modelyard.api.access.principal import Principal
from modelyard.api.access.sessions import COOKIE, Sessions
from modelyard.errors import IssuerUnavailable, NotPermitted

ANN = Principal("key:ann", frozenset())


def asked(cookie, method="GET", **headers):
    return make_mocked_request(method, "/", headers={"Cookie": f"{COOKIE}={cookie}", **headers})


def held(by=ANN):
    async def holder():
        if isinstance(by, Exception):
            raise by
        return by

    return holder


async def test_a_session_ends_after_its_time():
    sessions = Sessions(lasts_s=3600)
    cookie = sessions.begin("key:ann", held())
    assert await sessions.holder(asked(cookie)) is ANN
    brief = Sessions(lasts_s=0)
    cookie = brief.begin("key:ann", held())
    assert await brief.holder(asked(cookie)) is None
    assert await brief.holder(asked(cookie)) is None


async def test_a_session_whose_holder_may_nothing_any_more_has_ended_for_good():
    sessions, holders = Sessions(), [ANN, None, ANN]

    async def holder():
        return holders.pop(0)

    cookie = sessions.begin("key:ann", holder)
    assert await sessions.holder(asked(cookie)) is ANN
    assert await sessions.holder(asked(cookie)) is None
    assert await sessions.holder(asked(cookie)) is None and holders == [ANN]


async def test_who_cannot_be_judged_at_present_keeps_the_session():
    sessions = Sessions()
    cookie = sessions.begin("key:ann", held(IssuerUnavailable()))
    for _ in range(2):
        with pytest.raises(IssuerUnavailable):
            await sessions.holder(asked(cookie))


async def test_cookies_are_never_alike_and_open_their_own_session_alone():
    sessions = Sessions()
    ben = Principal("key:ben", frozenset())
    first, second = sessions.begin("key:ann", held()), sessions.begin("key:ben", held(ben))
    assert first != second and len(first) >= 43
    assert (await sessions.holder(asked(first)), await sessions.holder(asked(second))) == (ANN, ben)
    for wrong in ("", "x", first[:-1], first + "x", first.swapcase()):
        assert await sessions.holder(asked(wrong)) is None
    sessions.end(first)
    assert await sessions.holder(asked(first)) is None
    assert await sessions.holder(asked(second)) is ben


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "WEIRD"])
async def test_a_change_has_to_say_which_site_it_comes_from(method):
    sessions = Sessions()
    cookie = sessions.begin("key:ann", held())
    with pytest.raises(NotPermitted):
        await sessions.holder(asked(cookie, method))
    for name in ("Origin", "Sec-Fetch-Site"):
        assert await sessions.holder(asked(cookie, method, **{name: "x"})) is ANN


async def test_of_too_many_sessions_the_oldest_ends():
    sessions = Sessions()
    first = sessions.begin("key:ann", held())
    last = [sessions.begin(f"key:{n}", held()) for n in range(10_000)][-1]
    assert await sessions.holder(asked(first)) is None
    assert await sessions.holder(asked(last)) is ANN


async def test_who_signs_in_again_and_again_puts_out_nobody_else():
    sessions, eve = Sessions(), Principal("key:eve", frozenset())
    mine = sessions.begin("key:ann", held())
    theirs = [sessions.begin("key:eve", held(eve)) for _ in range(10_001)]
    assert await sessions.holder(asked(mine)) is ANN
    assert await sessions.holder(asked(theirs[0])) is None
    for kept in (theirs[-1], theirs[-1000]):
        assert await sessions.holder(asked(kept)) is eve
    assert await sessions.holder(asked(theirs[-1001])) is None
