"""Many models are loaded a few at a time, and none of them holds the others for long."""

import asyncio

from modelyard.serving.gate import LoadGate


async def test_no_more_models_than_its_width_load_at_the_same_time():
    gate, now, most = LoadGate(width=2), 0, 0

    async def load():
        nonlocal now, most
        async with gate.turn():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.005)
            now -= 1

    await asyncio.gather(*(load() for _ in range(9)))
    assert most == 2


async def test_a_model_that_hangs_gives_its_turn_back():
    gate = LoadGate(width=1, longest_s=0.05)
    hanging = asyncio.Event()

    async def hang():
        async with gate.turn():
            await hanging.wait()

    task = asyncio.ensure_future(hang())
    await asyncio.sleep(0)
    async with asyncio.timeout(2), gate.turn():
        pass
    hanging.set()
    await task
    async with asyncio.timeout(2), gate.turn():  # given back once, not twice
        second = asyncio.ensure_future(gate.turn().__aenter__())
        await asyncio.sleep(0.01)
        assert not second.done()
        second.cancel()


async def test_a_load_that_fails_gives_its_turn_back():
    gate = LoadGate(width=1)
    for _ in range(3):
        try:
            async with gate.turn():
                raise ValueError
        except ValueError:
            continue
