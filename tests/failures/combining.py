"""Features of serving at the same time, as a seed decides, and what must hold then."""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter, deque
from urllib.parse import urlsplit

import grpc
import numpy as np
import requests
from yard_grpc import Client
from yard_waiting import wait_until

MODEL, CALM, RUDE = "moody", "sums", "shift"
LOADABLE = ("well", "slow")
BAD = ("raise", "crash", "raise", "crash", "hang")  # the last one costs seconds
_SPARE = 4
"""Versions that load are kept, so many."""
_KILLS = 4
"""In a minute: more would be a crash loop, in which a model is right to refuse."""
_SOON_S = 90.0


class Combining:
    """Threads that call, and one that moves, kills, spoils, trains and deletes; `wrong` is what was
    broken.

    Calls of the default of `MODEL`, whose versions may hang, fail or crash when they are loaded,
    and of `CALM` are all answered. `RUDE` dies of its calls.
    """

    def __init__(self, server, seed):
        self.server = server
        self.chance = random.Random(seed)
        self.moods = {}  # version: how it loads
        self.numbers = {}  # number in the answers: version
        self.deleted = set()
        self.allowed = set()  # may have answered since all was settled
        self.allowed_before = set()  # the same, of what was asked before that
        self.settled_at = 0.0
        self.seen = deque()
        self.named = None  # what `production` names: versions, the default first
        self.kills = deque()
        self.killed = 0
        self.counts = Counter()
        self.wrong = []
        self._over = threading.Event()
        self._threads = []
        self._next = 0

    # -- begin and end ----------------------------------------------------------------------------

    def begin(self):
        self.server.wait_ready(MODEL)
        first = self.train("well")
        self.move([first])
        for mood in ("well", "slow", "hang", "raise", "crash", "flaky", "well"):
            self.train(mood)
        self.settle()
        self.before = self.front_size()
        for work in (self._default, self._lines, self._grpc, self._calm, self._choose, self._rude):
            seed = self.chance.random()
            thread = threading.Thread(target=self._again, args=(work, seed), daemon=True)
            self._threads.append(thread)
            thread.start()

    def act(self, seconds):
        """Does things at random for so long; looks between them whether all is as it is told."""
        end = time.monotonic() + seconds
        deeds = {
            self.move_one: 4, self.divide: 4, self.roll_back: 2, self.remove: 1,
            self.kill: 3, self.spoil: 1, self.train_one: 1, self.delete: 2, self.archive: 1,
        }  # fmt: skip
        while time.monotonic() < end:
            for _ in range(self.chance.randint(1, 5)):
                deed = self.chance.choices(list(deeds), list(deeds.values()))[0]
                self.counts[deed.__name__] += 1
                deed()
                time.sleep(self.chance.choice([0.0, 0.05, 0.3, 1.0]))
            self.settle()
            assert not self.wrong, self.wrong[:5]

    def end(self):
        self._over.set()
        for thread in self._threads:
            thread.join(_SOON_S)
            assert not thread.is_alive()
        assert not self.wrong, self.wrong[:5]
        self.settle()
        models = (MODEL, CALM, RUDE)

        def known():
            told = [self.server.get(f"/v2/models/{model}/").json()["workers"] for model in models]
            return {worker["pid"] for workers in told for worker in workers} - {None}

        wait_until(lambda: set(self.server.children("serving.worker")) == known(), _SOON_S)
        calls = self.server.home / "tmp" / "calls"
        wait_until(lambda: not list(calls.glob("*")))
        grown = self.front_size() - self.before
        assert grown < 64 * 1024, f"the front has grown by {grown} kB"
        return {**self.counts, "grown_kB": grown, "killed": self.killed}

    def front_size(self):
        """In kB, what is its own."""
        for line in (self.server.proc() / "status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1])
        raise AssertionError

    # -- what an operator does --------------------------------------------------------------------

    def train(self, mood):
        self._next += 1
        number = self._next * 1000
        run = self.server.wait_run(self.server.train(MODEL, mood=mood, number=number))
        version = run["weights"]
        assert version, run
        self.moods[version], self.numbers[number] = mood, version
        self.latest = version
        return version

    def train_one(self):
        if len(self.moods) < 20:
            version = self.train(self.chance.choice(["well", "slow", "well", "raise", "crash"]))
            if self.named is None:
                self.allow([version])

    def those(self, *moods):
        return [one for one in self.moods if self.moods[one] in moods and one not in self.deleted]

    def target(self):
        return self.chance.choice(self.those(*LOADABLE, self.chance.choice(BAD)))

    def move_one(self):
        self.move([self.chance.choice([self.target(), *self.those(*LOADABLE)])])

    def divide(self):
        versions = list(dict.fromkeys(self.target() for _ in range(self.chance.randint(2, 3))))
        shadow = self.target() if self.chance.random() < 0.3 else None
        self.move(versions, None if shadow in versions else shadow)

    def move(self, versions, shadow=None):
        body = {"versions": [{"version": one, "weight": 1.0} for one in versions]}
        self.allow(versions)
        self.production("PUT", json={**body, "shadow": shadow} if shadow else body)

    def roll_back(self):
        before = self.named
        if before is not None:
            self.allow(self.moods)
            self.production("POST", "/rollback")

    def remove(self):
        self.allow([self.latest, *self.moods])
        self.production("DELETE")

    def production(self, method, more="", **body):
        path = f"/v2/models/{MODEL}/weights/aliases/production{more}"
        answer = requests.request(method, self.server.url + path, timeout=90, **body)
        assert answer.status_code in (200, 204, 404, 409, 422), answer.text
        if answer.status_code == 200:
            self.named = [share["version"] for share in answer.json()["versions"]]
        elif answer.status_code == 204:
            self.named = None
        else:
            self.counts[f"refused {answer.status_code}"] += 1

    def allow(self, versions):
        self.allowed |= {one for one in versions if self.moods.get(one) in (*LOADABLE, "spoilt")}

    def kill(self):
        now = time.monotonic()
        while self.kills and self.kills[0] < now - 60:
            self.kills.popleft()
        pids = [one["pid"] for one in self.model()["workers"] if one["pid"]]
        if pids and len(self.kills) < _KILLS:
            self.kills.append(now)
            self.killed += 1
            stop = self.chance.random() < 0.2
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), signal.SIGSTOP if stop else signal.SIGKILL)

    def spoil(self):
        """The files of a version that does not answer by default change on the disk."""
        told = self.model()
        spared = {told["weights"], *(self.named or []), *self.those("spoilt")}
        others = [one for one in self.those("well") if one not in spared]
        if len(self.those(*LOADABLE)) > _SPARE and others:
            version = self.chance.choice(others)
            file = self.server.home / "weights" / version / "files" / "mood.json"
            self.moods[version] = "spoilt"
            file.chmod(0o644)
            file.write_text(file.read_text().replace("well", "ill "))

    def delete(self):
        version = self.chance.choice(list(self.those(*self.moods.values())))
        if self.moods[version] in LOADABLE and len(self.those(*LOADABLE)) <= _SPARE:
            return
        answer = self.server.delete(f"/v2/models/{MODEL}/weights/{version}")
        assert answer.status_code in (204, 409), answer.text
        if answer.status_code == 204:
            self.deleted.add(version)

    def archive(self):
        version = self.chance.choice(self.those(*LOADABLE))
        answer = self.server.get(f"/v2/models/{MODEL}/weights/{version}/archive")
        assert answer.status_code == 200, answer.text

    # -- what must hold ---------------------------------------------------------------------------

    def model(self):
        return self.server.get(f"/v2/models/{MODEL}/").json()

    def settle(self):
        """All is as the alias says, and as the model's resource tells."""
        first = self.named[0] if self.named else self.latest
        now = {}

        def settled():
            now.update(self.model())
            shares = (now["traffic"] or {}).get("versions", [])
            told = [share["version"] for share in shares]
            right = now["weights"] == first
            if self.moods[first] not in LOADABLE:  # it has been tried
                right = right or first in now.get("weights_error", "")
            divided = self.named is not None and len(self.named) > 1
            return (
                right
                and now["state"] == "ready"
                and (not divided or told == self.named)
                and all(
                    share["ready"] or self.moods[share["version"]] not in LOADABLE
                    for share in shares
                )
            )

        try:
            wait_until(settled, _SOON_S)
        except AssertionError:
            raise AssertionError(f"not settled: {self.named}, {self.moods}, {now}") from None
        self.check_answers()
        traffic = now["traffic"] or {"versions": []}
        answering = {share["version"] for share in traffic["versions"] if share["ready"]}
        answering.add(now["weights"])
        self.allowed_before, self.allowed = self.allowed, answering
        self.settled_at = time.monotonic()
        time.sleep(0.3)

    def check_answers(self):
        """Of versions that somebody had named for the calls that name none."""
        while self.seen:
            began, version = self.seen.popleft()
            allowed = self.allowed
            if began < self.settled_at:
                allowed = self.allowed | self.allowed_before
            assert version in allowed, f"{version} answered, beside {allowed}: {self.moods}"

    def note(self, ok, told):
        if not ok:
            # What a killed or stopped worker was working on is told so.
            if ("SIGKILL" in told or "stopped by a signal" in told) and self.killed:
                self.counts["killed calls"] += 1
                if self.counts["killed calls"] <= 8 * self.killed:
                    return
            self.wrong.append(told)

    def saw(self, began, y):
        self.seen.append((began, self.numbers.get(int(y), f"an answer of {y}")))

    # -- what clients do --------------------------------------------------------------------------

    def _again(self, work, seed):
        chance = random.Random(seed)
        with requests.Session() as session:
            while not self._over.wait(chance.choice([0.0, 0.02, 0.1])):
                try:
                    self.counts[work.__name__] += 1
                    work(chance, session)
                except Exception as error:  # a connection that was cut too
                    self.wrong.append(f"{work.__name__}: {error!r}")

    def _post(self, session, model, **more):
        return session.post(f"{self.server.url}/v2/models/{model}/predict/", timeout=90, **more)

    def _default(self, chance, session):
        seconds = chance.choice([0.0, 0.0, 0.0, 0.2])
        began = time.monotonic()
        answer = self._post(session, MODEL, json={"x": [0.0], "seconds": seconds})
        self.note(answer.ok, f"default: {answer.status_code} {answer.text}")
        if answer.ok:
            self.saw(began, answer.json()["y"][0])

    def _lines(self, chance, session):
        lines = "\n".join(json.dumps({"x": [0.0]}) for _ in range(chance.randint(1, 30)))
        headers, began = {"Content-Type": "application/x-ndjson"}, time.monotonic()
        answer = self._post(session, MODEL, data=lines, headers=headers)
        self.note(answer.ok, f"lines: {answer.status_code} {answer.text}")
        for line in answer.text.splitlines() if answer.ok else ():
            told = json.loads(line)
            self.note(told["status"] == 200, f"a line: {line}")
            if told["status"] == 200:
                self.saw(began, told["answer"]["y"][0])

    def _grpc(self, chance, session):
        client = self._client()
        try:
            for _ in range(chance.randint(1, 20)):
                began = time.monotonic()
                try:
                    answer = client.infer(MODEL, {"x": np.zeros(1, "float32")}, timeout=90)
                except grpc.RpcError as error:
                    self.note(False, f"gRPC: {error.code()} {error.details()}")
                else:
                    self.saw(began, np.frombuffer(answer.raw_output_contents[0], "float32")[0])
        finally:
            client.close()

    def _client(self):
        return Client(f"127.0.0.1:{self.server.grpc_port}")

    def _calm(self, chance, session):
        answer = self._post(
            session, CALM, json={"x": [[1.0, 2.0, 3.0]]}, headers={"X-Request-Timeout": "30"}
        )
        if answer.status_code != 200 or "6.0" not in answer.text:
            self.wrong.append(f"calm: {answer.status_code} {answer.text}")

    def _choose(self, chance, session):
        """A version by its id, in a hurry or not; some clients do not wait."""
        version, mood = chance.choice(list(self.moods.items()))
        limit = chance.choice(["0.3", "2", "30"])
        if chance.random() < 0.2:
            self._hang_up(chance, f"/v2/models/{MODEL}/predict/?weights={version}", {"x": [0.0]})
            return
        before = version in self.deleted
        began = time.monotonic()
        answer = self._post(
            session,
            MODEL,
            json={"x": [0.0]},
            params={"weights": version},
            headers={"X-Request-Timeout": limit},
        )
        took = time.monotonic() - began
        self.counts[f"chosen {answer.status_code}"] += 1
        if took > float(limit) + 20:
            self.wrong.append(f"{version} ({mood}) answered after {took:.1f} s, of {limit}")
        if answer.ok:
            number = int(answer.json()["y"][0])
            who = self.numbers[number]
            told = answer.headers["X-Modelyard-Weights"]
            if who != version or told != version or mood not in (*LOADABLE, "flaky", "spoilt"):
                self.wrong.append(f"{version} ({mood}) was chosen, {who} answered as {told}")
            if before:
                self.wrong.append(f"{version} answered, and is deleted")
        elif answer.status_code not in (422, 429, 500, 503, 504):
            self.wrong.append(f"chosen: {answer.status_code} {answer.text}")

    def _rude(self, chance, session):
        do = chance.choice(["answer", "answer", "fail", "die", "first"])
        body = {"x": [1.0], "do": do, "seconds": chance.choice([0.0, 0.0, 3.0])}
        if chance.random() < 0.3:
            self._hang_up(chance, f"/v2/models/{RUDE}/predict/", body)
            return
        timeout = {"X-Request-Timeout": "1.5"}
        answer = self._post(session, RUDE, json=body, headers=timeout)
        self.counts[f"rude {answer.status_code}"] += 1
        if answer.status_code not in (200, 429, 500, 503, 504):
            self.wrong.append(f"rude: {answer.status_code} {answer.text}")
        time.sleep(0.5)

    def _hang_up(self, chance, path, body):
        """Sends all or a part of a request, and goes."""
        text = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n"
        whole = f"{head}Content-Type: application/json\r\n\r\n".encode() + text
        port = urlsplit(self.server.url).port
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(whole[: chance.choice([len(whole), len(whole), len(whole) - 3])])
            time.sleep(chance.choice([0.0, 0.01, 0.3]))
