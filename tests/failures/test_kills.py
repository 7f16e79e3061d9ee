"""kill -9 of the front, of supervisors, of run processes and of workers, at random moments."""

import json
import os

import pytest

from .killing import TARGETS, KillDriver
from .kin import adopting_orphans

ROUNDS = int(os.environ.get("KILL_ROUNDS", "500"))
"""Of the whole driver; each is one kill of each kind."""


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
    order = [target for target in rest for _ in range(7)] + ["front"] * 4  # 25
    driver.chance.shuffle(order)
    for target in order[:25]:
        driver.kill(target)
    driver.end()
    assert sum(driver.kills.values()) == 25, driver.kills


@pytest.mark.slow
def test_five_hundred_kills_of_each_kind_lose_nothing(driver, capsys):
    for number in range(ROUNDS):
        order = list(TARGETS)
        driver.chance.shuffle(order)
        for target in order:
            driver.kill(target)
        if number % 10 == 9:
            with capsys.disabled():
                print(f"{number + 1} rounds: {driver.kills}", flush=True)
    told = driver.end()
    with capsys.disabled():
        print(json.dumps(told, indent=1))
    assert driver.kills["front"] == ROUNDS
    assert min(driver.kills.values()) > 0.7 * ROUNDS
    assert told["ready"]["median"] < 4 and told["told"]["most"] < 10
