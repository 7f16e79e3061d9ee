"""kill -9 of the front, of supervisors, of run processes and of workers, at random moments."""

import json
import os

import pytest

from .killing import TARGETS, KillDriver
from .kin import adopting_orphans

ROUNDS = int(os.environ.get("KILL_ROUNDS", "500"))
"""Of the whole driver; each is one kill of each kind."""
PARTS = 5
"""Each has a home of its own."""


@pytest.fixture
def driver(start_server):
    with adopting_orphans():
        server = start_server("--model-name", "mortal", "--max-trainings", "3")
        made = KillDriver(server, int(os.environ.get("KILL_SEED", "6")))
        made.begin()
        yield made
        made.clients.end()


def test_twenty_five_kills_lose_no_run_leave_no_process_and_tear_no_weights(driver):
    rest = [target for target in TARGETS if target != "front"]
    # A front's start costs more than all else: three of those, and every other kind more often.
    order = [target for target in rest for _ in range(7)] + ["front"] * 3 + ["process"]
    driver.chance.shuffle(order)
    for target in order:
        driver.kill(target)
    driver.end()
    assert sum(driver.kills.values()) == 25, driver.kills


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_five_hundred_kills_of_each_kind_lose_nothing(driver, part, capsys):
    driver.chance.seed(part)
    for number in range(ROUNDS // PARTS):
        order = list(TARGETS)
        driver.chance.shuffle(order)
        for target in order:
            driver.kill(target)
        if number % 10 == 9:
            with capsys.disabled():
                print(f"part {part}, {number + 1} rounds: {driver.kills}", flush=True)
    told = driver.end()
    with capsys.disabled():
        print(json.dumps(told))
    assert min(driver.kills.values()) > 0.9 * (ROUNDS // PARTS)
    assert told["told"]["most"] < 10
