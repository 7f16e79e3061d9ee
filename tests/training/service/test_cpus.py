"""Trainings on CPUs of their own, seen from outside them."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from modelyard.training.marker import marked
from modelyard.training.options import TrainingOptions
from modelyard.training.paths import read_json

OURS = sorted(os.sched_getaffinity(0))


def allowed(pid: int) -> set[str]:
    """What the kernel says of all threads of a process."""
    statuses = [task / "status" for task in Path(f"/proc/{pid}/task").iterdir()]
    found = [re.search(r"^Cpus_allowed_list:\s*(\S+)$", s.read_text(), re.M) for s in statuses]
    return {match[1] for match in found if match is not None}


async def test_a_run_and_all_that_it_starts_use_the_cpus_of_trainings(
    new_yard: Any, eventually: Any
) -> None:
    yard = await new_yard(cpus=(OURS[-1],))
    record = await yard.submit("family")
    await eventually((yard.paths(record).plugin / "ready").exists)
    family = [stat.pid for stat in marked(record.id)]
    assert len(family) >= 6  # supervisor, run process, and what _family starts
    assert {cpus for pid in family for cpus in allowed(pid)} == {str(OURS[-1])}
    assert read_json(yard.paths(record).run)["threads"] == 1


async def test_cpus_that_are_gone_leave_a_run_all_that_are_there(new_yard: Any) -> None:
    """It was taken in by a server on a larger machine, say."""
    yard = await new_yard(cpus=(1000,))
    record = await yard.submit()
    assert (await yard.finished(record)).status.value == "done"


@pytest.mark.parametrize(
    ("cpus", "trainings", "asked", "threads"),
    [((4, 5, 6, 7), 1, None, 4), ((4, 5, 6, 7), 2, None, 2), ((4,), 2, None, 1), ((4,), 1, 3, 1)],
)
def test_the_threads_of_a_training_follow_the_cpus(
    cpus: tuple[int, ...], trainings: int, asked: int | None, threads: int
) -> None:
    options = TrainingOptions(max_trainings=trainings, threads=asked, cpus=cpus)
    assert options.threads_each == threads
