"""Ten times as many calls as a model can answer: it answers as many as ever, and says no to the
others at once. Open loop: who sends does not wait for answers. Real server, real worker."""

import asyncio
import time

import aiohttp
import pytest

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "shift", "--no-warm-start", "--log-level", "error")
    server.wait_ready("shift")
    return server


class Driver:
    """Asks one server, and knows when each call was answered, how, and after how long."""

    def __init__(self, server, session, cost):
        """`cost`: seconds of a call. So capacity is the model's, whatever the machine does."""
        self._url, self._session = server.url + "/v2/models/shift/predict/", session
        self._body = {"x": [1.0], "seconds": cost}
        self.told = []

    async def ask(self):
        began = time.monotonic()
        async with self._session.post(self._url, json=self._body) as answer:
            await answer.read()
        now = time.monotonic()
        self.told.append((now, answer.status, answer.headers.get("Retry-After"), now - began))

    async def in_turn(self, until):
        while time.monotonic() < until:
            await self.ask()

    async def offering(self, rate, seconds):
        """So many calls a second, whatever comes of them; returns when all are answered."""
        began, asking, sent = time.monotonic(), set(), 0
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * rate:
                asking.add(asyncio.create_task(self.ask()))
                sent += 1
            await asyncio.sleep(0.01)
        await asyncio.gather(*asking)

    def goodput(self, begun):
        """Calls answered with 200 in a second, up to the last of them."""
        good = [at for at, status, *_ in self.told if status == 200]
        return len(good) / (max(good) - begun)


@pytest.mark.parametrize(
    ("seconds", "cost", "share"), [(3, 0.05, 0.5), pytest.param(20, 0.02, 0.9, marks=SLOW)]
)
def test_ten_times_too_many_calls_leave_goodput_as_it_was(server, seconds, cost, share):
    async def drive():
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            driver = Driver(server, session, cost)
            begun = time.monotonic()
            await asyncio.gather(*(driver.in_turn(begun + seconds) for _ in range(8)))
            peak = driver.goodput(begun)
            driver.told.clear()
            begun = time.monotonic()
            await driver.offering(10 / cost, seconds)
            return peak, driver.goodput(begun), driver.told

    peak, goodput, told = asyncio.run(drive())
    refused = sorted(after for _, status, _, after in told if status != 200)
    p50, p99 = (refused[int(part * (len(refused) - 1))] * 1000 for part in (0.5, 0.99))
    print(
        f"overload: {len(told)} calls in {seconds} s, peak {peak:.1f}/s, goodput {goodput:.1f}/s "
        f"({goodput / peak:.2f}); {len(refused)} refused, p50 {p50:.1f}, p99 {p99:.1f} ms"
    )
    assert {status for _, status, *_ in told} <= {200, 429, 503}
    assert all(int(retry) >= 1 for _, status, retry, _ in told if status != 200)
    assert len(refused) > len(told) / 2
    assert goodput > share * peak
    assert p99 < 10_000
