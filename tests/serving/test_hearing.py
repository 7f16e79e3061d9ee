"""A check of arguments that never returns keeps one request, and no later one, from its answer."""

import asyncio

import pytest

from modelyard.errors import ModelUnavailable
from modelyard.schemas.transport import RequestData

HESITANT = {"hesitant": "odd_models:Hesitant"}
SOON = {"validate_timeout_s": 0.7}


def check(serving, body=b"{}"):
    return serving.pool.get("hesitant").validate("train", RequestData(body=body))


async def checked_in_the_end(serving):
    for _ in range(60):
        try:
            return await check(serving)
        except ModelUnavailable:
            await asyncio.sleep(0.2)
    raise AssertionError("no check of arguments is answered any more")


async def pid_of(serving):
    return (await serving.predict("hesitant"))["pid"]


async def test_a_check_that_hangs_has_its_worker_replaced_without_a_gap(serve):
    serving = await serve("whole", **HESITANT, options=SOON)
    before = await pid_of(serving)
    with pytest.raises(ModelUnavailable, match="did not answer"):
        await check(serving, b'{"word": "hang"}')
    answered, stop = set(), asyncio.Event()

    async def keep_asking():
        while not stop.is_set():
            answered.add(await pid_of(serving))
            await asyncio.sleep(0.01)

    asking = asyncio.ensure_future(keep_asking())
    await checked_in_the_end(serving)
    stop.set()
    await asking
    after = await pid_of(serving)
    assert after != before and answered == {before, after}
    assert serving.pool.get("hesitant").weights == "whole"
    assert (await check(serving)).record == {"word": ""}


async def test_predictions_that_keep_a_check_waiting_cost_no_worker(serve):
    """They hold the interpreter's lock, one after the other."""
    serving = await serve("whole", **HESITANT, options=SOON)
    before = await pid_of(serving)
    for _ in range(2):
        call = asyncio.ensure_future(serving.predict("hesitant", seconds=4))
        await asyncio.sleep(0.1)
        with pytest.raises(ModelUnavailable):
            await check(serving)
        assert (await call)["pid"] == before
    await check(serving)
    await asyncio.sleep(0.5)
    assert await pid_of(serving) == before


async def test_a_model_whose_description_hangs_goes_on_predicting(serve, tmp_path):
    """Its next worker cannot be loaded: that would hang, too."""
    options = {**SOON, "load_timeout_s": 5.0}
    silent = tmp_path / "silent"
    serving = await serve("whole", **HESITANT, options=options, env={"SILENT": str(silent)})
    handle, before = serving.pool.get("hesitant"), await pid_of(serving)
    silent.touch()
    with pytest.raises(ModelUnavailable):
        await handle.describe_again()
    while handle.weights_error is None:
        assert await pid_of(serving) == before
        await asyncio.sleep(0.1)
    assert "answered no more beside its predictions" in handle.weights_error
    assert await pid_of(serving) == before
    assert handle.state == "ready"
