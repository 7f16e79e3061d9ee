"""What is left of a model's code is told by its mark alone, and nobody else's process is ended."""

import asyncio
import os
import resource
import subprocess

import pytest

from modelyard.serving import sweep
from modelyard.serving.leftovers import Leftovers

HOME, OTHER_HOME = "a" * 32, "b" * 32


@pytest.fixture
def start():
    """Starts sleepers with these variables; all are ended after the test."""
    started = []

    def sleeper(environment, before=None):
        process = subprocess.Popen(["/bin/sleep", "600"], env=environment, preexec_fn=before)
        started.append(process)
        return process

    yield sleeper
    for process in started:
        process.kill()
        process.wait()


def ended(process):
    """True when it has been killed, which it is soon if it is at all."""
    return process.wait(60) < 0


def named(mark):
    return {sweep.NAME: mark}


async def test_what_carries_the_mark_of_a_child_that_is_over_is_ended_and_nothing_else(
    start, tmp_path
):
    leftovers = Leftovers(HOME, tmp_path / "log")
    marks = [leftovers.mark() for _ in range(12)]
    kept = [start(mark) for mark in marks[1:]]  # 2 to 12: 1 is the beginning of some of them
    kept += [start({}), start({"OTHER": marks[0][sweep.NAME]})]
    gone = [start(marks[0]), start(marks[0])]
    leftovers.over(marks[0])
    for process in gone:
        assert await asyncio.to_thread(ended, process)
    assert [process.poll() for process in kept] == [None] * len(kept)
    await leftovers.close()
    for process in kept[:11]:
        assert await asyncio.to_thread(ended, process), "the front has ended: its children too"
    assert [process.poll() for process in kept[11:]] == [None, None]
    assert leftovers.pid is None


async def test_what_has_emptied_its_environment_is_known_by_its_limits(start, tmp_path):
    leftovers = Leftovers(HOME, tmp_path / "log")
    first, second = (leftovers.mark()[sweep.NAME] for _ in range(2))
    _, namespace, pid, started, _ = first.split(".")

    def sealed(mark):
        def seal():
            sweep.seal(mark)
            sweep.seal(first)  # once is for ever

        return start({}, seal)

    gone = [sealed(first), sealed(first)]
    with_second = sealed(second)
    kept = [
        sealed(mark)
        for mark in (
            sweep.front_mark(OTHER_HOME, os.getpid()) + "1",
            f"{HOME}.{namespace}.{os.getppid()}.{sweep.started(os.getppid())}.1",
        )
    ]
    kept += [start({}, lambda: resource.setrlimit(10, (7, 7)) or sweep.seal(first))]
    for odd in (f"{HOME}.{namespace}.{pid}.{1 << 36}.1", f"{HOME}.1.{pid}.{started}.1", "", "none"):
        kept += [start({}, lambda odd=odd: sweep.seal(odd))]
    leftovers.over({sweep.NAME: first})
    for process in gone:
        assert await asyncio.to_thread(ended, process)
    assert with_second.poll() is None
    await leftovers.close()
    assert await asyncio.to_thread(ended, with_second), "the front has ended"
    assert [process.poll() for process in kept] == [None] * len(kept)
    assert f"ended {gone[0].pid}, left of {first}" in (tmp_path / "log").read_text()


async def test_the_next_start_ends_only_what_a_dead_front_of_this_home_has_left(start, tmp_path):
    dead = subprocess.Popen(["/bin/sleep", "600"])
    of_dead = sweep.front_mark(HOME, dead.pid)
    of_another_home = sweep.front_mark(OTHER_HOME, dead.pid)
    dead.kill()
    dead.wait()
    namespace = of_dead.split(".")[1]
    of_living = sweep.front_mark(HOME, os.getpid())
    gone = start(named(of_dead + "7"))
    # The number was given to another process since.
    again = start(named(f"{HOME}.{namespace}.{os.getpid()}.1.7"))
    kept = [
        start(named(mark))
        for mark in (
            of_another_home + "7",
            of_living + "7",  # two servers, one of a copy of the other's home
            f"{HOME}.1.{dead.pid}.5.7",  # of a container, where this number means another
            f"{HOME}.{namespace}.x.5.7",
            f"{HOME}.{namespace}.7",
            "",
        )
    ]
    leftovers = Leftovers(HOME, tmp_path / "log")
    mark = leftovers.mark()
    for process in (gone, again):
        assert await asyncio.to_thread(ended, process)
    over = start(mark)
    leftovers.over(mark)
    assert await asyncio.to_thread(ended, over)
    assert [process.poll() for process in kept] == [None] * len(kept)
    assert f"ended {gone.pid}, left of {of_dead}7" in (tmp_path / "log").read_text()
    kept[1].kill()  # it has our own front's mark: the end would take it along
    await leftovers.close()
    assert [process.poll() for process in kept[2:]] == [None] * 4
