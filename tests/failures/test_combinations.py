"""Aliases, shares, shadows, chosen versions, lines, gRPC, deaths, deletions, rot, clients that go
and versions that cannot be loaded, all at the same time: whose fault it is not is answered."""

import json
import os
import socket

import pytest
from yard_waiting import wait_until

from modelyard.training.identity import all_processes

from .combining import CALM, MODEL, RUDE, Combining
from .kin import adopting_orphans, below, reap

SECONDS = float(os.environ.get("COMBINE_SECONDS", "240"))


@pytest.fixture
def combining(start_server):
    def begin(seed, *flags):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = start_server(
            *(part for model in (MODEL, CALM, RUDE) for part in ("--model-name", model)),
            *("--grpc-port", str(port), "--load-timeout", "12", "--queue-seconds", "60"),
            *("--workers", "2", *flags),
        )
        server.grpc_port = port
        made = Combining(server, seed)
        made.begin()
        return made

    with adopting_orphans():
        before = set(below(os.getpid()))  # S3 servers that tests share, say
        yield begin, before


def ended(made, before):
    """Nothing is left when all is over."""
    told = made.end()
    others = before | {made.server.process.pid}
    assert made.server.stop() == 0

    def left():
        everything = all_processes()
        reap(others, everything)
        return set(below(os.getpid(), everything)) - others

    wait_until(lambda: not left())
    return told


def test_what_works_alone_works_together(combining):
    begin, before = combining
    made = begin(1)
    made.act(5)
    ended(made, before)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--memory-budget", "250M")], ids=["all", "few"])
@pytest.mark.parametrize("seed", range(3))
def test_what_works_alone_works_together_for_minutes(combining, seed, flags, capsys):
    begin, before = combining
    made = begin(seed, *flags)
    made.act(SECONDS)
    told = ended(made, before)
    with capsys.disabled():
        print(json.dumps(told))
