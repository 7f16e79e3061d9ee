"""Ten thousand trainings: their list is paged, nobody waits for it, memory stays bounded."""

import asyncio
import json
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from modelyard.records.runs import Attempt, Outcome, Progress, RunRecord, insert_run
from modelyard.records.store import RecordStore
from modelyard.schemas.states import Phase, Reason, Status
from modelyard.training.messages import RunOrder
from modelyard.training.paths import RunPaths, write_json

MODEL = "counter"
LIST = f"/v2/models/{MODEL}/train/"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = [(Status.DONE, Reason.COMPLETED)] * 8 + [
    (Status.ERROR, Reason.PLUGIN_FAILED),
    (Status.CANCELLED, Reason.CANCELLED),
]
"""In turn."""
MOST_GROWTH_MB = 32
PAGE_CPU_S = 0.25
"""Of the front, for a page of 100; ten times what was seen, as the machine may be slow."""


def run_of(number):
    """A training that has ended, with about as much to tell as one has."""
    status, reason = ENDS[number % len(ENDS)]
    begun = BEGIN + timedelta(minutes=number)
    ended = begun + timedelta(seconds=59)
    text = ended.strftime("%Y-%m-%d %H:%M:%S.%f")
    return RunRecord(
        id=f"{number:032x}",
        model=MODEL,
        args={"steps": 100, "seconds": 0.5, "text": "x" * 100},
        date=begun.strftime("%Y-%m-%d %H:%M:%S.%f"),
        created_at=begun,
        status=status,
        phase=Phase.FINISHED,
        reason=reason,
        message="The model failed." if status is Status.ERROR else None,
        progress=Progress(100, 100, "step 100", 100),
        result=Outcome({"loss": 0.5}, text, "0:00:59.000000") if status is Status.DONE else None,
        started_at=begun,
        ended_at=ended,
        epoch=1,
        attempt=1,
        tidied=True,
        tags=("rare",) if number % 100 == 0 else (),
        attempts=[Attempt(1, begun.isoformat(), ended.isoformat(), reason.value)],
    )


async def fill(home, count):
    """Writes the records through the record store, and a folder for each run."""
    store = RecordStore(home / "records.db")
    await store.open()
    for start in range(1, count + 1, 1000):
        some = [run_of(number) for number in range(start, min(start + 1000, count + 1))]
        await store.write(lambda c, some=some: [insert_run(c, record) for record in some])
        for record in some:
            paths = RunPaths(home / "runs" / record.id)
            paths.events.mkdir(parents=True)
            paths.epoch.write_text("1")
            paths.log.write_text("step 100\n")
            order = RunOrder(record.id, MODEL, {}, created_at=record.created_at.isoformat())
            write_json(paths.run, order.to_data(), durable=False)
            write_json(paths.exit, {"epoch": 1, "status": record.status.value}, durable=False)
    await store.close()


class Front:
    """What the server's front has used."""

    def __init__(self, server):
        self.server = server

    def cpu_s(self):
        """Much the same on a busy machine as on a quiet one, unlike time."""
        stat = (self.server.proc() / "stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def mb(self):
        """Resident; the most so far."""
        text = (self.server.proc() / "status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def until_ready(server):
    """Until /readyz says so."""
    end = time.monotonic() + 60
    while server.get("/readyz").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.02)


def walk(server, limit, **query):
    """All pages, one after the other: ids, the most seconds that one took, how many pages."""
    ids, slowest, pages = [], 0.0, 0
    path = requests.Request("GET", f"http://x{LIST}", params={"limit": limit, **query})
    path = path.prepare().path_url
    while path:
        begun = time.monotonic()
        answer = server.get(path)
        slowest = max(slowest, time.monotonic() - begun)
        assert answer.status_code == 200, answer.text
        ids += [record["uuid"] for record in answer.json()]
        path = answer.links.get("next", {}).get("url")
        pages += 1
    return ids, slowest, pages


class Neighbour(threading.Thread):
    """Somebody who asks for something small all the time; `waited` are seconds."""

    def __init__(self, server):
        super().__init__()
        self._server, self._over = server, threading.Event()
        self.waited = []
        self.start()

    def run(self):
        session = requests.Session()
        while not self._over.wait(0.01):
            begun = time.monotonic()
            assert session.get(self._server.url + "/healthz", timeout=60).status_code == 200
            self.waited.append(time.monotonic() - begun)

    def end(self):
        self._over.set()
        self.join()
        return sorted(self.waited)


def check(server, count):
    """Lists `count` runs in every way; what was seen."""
    front, seen = Front(server), {"runs": count}
    newest_first = [f"{number:032x}" for number in range(count, 0, -1)]
    server.wait_ready(MODEL)
    assert server.get(f"{LIST}?limit=1").status_code == 200  # what is imported with the first
    before, cpu = front.mb(), front.cpu_s()

    neighbour = Neighbour(server)
    ids, seen["slowest page s"], pages = walk(server, 100)
    assert ids == newest_first
    seen["page of 100: CPU s"] = (front.cpu_s() - cpu) / pages
    assert seen["page of 100: CPU s"] < PAGE_CPU_S

    begun, cpu = time.monotonic(), front.cpu_s()
    whole = server.get(LIST)
    seen["all: s"], seen["all: CPU s"] = time.monotonic() - begun, front.cpu_s() - cpu
    assert [record["uuid"] for record in whole.json()] == newest_first[::-1]
    waited = neighbour.end()
    seen["neighbour p99 s"] = waited[int(len(waited) * 0.99)]

    for status, of_ten in (("done", 8), ("error", 1), ("cancelled", 1)):
        ids, _, _ = walk(server, 1000, status=status)
        assert len(ids) == len(set(ids)) == count * of_ten // 10
    assert server.get(f"{LIST}?limit=10&status=lost").status_code == 422
    oldest = server.get(LIST + newest_first[-1]).json()
    assert (oldest["status"], oldest["args"]["steps"]) == ("done", 100)

    begun = time.monotonic()
    metrics = server.get("/metrics")
    seen["metrics: s"] = time.monotonic() - begun
    assert metrics.status_code == 200 and "modelyard_trainings" in metrics.text
    seen["front MB"] = front.mb()
    seen["growth MB"] = front.mb() - before
    assert seen["growth MB"] < MOST_GROWTH_MB
    begun = time.monotonic()
    record = server.wait_run(server.train(MODEL, steps=1))
    assert record["status"] == "done"
    seen["a training: s"] = time.monotonic() - begun
    return seen


@pytest.fixture
def home(tmp_path, empty_home):
    return Path(shutil.copytree(empty_home, tmp_path / "home"))


FLAGS = ("--model-name", MODEL, "--no-warm-start")


def test_five_hundred_trainings_are_listed_by_page_and_whole(start_server, home):
    asyncio.run(fill(home, 500))
    check(start_server(*FLAGS, home=home), 500)


@pytest.mark.slow
def test_ten_thousand_trainings_are_listed_in_bounded_memory_and_time(start_server, home, capsys):
    server = start_server(*FLAGS, home=home)
    until_ready(server)
    used = Front(server).cpu_s()
    server.stop()
    asyncio.run(fill(home, 10_000))
    begun = time.monotonic()
    server.start()
    until_ready(server)
    seen = {
        "ready after start: s": time.monotonic() - begun,
        "more CPU for it: s": Front(server).cpu_s() - used,
    }
    seen |= check(server, 10_000)
    begun = time.monotonic()
    assert server.get("/tensorboard/").status_code == 200
    seen["TensorBoard begins: s"] = time.monotonic() - begun
    assert len(list((home / "tensorboard" / MODEL).iterdir())) == 10_001, "with the one of now"
    with capsys.disabled():
        print(json.dumps({name: round(value, 3) for name, value in seen.items()}))
    assert seen["more CPU for it: s"] < 5
