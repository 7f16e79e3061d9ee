"""Every secret that a client or an operator has, sent along a model's whole life; then all that the
server wrote is searched for each of them."""

import base64
import io
import os
import tarfile
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from yard_issuer import AUDIENCE, CLIENT, Issuer
from yard_keys import make_key
from yard_waiting import wait_until

TRAIN, WEIGHTS = "/v2/models/counter/train/", "/v2/models/counter/weights/"
MODELS = ("counter", "kinds", "kin", "stepper")
STEPPER, KIN = "/v2/models/stepper/train/", "/v2/models/kin/"
SETTINGS = """
oidc_issuer = "{issuer}"
oidc_audience = ["{audience}"]
oidc_client_id = "{client}"
[oidc_permissions]
"group:trainers" = "read train predict"
"""
SCOPES = ("read", "predict", "train", "manage")


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


class Canaries:
    """One text for each kind of secret, that nobody else in the world has."""

    def __init__(self):
        self.told = {}

    def new(self, kind):
        self.told[kind] = f"canary-{kind}-{uuid.uuid4().hex}"
        return self.told[kind]

    def forms(self):
        for kind, text in self.told.items():
            raw = text.encode()
            for form in {raw, quote(text, safe="").encode(), raw.hex().encode(), raw[::-1]}:
                yield kind, form
            whole = base64.b64encode(raw)
            yield kind, whole[: len(whole) // 4 * 4 - 4]

    def in_bytes(self, content, but=()):
        return {kind for kind, form in self.forms() if kind not in but and form in content}

    def in_folder(self, folder, but=()):
        found = []
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                found += [(kind, path) for kind in self.in_bytes(content, but)]
            found += [(kind, path) for kind in self.in_bytes(os.fsencode(path.name), but)]
        return found

    def in_processes(self, but):
        """What the kernel shows of any process but those (`ps`, /proc)."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) in {*but, os.getpid()}:
                continue
            for name in ("cmdline", "environ"):
                try:
                    content = (folder / name).read_bytes()
                except OSError:
                    continue
                found += [(kind, name, folder.name) for kind in self.in_bytes(content)]
        return found


def statuses_of(server, headers, query, canaries):
    """How often each status was answered; no answer repeats a secret."""
    statuses = Counter()
    for method, path in (
        ("GET", "/v2/models/counter/"),
        ("GET", "/v2/models/counter/train/"),
        ("POST", "/v2/models/kinds/predict/"),
        ("GET", "/tensorboard/"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("DELETE", "/v2/models/counter/weights/latest"),
    ):
        for params in ({}, query):
            answer = requests.request(
                method, server.url + path, headers=headers, params=params, timeout=90
            )
            assert not canaries.in_bytes(answer.content + str(answer.headers).encode())
            statuses[answer.status_code] += 1
    return statuses


def test_no_secret_of_a_whole_life_is_written_anywhere(start_server, tmp_path, issuer):
    canaries = Canaries()
    env = {
        "AWS_SECRET_ACCESS_KEY": canaries.new("store"),
        "AWS_SESSION_TOKEN": canaries.new("session"),
        "MODELYARD_ANYTHING": canaries.new("operator"),
    }
    config = tmp_path / "yard.toml"
    config.write_text(SETTINGS.format(issuer=issuer.url, audience=AUDIENCE, client=CLIENT))
    home = tmp_path / "home"
    key = make_key(home, "ann", *SCOPES)
    secret = key["Authorization"].split("_", 2)[2]  # it may have such a sign itself
    canaries.told["key"] = secret
    server = start_server(
        *("--model-name", ",".join(MODELS), "--config-file", str(config)),
        *("--storage", str(tmp_path / "store"), "--log-level", "debug", "--debug-endpoint"),
        home=home,
        env=env,
    )
    token = issuer.bearer(groups=["trainers"])
    signature = token["Authorization"].rpartition(".")[2]
    canaries.told["token"] = signature
    mine = {"headers": key}

    def get(path, **more):
        return server.get(path, **{"headers": key, **more})

    for model in MODELS:
        wait_until(lambda m=model: get(f"/v2/models/{m}/").json()["state"] == "ready")

    # A browser signs in; its cookie is a secret, too.
    browser = requests.Session()
    text = key["Authorization"].removeprefix("Bearer ")
    origin = {"Origin": server.url}
    answer = browser.post(server.url + "/sign-in", data={"key": text}, headers=origin, timeout=60)
    assert answer.status_code == 200, answer.text
    canaries.told["cookie"] = next(iter(browser.cookies)).value
    assert browser.get(server.url + "/v2/models/", timeout=60).status_code == 200

    # Wrong ones, and ones in places where nobody asked for them.
    strange = {
        **key,
        "X-Api-Key": canaries.new("other-header"),
        "Cookie": f"session={canaries.new('other-cookie')}",
        "Proxy-Authorization": f"Basic {canaries.new('proxy')}",
    }
    wrong = {"Authorization": f"Bearer {canaries.new('wrong-key')}"}
    basic = {"Authorization": "Basic " + base64.b64encode(canaries.new("basic").encode()).decode()}
    query = {"token": canaries.new("query"), "access_token": canaries.told["query"]}
    taken = {200: 8, 422: 2, 404: 4}  # a parameter that no model knows; a path; nothing to delete
    for headers, told in (
        (strange, taken),
        (wrong, {401: 14}),
        (basic, {401: 14}),
        (token, {**taken, 404: 2, 403: 2}),
    ):
        assert statuses_of(server, headers, query, canaries) == told, headers

    # Arguments that are secret: in JSON, a form and a query; taken, and refused beside a fault.
    password = canaries.new("password")
    for more, status in (
        ({"json": {"password": password}}, 200),
        ({"data": {"password": password}}, 200),
        ({"params": {"password": password}}, 200),
        ({"json": {"password": password, "whole": 99}}, 422),
        ({"json": {"password": password, "nothing_of_that_name": password}}, 422),
        ({"data": b'{"password": "' + password.encode()}, 422),
    ):
        answer = server.post("/v2/models/kinds/predict/", **mine, **more)
        assert answer.status_code == status, answer.text
        assert status == 200 or not canaries.in_bytes(answer.content), answer.text

    # A training, its weights and what is made of them.
    sent = {"steps": 3, "token": password, "end": "well"}
    repeat = {**key, "Idempotency-Key": canaries.new("repeat")}
    done = server.post(TRAIN, json=sent, headers=repeat)
    assert done.status_code == 200 and not canaries.in_bytes(done.content), done.text
    assert server.post(TRAIN, json=sent, headers=repeat).json()["uuid"] == done.json()["uuid"]

    def ended(record, runs=TRAIN):
        wait_until(lambda: get(f"{runs}{record['uuid']}").json()["phase"] == "finished", 120)
        return get(f"{runs}{record['uuid']}").json()

    def ok(answer, status=200):
        assert answer.status_code == status, answer.text
        assert not canaries.in_bytes(answer.content), answer.text
        return answer.json()

    record = ended(done.json())
    assert record["status"] == "done", record
    version = record["weights"]
    failing = ok(server.post(TRAIN, json={**sent, "end": "raise"}, **mine))
    assert ended(failing)["status"] == "error"
    held = ok(server.post(TRAIN, json={**sent, "hold": str(tmp_path / "never")}, **mine))
    wait_until(lambda: get(f"{TRAIN}{held['uuid']}").json()["phase"] == "training", 120)
    front = server.process.pid
    assert not canaries.in_processes({front})
    assert ok(server.delete(f"{TRAIN}{held['uuid']}", **mine))["status"] == "cancelled"
    assert ended(held)["status"] == "cancelled"
    # One that is paused and goes on, is cancelled, and begun again where it was.
    again = {**key, "Idempotency-Key": canaries.new("resumed")}
    stepper = {"steps": 10_000, "token": password}
    going = ok(server.post(STEPPER, json=stepper, **mine))
    address = f"{STEPPER}{going['uuid']}"
    wait_until(lambda: get(f"{address}/checkpoints").json()["last"] is not None, 120)
    ok(server.post(f"{address}/pause", headers=again))
    wait_until(lambda: get(address).json()["phase"] == "paused", 120)
    assert ok(server.post(f"{address}/resume", headers=again))["uuid"] == going["uuid"]
    wait_until(lambda: get(address).json()["phase"] == "training", 120)
    ok(server.delete(address, **mine))
    assert ended(going, STEPPER)["status"] == "cancelled"
    ok(server.post(f"{address}/resume", json={}, **mine), 422)  # its secrets are gone
    wrong_secret = {"token": password, "steps": 3}
    ok(server.post(f"{address}/resume", json=wrong_secret, **mine), 422)
    resumed = ok(server.post(f"{address}/resume", json={"token": password}, headers=strange))
    assert resumed["resumed_from"] == going["uuid"] != resumed["uuid"]
    wait_until(lambda: get(f"{STEPPER}{resumed['uuid']}").json()["phase"] == "training", 120)
    assert not canaries.in_processes({front})
    ok(server.delete(f"{STEPPER}{resumed['uuid']}", **mine))
    ended(resumed, STEPPER)
    # An export that is made and fetched, and one that is refused.
    kin = ended(ok(server.post(f"{KIN}train/", json={"token": password}, **mine)), f"{KIN}train/")
    assert kin["status"] == "done", kin
    exports = f"{KIN}weights/{kin['weights']}/exports/"
    made = server.post(exports, json={"format": "text"}, headers=again)
    ok(made, 201)
    ok(server.post(exports, json={"format": "onnx"}, **mine), 422)
    file = get(f"{exports}text")
    assert file.status_code == 200 and not canaries.in_bytes(file.content), file.text
    for run in (f"{TRAIN}{record['uuid']}", address, f"{KIN}train/{kin['uuid']}"):
        for part in ("", "/log", "/events?log=true", "/metrics", "/checkpoints"):
            answer = get(f"{run}{part}")
            assert answer.status_code == 200, answer.text
            assert not canaries.in_bytes(answer.content), answer.text
    answers = [get(f"{WEIGHTS}{version}/{part}") for part in ("lineage", "card", "exports/")]
    answers += [get("/v2/debug/"), get("/openapi.json"), get("/metrics"), get(TRAIN), get(STEPPER)]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert not canaries.in_bytes(answer.content), answer.text
    archive = get(f"{WEIGHTS}{version}/archive?format=tar.gz").content
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for member in packed:
            assert not canaries.in_bytes(packed.extractfile(member).read()), member.name
    brought = server.post(
        WEIGHTS, data=archive, headers={**key, "Content-Type": "application/gzip"}
    )
    ok(brought)  # it is here
    link = server.post(f"{WEIGHTS}{version}/link", json={}, **mine).json()["url"]
    shared = requests.get(link, timeout=60)
    assert shared.status_code == 200
    canaries.told["link"] = link.rpartition("/")[2]
    dataset = server.post(
        "/v2/datasets/?name=d", files=[("file", ("a.txt", b"one"))], headers=strange
    )
    ok(dataset, 201)

    # What there is while it runs, when it was killed, after a restart, and in the end.
    assert not canaries.in_processes({front})
    assert not canaries.in_folder(tmp_path)
    server.kill()
    assert not canaries.in_folder(tmp_path)
    server.start()
    wait_until(lambda: get("/readyz").status_code == 200)
    server.stop()
    assert not canaries.in_folder(tmp_path)
    assert not canaries.in_bytes("".join(server.lines).encode())
    # The search finds what is there.
    (tmp_path / "home" / "planted").write_text(password)
    assert canaries.in_folder(tmp_path) == [("password", tmp_path / "home" / "planted")]
