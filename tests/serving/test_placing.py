"""Workers on CPUs of their own, seen from inside them."""

import os

import pytest

from modelyard.serving.options import ModelOptions, ServingOptions
from modelyard.serving.placing import started_on

OURS = sorted(os.sched_getaffinity(0))


async def test_a_worker_and_what_it_starts_use_the_cpus_of_the_model(serve):
    own = ModelOptions(cpus=(OURS[-1],))
    serving = await serve(placed="placed_models:Placed", own=own)
    told = await serving.predict("placed")
    assert told["at_import"] == [OURS[-1]]
    assert told["tasks"] == [told["child"]] == [str(OURS[-1])]
    assert told["threads"] == "1"
    assert sorted(os.sched_getaffinity(0)) == OURS, "the front lost CPUs"


async def test_without_a_set_a_worker_has_the_cpus_of_the_front(serve):
    serving = await serve(placed="placed_models:Placed")
    told = await serving.predict("placed")
    assert told["at_import"] == OURS
    assert told["threads"] == str(len(OURS))


@pytest.mark.parametrize(
    ("cpus", "workers", "asked", "threads"),
    [((4, 5, 6, 7), 1, None, 4), ((4, 5, 6, 7), 2, None, 2), ((4,), 2, None, 1), ((4,), 1, 3, 1)],
)
def test_the_threads_of_a_worker_follow_its_cpus(cpus, workers, asked, threads):
    options = ServingOptions(
        workers=workers, threads=asked, per_model={"a": ModelOptions(cpus=cpus)}
    )
    assert options.of("a").threads == threads


def test_cpus_that_are_gone_leave_a_child_all_that_are_there():
    with started_on([10_000]):
        assert sorted(os.sched_getaffinity(0)) == OURS


def test_the_front_gets_its_cpus_back_when_a_child_cannot_be_started():
    with pytest.raises(FileNotFoundError), started_on(OURS[:1]):
        assert sorted(os.sched_getaffinity(0)) == OURS[:1]
        raise FileNotFoundError
    assert sorted(os.sched_getaffinity(0)) == OURS
