"""Clients of a server that may die at any moment; they remember all that they were told."""

import math
import random
import threading
import time
from contextlib import suppress
from typing import Any

import requests

MODEL = "mortal"
ENDED = {"done", "error", "cancelled"}
_TOLD = ("status", "reason", "weights", "result")
_UNFINISHED_AT_MOST = 6


class Clients(threading.Thread):
    """Submit, pause, resume, cancel and look, at random, until `end`. `wrong` is what was broken:
    a terminal state that changed, an acknowledged run that is not there."""

    def __init__(self, server: Any, seed: int) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._nonces = 0
        self._keyed: list[tuple[str, dict[str, Any]]] = []
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()
        self.ended: dict[str, tuple[tuple[Any, ...], float]] = {}
        self.wrong: list[str] = []
        self.counts: dict[str, int] = {}

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(0.0, 0.15)):
            with suppress(requests.RequestException):  # the server was killed
                self._act()

    def end(self) -> None:
        """Stops asking."""
        self._over.set()
        self.join(120)
        assert not self.is_alive()

    def note(self, record: dict[str, Any], asked_at: float) -> None:
        """What a record says that was asked for then; of an ended run it must always be the same.

        Answers to two threads may overtake each other: `running` is wrong only if the end had been
        told before this was asked.
        """
        run_id = record["uuid"]
        if record["status"] not in ENDED:
            told, told_at = self.ended.get(run_id, ((), math.inf))
            if told_at < asked_at:
                self.wrong.append(f"{run_id} was {told}, and is {record['status']}")
            return
        now = tuple(str(record[name]) for name in _TOLD)
        with self._lock:
            before, _ = self.ended.setdefault(run_id, (now, time.monotonic()))
        if before != now:
            self.wrong.append(f"{run_id} was {before}, and is {now}")

    def look_at_newest(self) -> list[dict[str, Any]]:
        """The newest records, noted: all that have not ended are among them."""
        at = time.monotonic()
        records: list[dict[str, Any]] = self._get(f"/v2/models/{MODEL}/train/?limit=100")
        for record in records:
            self.note(record, at)
        return records

    def look(self) -> list[dict[str, Any]]:
        """All records, noted; every acknowledged run must be among them."""
        known, at = set(self.acknowledged), time.monotonic()
        records: list[dict[str, Any]] = self._get(f"/v2/models/{MODEL}/train/")
        lost = known - {record["uuid"] for record in records}
        if lost:
            self.wrong.append(f"lost: {lost}")
        for record in records:
            self.note(record, at)
        return records

    # -- one act ----------------------------------------------------------------------------------

    def _act(self) -> None:
        with self._lock:
            ended = set(self.ended)
        waiting = [run_id for run_id in list(self.acknowledged) if run_id not in ended]
        if len(waiting) < _UNFINISHED_AT_MOST or self._chance.random() < 0.1:
            self._submit()
        elif self._chance.random() < 0.3:
            self.look_at_newest()
        else:
            self._steer(self._chance.choice(waiting))

    def _submit(self) -> None:
        chance = self._chance
        self._nonces += 1
        arguments = {
            "nonce": str(self._nonces),
            "steps": chance.choice([3, 10, 30, 60]),
            "save_every": chance.choice([2, 5, 100]),
            "bulk": chance.choice([0, 0, 100_000, 1_000_000]),
            "evaluating_s": chance.choice([0.0, 0.2]),
            "deaf": chance.random() < 0.2,
            "kin": chance.choice(["none", "none", "family", "unmarked"]),
        }
        key = f"key-{self._nonces}"
        if self._keyed and chance.random() < 0.3:  # an earlier one again: it makes no second run
            key, arguments = chance.choice(self._keyed)
        self._keyed.append((key, arguments))
        at = time.monotonic()
        answer = self._ask("POST", "", json=arguments, headers={"Idempotency-Key": key})
        if answer.status_code == 200:
            record = answer.json()
            self.acknowledged[record["uuid"]] = arguments
            self.note(record, at)
            self._count("submitted")
        elif answer.status_code != 503:  # its model is not loaded yet
            self.wrong.append(f"a submission: {answer.status_code} {answer.text}")

    def _steer(self, run_id: str) -> None:
        what = self._chance.choice(["look", "look", "pause", "resume", "resume", "cancel"])
        at = time.monotonic()
        if what == "look":
            answer = self._ask("GET", run_id)
        elif what == "cancel":
            answer = self._ask("DELETE", run_id)
            if answer.status_code == 200 and answer.json()["status"] == "cancelled":
                self.cancelled.add(run_id)
        else:
            answer = self._ask("POST", f"{run_id}/{what}")
        if answer.status_code == 200:
            record = answer.json()
            self._count(what)
            if record["uuid"] != run_id:  # an ended one was resumed as a new run
                self.acknowledged[record["uuid"]] = self.acknowledged[run_id]
            self.note(record, at)
        elif answer.status_code not in (409, 503):
            self.wrong.append(f"{what} of {run_id}: {answer.status_code} {answer.text}")

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        url = f"{self._server.url}/v2/models/{MODEL}/train/{path}"
        return requests.request(method, url, timeout=30, **more)

    def _get(self, path: str) -> Any:
        answer = requests.get(self._server.url + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def settled(self, within_s: float) -> list[dict[str, Any]]:
        """Has every paused run go on, and waits until all have ended; all records then."""
        end = time.monotonic() + within_s
        while True:
            records = self.look()
            open_ones = [record for record in records if record["phase"] != "finished"]
            if not open_ones:
                return records
            for record in open_ones:
                if record["phase"] in ("paused", "retry_wait"):
                    self._ask("POST", f"{record['uuid']}/resume")
            assert time.monotonic() < end, open_ones
            time.sleep(0.1)
