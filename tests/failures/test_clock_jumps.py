"""The server's clock is set by hours, both ways, with trainings under way: nothing changes."""

import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime (apt: faketime)")
HOURS = 3600


class Clock:
    """What the server reads; its trainings keep the machine's. The monotonic clocks go on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)
        self.env = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; else it reads the file for each look
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: int, server=None) -> None:
        """So many seconds beside the truth; returns when `server` tells that time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self._file)
        end = time.monotonic() + 30
        while server is not None and abs(offset_s - _seconds_off(server)) > HOURS:
            assert time.monotonic() < end, "the clock was not set"
            time.sleep(0.05)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.mark.slow
def test_clock_jumps_of_hours_change_no_state_and_no_order(start_server, clock, tmp_path):
    server = start_server("--model-name", "counter", "--max-trainings", "2", env=clock.env)
    server.wait_ready("counter")
    go_on = tmp_path / "go on"
    first = server.wait_run(server.train("counter", steps=2))
    held = server.train("counter", hold=str(go_on))
    limited = server.train("counter", hold=str(go_on))
    waiting = server.train("counter", steps=2)
    for record in (held, limited):
        server.wait_run(record, "training")
    ids = [one["uuid"] for one in (first, held, limited, waiting)]

    for offset in (5 * HOURS, -7 * HOURS):
        clock.set(offset, server)
        time.sleep(0.5)
        states = [server.run({"model": "counter", "uuid": one})["phase"] for one in ids]
        queued = len(ids) - 3
        assert states == ["finished", "training", "training", *["queued"] * queued]
        newer = server.train("counter", steps=2)
        ids.append(newer["uuid"])
        assert newer["phase"] == "queued" and newer["position"] == len(ids) - 3
        assert server.predict("counter").status_code == 200
        listed = server.get("/v2/models/counter/train/").json()
        assert [one["uuid"] for one in listed] == ids
        page = server.get("/v2/models/counter/train/?limit=3").json()
        assert [one["uuid"] for one in page] == ids[::-1][:3]

    server.kill()
    clock.set(9 * HOURS)
    server = start_server("--model-name", "counter", home=server.home, env=clock.env)
    assert server.run(held)["phase"] == "training", "adopted by its processes, not by a clock"
    cancelled = server.delete(f"/v2/models/counter/train/{limited['uuid']}").json()
    assert cancelled["status"] == "cancelled"
    go_on.touch()
    ended = [server.wait_run({"model": "counter", "uuid": one}) for one in ids]
    assert [one["status"] for one in ended] == ["done", "done", "cancelled", "done", "done", "done"]
    for record in ended:
        if record["result"] is not None:
            assert not record["result"]["duration"].startswith("-"), record["result"]
    weights = [one["weights"] for one in ended if one["weights"]]
    versions = server.get("/v2/models/counter/weights/").json()["weights"]
    assert sorted(one["id"] for one in versions) == sorted(weights)


@pytest.mark.slow
def test_time_limit_is_counted_by_no_clock_that_can_be_set(start_server, clock):
    server = start_server("--model-name", "stepper", env=clock.env)
    server.wait_ready("stepper")
    path = "/v2/models/stepper/train/"
    long = server.post(path, params={"max_seconds": 600}, json={"steps": 100_000}).json()
    server.wait_run(long, "training")
    clock.set(5 * HOURS, server)
    time.sleep(1.5)
    assert server.run(long)["phase"] == "training"
    server.delete(f"{path}{long['uuid']}")
    clock.set(-5 * HOURS, server)
    short = server.post(path, params={"max_seconds": 1}, json={"steps": 100_000}).json()
    assert server.wait_run(short)["reason"] == "time_limit"


def _seconds_off(server) -> float:
    """How far the server's clock is from this process's."""
    told = parsedate_to_datetime(server.get("/healthz").headers["Date"])
    return told.timestamp() - time.time()
