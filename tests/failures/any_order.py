"""A machine of hypothesis: whatever is asked of a server and its trainings, and killed, in any
order. A failure is shrunk to the fewest steps that show it.

One server for all examples, as a start takes seconds; each example has runs of its own, and purges
them when it ends, so that an example tried again begins alike.
"""

import contextlib
import hashlib
import itertools
import os
import signal
import time

import requests
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from modelyard.training.executor import read_identity
from modelyard.training.identity import all_processes
from modelyard.training.paths import RunPaths, read_json

from .kin import below, reap, runs_below, words

MODEL = "mortal"
RUNS = f"/v2/models/{MODEL}/train/"
ENDED = {"done", "error", "cancelled"}
SOON_S = 120.0
"""For what has to happen; machines under tests are slow."""
KINDS = {
    "short": {"steps": 2, "save_every": 1},
    "long": {"steps": 100_000, "seconds": 0.05, "save_every": 3},
    "clinging": {"steps": 100_000, "seconds": 0.05, "deaf": True, "kin": "family"},
    "unmarked": {"steps": 100_000, "seconds": 0.05, "kin": "unmarked"},
}
_numbers = itertools.count()


class AnyOrder(RuleBasedStateMachine):
    """`server` is a running one; see `machine_for`."""

    server = None
    most_restarts = 3
    """In one example: each takes seconds."""
    steps = 0
    runs = Bundle("runs")

    def __init__(self):
        super().__init__()
        front = self.server.process.pid
        self.others = set(below(os.getpid())) - {front, *below(front)}
        self.restarts = 0
        self.given = {}  # run: what its submission was
        self.ended = {}  # run: what it was told to have ended as
        self.cancelled = set()
        self.never_began = set()
        self.purged = set()

    # -- what a client does -----------------------------------------------------------------------

    @rule(target=runs, kind=st.sampled_from(sorted(KINDS)))
    def submit(self, kind):
        number = next(_numbers)
        sent = {**KINDS[kind], "nonce": f"n{number}"}
        key = f"any-order-{number}"
        record = self.ask("POST", "", json=sent, headers={"Idempotency-Key": key})
        self.given[record["uuid"]] = (key, sent)
        self.note(record)
        return record["uuid"]

    @rule(run=runs, other=st.booleans())
    def submit_again(self, run, other):
        """With the same key: the same run; with the same key and something else: 409."""
        if run not in self.given:  # a resumed one was not submitted with a key
            return
        key, sent = self.given[run]
        sent = {**sent, "steps": sent["steps"] + other}
        answer = self.answer("POST", "", json=sent, headers={"Idempotency-Key": key})
        assert answer.status_code == (409 if other else 200), answer.text
        assert other or answer.json()["uuid"] == run

    @rule(run=runs)
    def look(self, run):
        answer = self.answer("GET", run)
        assert answer.status_code == (404 if run in self.purged else 200), answer.text
        if answer.status_code == 200:
            self.note(answer.json())

    @rule(run=runs)
    def cancel(self, run):
        answer = self.answer("DELETE", run)
        assert answer.status_code == (404 if run in self.purged else 200), answer.text
        if answer.status_code == 200:
            record = answer.json()
            assert record["status"] in ENDED
            if run not in self.ended and record["status"] == "cancelled":
                self.cancelled.add(run)
                if record["started_at"] is None:
                    self.never_began.add(run)
            self.note(record)

    @rule(run=runs)
    def pause(self, run):
        self.steer(run, "pause")

    @rule(target=runs, run=runs)
    def resume(self, run):
        record = self.steer(run, "resume")
        if record is None or record["uuid"] == run:
            return multiple()
        assert record["resumed_from"] == run
        return record["uuid"]

    @rule(run=runs)
    def purge(self, run):
        answer = self.answer("DELETE", run, params={"purge": "true"})
        expected = (404,) if run in self.purged else (200, 409)
        assert answer.status_code in expected, answer.text
        if answer.status_code == 200:
            assert answer.json()["status"] in ENDED
            self.note(answer.json())
            self.purged.add(run)
            assert self.answer("GET", run).status_code == 404

    @rule(seconds=st.floats(0.0, 0.5))
    def let_it_go_on(self, seconds):
        time.sleep(seconds)

    @rule(run=runs)
    def wait_for_its_end(self, run):
        """Of those that end by themselves."""
        if self.given.get(run, ("", {}))[1].get("steps", 9) < 9 and run not in self.purged:
            self.until(lambda: self.ask("GET", run)["phase"] in ("finished", "paused"), run)

    # -- what befalls it --------------------------------------------------------------------------

    @precondition(lambda self: self.restarts < self.most_restarts)
    @rule(kill=st.booleans())
    def end_the_front_and_start_it(self, kill):
        self.restarts += 1
        if kill:
            self.server.kill()
        else:
            self.server.stop()
        self.begin_again()

    @rule(run=runs, which=st.sampled_from(["supervisor", "process"]))
    def kill_of_a_run(self, run, which):
        identity = read_identity(getattr(RunPaths(self.server.home / "runs" / run), which))
        if identity is not None:
            identity.signal(signal.SIGKILL)

    # -- what must hold ---------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_no_end_changes(self):
        type(self).steps += 1
        records = {record["uuid"]: record for record in self.ask("GET", "?limit=1000")}
        known = set(self.given) | set(self.ended)
        assert known - self.purged <= set(records), "a run was lost"
        assert not self.purged & set(records), "a purged run is back"
        for run in known - self.purged:
            self.note(records[run])
        nonces = [
            record["args"]["nonce"]
            for record in records.values()
            if record["resumed_from"] is None and record["args"].get("nonce")
        ]
        assert len(nonces) == len(set(nonces)), "a key made two runs"

    def teardown(self):
        """Ends all that is open, then looks at every version and for processes left behind."""
        try:
            mine = set(self.given) | set(self.ended) | self.resumed()
            for run in mine - self.purged:
                self.cancel(run)
            for run in mine - self.purged:
                self.until(lambda run=run: self.ask("GET", run)["phase"] == "finished", run)
            self.nothing_is_lost_and_no_end_changes()
            for run in mine - self.purged:
                record = self.ask("GET", run)
                self.check_end(record)
            self.until(lambda: not self.orphans(), "processes are left")
        finally:
            for run in (set(self.given) | set(self.ended)) - self.purged:
                self.answer("DELETE", run, params={"purge": "true"})

    def check_end(self, record):
        run = record["uuid"]
        if run in self.cancelled:
            assert record["status"] == "cancelled", record
            assert record["weights"] is None, record
        if run in self.never_began:
            assert record["started_at"] is None, "a run that was cancelled while it waited began"
            assert not RunPaths(self.server.home / "runs" / run).process.exists()
        if record["status"] == "done":
            version = self.server.get(f"/v2/models/{MODEL}/weights/{record['weights']}").json()
            assert version["state"] == "ready", version
            folder = self.server.home / "weights" / record["weights"]
            for file in read_json(folder / "manifest.json")["files"]:
                content = (folder / "files" / file["path"]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file["sha256"], "torn weights"

    # -- words ------------------------------------------------------------------------------------

    def steer(self, run, what):
        answer = self.answer("POST", f"{run}/{what}")
        if run in self.purged:
            assert answer.status_code == 404, answer.text
            return None
        assert answer.status_code in (200, 409), answer.text
        if answer.status_code == 409:
            return None
        record = answer.json()
        if record["uuid"] == run:
            assert run not in self.ended, f"{what} of an ended run changed it"
        self.note(record)
        return record

    def note(self, record):
        """What an ended run is told to be must stay so."""
        run = record["uuid"]
        told = tuple(str(record[name]) for name in ("status", "reason", "weights", "result"))
        if run in self.ended:
            assert self.ended[run] == told, f"{run} was {self.ended[run]}, and is {told}"
        elif record["status"] in ENDED:
            self.ended[run] = told

    def resumed(self):
        """Runs that the example made by resuming others, whether or not they have ended."""
        known = set(self.given) | set(self.ended)
        return {r["uuid"] for r in self.ask("GET", "?limit=1000") if r["resumed_from"] in known}

    def orphans(self):
        """Processes that belong neither to the front nor to a run that has not finished."""
        front, everything = self.server.process.pid, all_processes()
        reap({front}, everything)
        allowed = {front, *below(front, everything)} | self.others
        return {
            pid: words(pid)
            for pid, run in runs_below(os.getpid(), everything).items()
            if pid not in allowed or run is not None
        }

    def begin_again(self):
        self.server.start()

        def ready():
            with contextlib.suppress(requests.RequestException):
                return self.server.get("/readyz").status_code == 200
            return False

        self.until(ready, "the server is not ready again")
        assert self.server.wait_ready(MODEL)["state"] == "ready"

    def until(self, condition, why):
        end = time.monotonic() + SOON_S
        while not condition():
            assert time.monotonic() < end, why
            time.sleep(0.05)

    def answer(self, method, path, **more):
        """Busy is asked again, as `Retry-After` says: never another 5xx."""
        end = time.monotonic() + SOON_S
        while True:
            url = f"{self.server.url}{RUNS}{path}"
            answer = requests.request(method, url, timeout=90, **more)
            if answer.status_code != 503 or time.monotonic() > end:
                assert answer.status_code < 500, answer.text
                return answer
            time.sleep(0.2)

    def ask(self, method, path, **more):
        answer = self.answer(method, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()


def machine_for(server, **more):
    """The machine, with this server."""
    return type("AnyOrderOfThis", (AnyOrder,), {"server": server, "steps": 0, **more})
