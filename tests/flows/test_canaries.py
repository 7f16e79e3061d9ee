"""Every secret that a client or an operator has, sent along a model's whole life; then all that the
server wrote is searched for each of them."""

import base64
import io
import os
import tarfile
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from yard_issuer import AUDIENCE, CLIENT, Issuer
from yard_keys import make_key
from yard_waiting import wait_until

TRAIN, WEIGHTS = "/v2/models/counter/train/", "/v2/models/counter/weights/"
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
    secret = key["Authorization"].rpartition("_")[2]
    canaries.told["key"] = secret
    server = start_server(
        *("--model-name", "counter,kinds", "--config-file", str(config)),
        *("--storage", str(tmp_path / "store"), "--log-level", "debug", "--debug-endpoint"),
        home=home,
        env=env,
    )
    token = issuer.bearer()
    signature = token["Authorization"].rpartition(".")[2]
    canaries.told["token"] = signature
    mine = {"headers": key}

    def get(path, **more):
        return server.get(path, **{"headers": key, **more})

    for model in ("counter", "kinds"):
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
    for headers in (strange, wrong, basic, token):
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
                assert answer.status_code < 500 or answer.status_code == 503, answer.text
                assert not canaries.in_bytes(answer.content + str(answer.headers).encode())

    # Arguments that are secret: in JSON, a form and a query; taken, and refused beside a fault.
    password = canaries.new("password")
    for more in (
        {"json": {"password": password}},
        {"data": {"password": password}},
        {"params": {"password": password}},
        {"json": {"password": password, "whole": 99}},
        {"json": {"password": password, "nothing_of_that_name": password}},
        {"data": b'{"password": "' + password.encode()},
    ):
        answer = server.post("/v2/models/kinds/predict/", **mine, **more)
        assert answer.status_code in (200, 400, 422), answer.text
        assert answer.status_code == 200 or not canaries.in_bytes(answer.content), answer.text

    # A training, its weights and what is made of them.
    sent = {"steps": 3, "token": password, "end": "well"}
    repeat = {**key, "Idempotency-Key": canaries.new("repeat")}
    done = server.post(TRAIN, json=sent, headers=repeat)
    assert done.status_code == 200 and not canaries.in_bytes(done.content), done.text
    assert server.post(TRAIN, json=sent, headers=repeat).json()["uuid"] == done.json()["uuid"]

    def ended(record):
        wait_until(lambda: get(f"{TRAIN}{record['uuid']}").json()["phase"] == "finished", 120)
        return get(f"{TRAIN}{record['uuid']}").json()

    record = ended(done.json())
    assert record["status"] == "done", record
    version = record["weights"]
    failing = server.post(TRAIN, json={**sent, "end": "raise"}, **mine)
    assert ended(failing.json())["status"] == "error"
    held = server.post(TRAIN, json={**sent, "hold": str(tmp_path / "never")}, **mine).json()
    wait_until(lambda: get(f"{TRAIN}{held['uuid']}").json()["phase"] == "training", 120)
    front = server.process.pid
    assert not canaries.in_processes({front})
    assert server.delete(f"{TRAIN}{held['uuid']}", **mine).json()["status"] == "cancelled"
    again = server.post(f"{TRAIN}{held['uuid']}/resume", json={"token": password}, **mine)
    assert again.status_code in (200, 409), again.text
    assert not canaries.in_bytes(again.content)
    wait_until(lambda: get(f"{TRAIN}{held['uuid']}").json()["phase"] == "finished", 120)
    parts = ("", "/log", "/events?log=true", "/metrics", "/checkpoints")
    answers = [get(f"{TRAIN}{record['uuid']}{part}") for part in parts]
    answers += [get(f"{WEIGHTS}{version}/{part}") for part in ("lineage", "card", "exports/")]
    answers += [get("/v2/debug/"), get("/openapi.json"), get("/metrics"), get(TRAIN)]
    answers += [server.post(f"{WEIGHTS}{version}/exports/", json={"format": "onnx"}, **mine)]
    for answer in answers:
        assert answer.status_code in (200, 422, 501), answer.text
        assert not canaries.in_bytes(answer.content), answer.text
    archive = get(f"{WEIGHTS}{version}/archive?format=tar.gz").content
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for member in packed:
            assert not canaries.in_bytes(packed.extractfile(member).read()), member.name
    brought = server.post(
        WEIGHTS, data=archive, headers={**key, "Content-Type": "application/gzip"}
    )
    assert brought.status_code in (200, 201), brought.text
    link = server.post(f"{WEIGHTS}{version}/link", json={}, **mine).json()["url"]
    shared = requests.get(link, timeout=60)
    assert shared.status_code == 200
    canaries.told["link"] = link.rpartition("/")[2]
    dataset = server.post(
        "/v2/datasets/?name=d", files=[("file", ("a.txt", b"one"))], headers=strange
    )
    assert dataset.status_code in (200, 201), dataset.text

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
