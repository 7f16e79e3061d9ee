"""Submit, repeat, cancel, pause, resume, purge, kill and restart, in any order that hypothesis can
think of: what was acknowledged is kept, and what has ended stays as it ended."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .any_order import MODEL, machine_for
from .kin import adopting_orphans

EXAMPLES = int(os.environ.get("ANY_ORDER", "40"))


@pytest.fixture
def machine(start_server):
    with adopting_orphans():
        server = start_server("--model-name", MODEL, "--max-trainings", "2")
        server.wait_ready(MODEL)
        first = server.train(MODEL, steps=1)  # else its workers have nothing to load
        assert server.wait_run(first)["status"] == "done"
        yield machine_for(server)
        server.stop()


def run(machine, examples, steps, **more):
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_state_machine_as_test(machine, settings=how)


def test_some_orders_of_requests_and_kills_keep_every_promise(machine):
    machine.most_restarts = 1
    run(machine, 3, 10, derandomize=True)
    assert machine.steps >= 3


@pytest.mark.slow
def test_many_orders_of_requests_and_kills_keep_every_promise(machine, capsys):
    run(machine, EXAMPLES, 25)
    with capsys.disabled():
        print(f"{machine.steps} steps")
    assert machine.steps > 5 * EXAMPLES
