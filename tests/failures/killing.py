"""The kill driver: a real server at work, `kill -9` of any of its processes, and what must hold."""

import contextlib
import hashlib
import json
import os
import random
import runpy
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests

from modelyard.training.executor import read_identity
from modelyard.training.identity import all_processes
from modelyard.training.paths import RunPaths, read_json

from .clients import MODEL, Clients
from .kin import below, reap, runs_below, words

_PLUGIN = Path(__file__).parents[1] / "plugins" / "yard_fixtures" / "mortal.py"
TARGETS = ("front", "supervisor", "process", "worker")
SOON_S = 60.0
"""For what has to happen soon: machines under tests are slow. What was seen is in `figures`, which
the long test compares with what is promised."""


class KillDriver:
    """Kills processes of a server with trainings in every state. `figures` are seconds."""

    def __init__(self, server: Any, seed: int) -> None:
        self.server = server
        self.chance = random.Random(seed)
        self.clients = Clients(server, seed)
        self.kills = dict.fromkeys(TARGETS, 0)
        self.figures: dict[str, list[float]] = {"ready": [], "told": [], "gone": [], "served": []}
        front = server.process.pid
        self.others = set(below(os.getpid())) - {front, *below(front)}
        """What the tests had started before: servers of stores that all of them share."""

    def begin(self) -> None:
        """The model is loaded, a first version made, and clients come."""
        self.server.wait_ready(MODEL)
        first = self.server.train(MODEL, steps=2)
        self.clients.acknowledged[first["uuid"]] = {"steps": 2, "nonce": ""}
        assert self.server.wait_run(first)["status"] == "done"
        self.clients.start()

    def kill(self, target: str) -> bool:
        """One kill -9, and what must be seen soon after it; False if there was nothing to kill."""
        time.sleep(self.chance.uniform(0.0, 0.15))
        done = getattr(self, f"_kill_{target}")()
        self.kills[target] += bool(done)
        self.check()
        return bool(done)

    # -- the four kills ---------------------------------------------------------------------------

    def _kill_front(self) -> bool:
        own = {pid for pid, run in runs_below(self.server.process.pid).items() if run is None}
        at = time.monotonic()
        self.server.kill()
        self._until(lambda: not self._living(own), f"of a dead front: {own}")
        self.figures["gone"].append(time.monotonic() - at)
        at = time.monotonic()
        self.server.start()
        self._until(self._is_ready, "not ready again")
        self.figures["ready"].append(time.monotonic() - at)
        return True

    def _kill_supervisor(self) -> bool:
        return self._kill_of_run("supervisor")

    def _kill_process(self) -> bool:
        return self._kill_of_run("process")

    def _kill_of_run(self, which: str) -> bool:
        end = time.monotonic() + SOON_S
        while time.monotonic() < end:
            runs = [r for r in self.clients.look_at_newest() if r["phase"] in _LIVING]
            self.chance.shuffle(runs)
            for before in runs:
                identity = read_identity(getattr(self._paths(before["uuid"]), which))
                if identity is None or not identity.signal(signal.SIGKILL):
                    continue
                at = time.monotonic()
                told = partial(self._is_told, before)
                self._until(told, f"nothing is told of {before}", SOON_S)
                self.figures["told"].append(time.monotonic() - at)
                return True
            time.sleep(0.02)
        return False

    def _kill_worker(self) -> bool:
        # A named model that cannot be loaded at first ends the server, as it is told to.
        assert self.server.wait_ready(MODEL)["state"] == "ready"
        workers = self.server.children("serving.worker")
        if not workers:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(workers), signal.SIGKILL)
        at = time.monotonic()
        self._until(self._is_served, "no prediction after a worker's death", 60)
        self.figures["served"].append(time.monotonic() - at)
        return True

    # -- what is seen -----------------------------------------------------------------------------

    def _is_told(self, before: dict[str, Any]) -> bool:
        at = time.monotonic()
        now = self.server.run(before)
        self.clients.note(now, at)
        return now["attempt"] != before["attempt"] or now["phase"] not in _LIVING

    def _is_ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.server.url}/readyz", timeout=10).status_code == 200
        return False

    def _is_served(self) -> bool:
        assert self.server.process.poll() is None, "".join(self.server.lines[-30:])
        answer = self.server.predict(MODEL, json={"plus": 1})
        if answer.status_code == 500:  # the call was in the worker that died
            assert answer.json()["type"] == "urn:modelyard:worker-died", answer.text
        else:
            assert answer.status_code in (200, 503), answer.text
        return bool(answer.status_code == 200)

    def _until(self, condition: Callable[[], bool], why: str, within_s: float = SOON_S) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"{why} ({within_s} s)"
            time.sleep(0.03)

    def _paths(self, run_id: str) -> RunPaths:
        return RunPaths(self.server.home / "runs" / run_id)

    def _living(self, pids: set[int]) -> set[int]:
        return pids & set(below(os.getpid()))

    # -- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        """After each kill: nothing is lost, no terminal state has changed, no orphan is left."""
        self.clients.look()
        assert not self.clients.wrong, self.clients.wrong
        self.no_orphans()

    def no_orphans(self) -> None:
        """Waits until there are none. What was not seen before is no orphan yet: between two looks
        the server starts processes, and they are told apart by what it said before."""
        end = time.monotonic() + SOON_S
        found = self.orphans()
        while found:
            assert time.monotonic() < end, found
            time.sleep(0.05)
            now = self.orphans()
            found = {pid: told for pid, told in found.items() if pid in now}

    def orphans(self) -> dict[int, str]:
        """Processes that belong neither to the front nor to a run that has not finished."""
        open_runs = {r["uuid"] for r in self.clients.look_at_newest() if r["phase"] != "finished"}
        front, everything = self.server.process.pid, all_processes()
        reap({front}, everything)
        allowed = {front, *below(front, everything)}
        return {
            pid: words(pid)
            for pid, run_id in runs_below(os.getpid(), everything).items()
            if pid not in self.others
            and (pid not in allowed if run_id is None else run_id not in open_runs)
        }

    def end(self) -> dict[str, Any]:
        """Lets everything end, looks at every version, and tells what was seen."""
        self.clients.end()
        records = self.clients.settled(180)
        assert not self.clients.wrong, self.clients.wrong
        self.no_orphans()
        for record in records:
            self._check_end(record)
        self._check_keys(records)
        self._check_versions(records)
        states: dict[str, int] = {}
        for record in records:
            states[record["status"]] = states.get(record["status"], 0) + 1
        return {
            "kills": self.kills,
            "runs": states,
            "asked": self.clients.counts,
            **{name: _summary(values) for name, values in self.figures.items()},
        }

    def _check_end(self, record: dict[str, Any]) -> None:
        run_id = record["uuid"]
        if run_id in self.clients.cancelled:
            assert record["status"] == "cancelled", record
        if record["status"] == "done":
            walked = json.loads((self._files(record["weights"]) / "walked.json").read_text())
            assert walked["steps"] == record["args"]["steps"], record
        elif record["status"] == "error":
            assert record["reason"] in _REASONS, record

    def _check_keys(self, records: list[dict[str, Any]]) -> None:
        """A key that was sent again after a lost answer has made one run."""
        nonces = [r["args"]["nonce"] for r in records if r["resumed_from"] is None]
        assert len(nonces) == len(set(nonces)), "a key made two runs"

    def _files(self, version: str) -> Path:
        return Path(self.server.home / "weights" / version / "files")

    def _check_versions(self, records: list[dict[str, Any]]) -> None:
        mortal = runpy.run_path(str(_PLUGIN))["Mortal"]
        listed = self.server.get(f"/v2/models/{MODEL}/weights/?limit=1000").json()
        versions = listed["weights"] if isinstance(listed, dict) else listed
        of_runs = {record["weights"] for record in records if record["weights"] is not None}
        assert of_runs <= {version["id"] for version in versions}
        for version in versions:
            folder = self._files(version["id"])
            manifest = read_json(folder.parent / "manifest.json")
            assert manifest is not None
            for file in manifest["files"]:
                content = (folder / file["path"]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file["sha256"], "torn weights"
            mortal().load(folder, "cpu")
        for version in self.chance.sample(versions, min(3, len(versions))):
            self._until(lambda v=version: self._answers(v["id"]), f"{version} cannot be loaded", 60)
        stray = {p.name for p in (self.server.home / "weights").iterdir()}
        assert stray == {version["id"] for version in versions}, "a version that is not listed"

    def _answers(self, version: str) -> bool:
        answer = self.server.predict(MODEL, json={}, params={"weights": version})
        assert answer.status_code in (200, 503), answer.text
        return bool(answer.status_code == 200)


_LIVING = {"starting", "training", "evaluating", "publishing"}
_REASONS = {"process_died", "interrupted", "publish_failed", "start_failed", "out_of_memory"}


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": round(ordered[len(ordered) // 2], 2),
        "p99": round(ordered[int(len(ordered) * 0.99)], 2),
        "most": round(ordered[-1], 2),
    }
