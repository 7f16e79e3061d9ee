"""New weights take over from old ones, and only if they can be loaded."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from modelyard.errors import (
    Busy,
    ModelFailedToLoad,
    ModelyardError,
    NoWeights,
    PluginFailed,
    WorkerDied,
)
from modelyard.schemas.transport import RequestData

MODEL = {"model": "odd_models:Weighty"}


async def test_a_model_without_weights_says_so_until_it_has_some(serve):
    serving = await serve(**MODEL)
    handle = serving.pool.get("model")
    assert (handle.state, handle.weights) == ("ready", None)
    with pytest.raises(NoWeights):
        await serving.predict("model")
    await handle.use_weights(serving.weights("a"))
    answer = await serving.ask("model")
    assert answer.weights_id == "a"
    assert b'"text":"a"' in answer.body


async def test_weights_are_swapped_under_load_without_a_failed_call(serve):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    stop, least = False, "a"

    async def load():
        seen = set()
        while not stop:
            asked = least
            text = (await serving.predict("model"))["text"]
            assert text >= asked  # who asks after the swap is answered by the new one
            seen.add(text)
        return seen

    clients = [asyncio.ensure_future(load()) for _ in range(6)]
    for name in ("b", "c"):
        handle.prepare()
        await asyncio.sleep(0.3)
        await handle.use_weights(serving.weights(name))
        least = name
        assert (await serving.predict("model"))["text"] == name
    stop = True
    assert set.union(*await asyncio.gather(*clients)) == {"a", "b", "c"}


async def test_a_worker_prepared_before_takes_batches_as_any_other(serve):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    handle.prepare()
    await handle.use_weights(serving.weights("b"))
    answers = await asyncio.gather(*(serving.predict("model") for _ in range(9)))
    assert max(answer["together"] for answer in answers) == 4


@pytest.mark.parametrize(("text", "words"), [("bad", "bad weights"), ("crash", "SIGSEGV")])
async def test_weights_that_cannot_be_loaded_leave_the_old_ones_serving(serve, text, words):
    serving = await serve("a", **MODEL)
    handle = serving.pool.get("model")
    await handle.use_weights(serving.weights(text))
    assert words in handle.weights_error
    assert (handle.state, handle.weights) == ("ready", "a")
    assert (await serving.predict("model"))["text"] == "a"
    await handle.use_weights(serving.weights("b"))
    assert handle.weights_error is None
    assert (await serving.predict("model"))["text"] == "b"


async def test_weights_that_hang_while_loading_are_given_up(serve):
    serving = await serve("a", options={"load_timeout_s": 3.0}, **MODEL)
    handle = serving.pool.get("model")
    await handle.use_weights(serving.weights("hang"))
    assert "3 s" in handle.weights_error
    assert (await serving.predict("model"))["text"] == "a"


@pytest.mark.parametrize("text", ["bad", "crash"])
async def test_a_model_whose_first_weights_cannot_be_loaded_serves_the_next(serve, text):
    serving = await serve(**MODEL)
    handle = serving.pool.get("model")
    await handle.use_weights(serving.weights(text))
    assert handle.weights_error
    await handle.use_weights(serving.weights("a"))
    assert handle.weights_error is None
    assert (await serving.predict("model"))["text"] == "a"


async def test_chosen_weights_answer_beside_the_default(serve):
    serving = await serve("a", **MODEL)
    answer = await serving.ask("model", weights=serving.weights("b"))
    assert answer.weights_id == "b" and b'"text":"b"' in answer.body
    assert (await serving.predict("model"))["text"] == "a"
    assert serving.pool.get("model").weights == "a"


async def test_chosen_weights_that_cannot_be_loaded_fail_their_calls_only(serve):
    serving = await serve("a", **MODEL)
    with pytest.raises(ModelyardError, match="bad weights"):
        await serving.ask("model", weights=serving.weights("bad"))
    assert (await serving.predict("model"))["text"] == "a"


async def test_many_chosen_versions_do_not_make_many_processes(serve):
    serving = await serve("a", **MODEL)
    chosen = [serving.weights(f"v{n}") for n in range(12)]
    ended = await asyncio.gather(
        *(serving.ask("model", weights=one) for one in chosen), return_exceptions=True
    )
    answered = [one.weights_id for one in ended if not isinstance(one, BaseException)]
    refused = [one for one in ended if isinstance(one, BaseException)]
    assert len(answered) >= 2
    assert {type(one) for one in refused} == {Busy}
    await asyncio.sleep(0.5)
    assert len(serving.pool.get("model").workers) <= 3


async def test_a_version_that_comes_while_the_worker_starts_anew_is_served(serve):
    serving = await serve(**MODEL)
    handle = serving.pool.get("model")

    os.kill(serving.worker("model")["pid"], signal.SIGKILL)
    await asyncio.sleep(0.05)
    await handle.use_weights(serving.weights("a"))
    assert handle.weights_error is None
    assert (await serving.predict("model"))["text"] == "a"


async def test_a_worker_that_died_comes_back_with_the_same_weights(serve):
    serving = await serve("a", **MODEL)
    await serving.pool.get("model").use_weights(serving.weights("b"))

    os.kill(serving.worker("model")["pid"], signal.SIGKILL)
    try:
        answer = await serving.predict("model")
    except (WorkerDied, PluginFailed):  # it was on its way when the process ended
        answer = await serving.predict("model")
    assert answer["text"] == "b"


async def killed_when_loaded(weights):
    """Kills the worker that loads `waits` when it has, before the front can know of either."""
    while not (weights.folder / "pid").exists() or not (weights.folder / "pid").read_text():
        await asyncio.sleep(0.01)
    pid = int((weights.folder / "pid").read_text())
    (weights.folder / "go").touch()
    time.sleep(0.5)  # nothing is read in the front meanwhile, and the answer is on its way
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    return pid


async def test_first_weights_whose_worker_dies_when_it_has_loaded_them_are_loaded_again(serve):
    """Its successor once counted as loaded, and was asked before it was."""
    serving = await serve(**MODEL)
    handle, weights = serving.pool.get("model"), serving.weights("waits")
    swap = asyncio.ensure_future(handle.use_weights(weights))
    await killed_when_loaded(weights)
    while not swap.done():
        with contextlib.suppress(NoWeights, WorkerDied):
            assert (await serving.predict("model"))["text"] == "waits"
        await asyncio.sleep(0.01)
    assert (handle.weights, handle.weights_error) == ("waits", None)
    for _ in range(50):
        assert (await serving.predict("model"))["text"] == "waits"
        await asyncio.sleep(0.01)


async def test_new_weights_whose_worker_dies_when_it_has_loaded_them_are_loaded_again(serve):
    """There was no worker from then on, and nobody who started one."""
    serving = await serve("a", **MODEL)
    handle, weights = serving.pool.get("model"), serving.weights("waits")
    swap = asyncio.ensure_future(handle.use_weights(weights))
    dead = await killed_when_loaded(weights)
    await swap
    assert (handle.weights, handle.weights_error) == ("waits", None)
    assert (await serving.predict("model", timeout_s=20))["text"] == "waits"
    assert serving.worker("model")["pid"] != dead


async def test_weights_that_come_while_a_model_is_loaded_for_the_first_time_are_the_newer(serve):
    """Both were once loaded at a time, into one worker."""
    serving = await serve("a", wait=False, **MODEL)
    handle = serving.pool.get("model")
    while handle._default is None:
        await asyncio.sleep(0)
    await handle.use_weights(serving.weights("b"))
    await asyncio.wait_for(handle.loaded(), 20)
    answer = await serving.ask("model")
    assert (answer.weights_id, handle.weights) == ("b", "b")
    assert b'"text":"b"' in answer.body


async def test_a_start_goes_back_to_what_can_be_loaded(serve):
    serving = await serve("bad", "crash", "a", **MODEL)
    handle = serving.pool.get("model")
    assert (handle.state, handle.weights) == ("ready", "a")
    assert "bad weights" in handle.weights_error
    assert serving.used == ["a"] and handle.refuses("bad") and not handle.refuses("crash")


async def test_weights_that_nobody_chose_do_not_stop_a_start(serve):
    serving = await serve("bad", by_hand=False, **MODEL)
    handle = serving.pool.get("model")
    assert (handle.state, handle.weights, serving.used) == ("ready", None, [])
    assert "bad" not in handle.needed_versions
    with pytest.raises(NoWeights, match="bad weights"):
        await serving.predict("model")


async def test_weights_chosen_by_hand_stop_a_start_if_there_are_no_others(serve):
    with pytest.raises(ModelFailedToLoad, match="bad weights"):
        await serve("bad", by_hand=True, **MODEL)


class _Dismissed:
    """A worker that is hung up on while it is asked, as a renewal does."""

    dismissed = False

    async def question(self, message, limit_s):
        self.dismissed = True
        raise WorkerDied("was ended by the server")


async def test_a_question_to_a_worker_that_is_being_replaced_goes_to_the_next_one(
    serve, monkeypatch
):
    serving = await serve(bare="yard_fixtures.bare:Bare")
    handle = serving.pool.get("bare")
    asked, describer = _Dismissed(), handle._questions._one

    async def first_the_old_one():
        return await describer() if asked.dismissed else asked

    monkeypatch.setattr(handle._questions, "_one", first_the_old_one)
    await handle.validate("predict", RequestData())
    assert asked.dismissed
