"""Where the server's files are: told to who may manage and to the log, and to nobody else."""

import shutil

import grpc
import pytest
import requests
from yard_grpc import Client
from yard_keys import make_key
from yard_waiting import wait_until

from modelyard.schemas.permissions import Permission

COUNTER = "/v2/models/counter"


@pytest.fixture
def server(start_server, tmp_path):
    """With keys, a store that is a folder, and one for data."""
    (tmp_path / "data").mkdir()
    server = start_server(
        *("--model-name", "counter", "--no-warm-start", "--grpc-port", "0"),
        *("--storage", str(tmp_path / "store"), "--data", str(tmp_path / "data")),
    )
    server.keys = {
        "manager": make_key(server.home, "all", *(str(one) for one in Permission)),
        "reader": make_key(server.home, "reader", "read", "predict"),
        "trainer": make_key(server.home, "trainer", "read", "train"),
        "nobody": {},
    }
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def ask(server, who, method, path, **more):
    headers = {**server.keys[who], **more.pop("headers", {})}
    return requests.request(method, server.url + path, headers=headers, timeout=90, **more)


def places(server, tmp_path):
    """How the paths that nobody is to see may begin."""
    return {str(tmp_path).encode(), str(tmp_path.resolve()).encode()}


def sweep(server, tmp_path, paths, told):
    """Asks for everything as everybody; notes in `told` what had a path, and gives the statuses."""
    statuses = set()
    for who in ("reader", "trainer", "nobody"):
        for method, path, more in paths:
            answer = ask(server, who, method, path, **more)
            said = answer.content + repr(dict(answer.headers)).encode()
            statuses.add(answer.status_code)
            for place in places(server, tmp_path):
                if place in said:
                    start = said.find(place)
                    told.append((who, method, path, said[max(0, start - 150) : start + 100]))
    return statuses


def at_rest(manage) -> bool:
    """Whether no training is going on and no version is on its way into the store."""
    runs = manage("GET", f"{COUNTER}/train/?limit=100").json()
    versions = manage("GET", f"{COUNTER}/weights/").json()["weights"]
    return all(one["status"] in ("done", "error", "cancelled") for one in runs) and all(
        one["state"] in ("ready", "failed") for one in versions
    )


def test_no_path_of_the_server_is_told_to_who_may_not_manage(server, tmp_path):
    def manage(method, path, **more):
        return ask(server, "manager", method, path, **more)

    wait_until(lambda: manage("GET", f"{COUNTER}/").json()["state"] == "ready")
    run = manage("POST", f"{COUNTER}/train/", json={"steps": 3}).json()["uuid"]
    wait_until(lambda: manage("GET", f"{COUNTER}/train/{run}").json()["status"] == "done")
    failed = manage("POST", f"{COUNTER}/train/", json={"end": "raise"}).json()["uuid"]
    wait_until(lambda: manage("GET", f"{COUNTER}/train/{failed}").json()["status"] == "error")
    version = manage("GET", f"{COUNTER}/weights/latest").json()["id"]
    link = manage("POST", f"{COUNTER}/weights/{version}/link", json={}).json()
    shared = "/v2/shared/" + link["url"].rpartition("/")[2]
    one = f"{COUNTER}/weights/{version}"
    get = [
        *("/readyz", "/readyz?model=all", "/v2/health/ready", "/metrics", "/openapi.json", "/v2/"),
        *("/v2/models/", f"{COUNTER}/", f"{COUNTER}/ready", f"{COUNTER}/train/"),
        *(f"{COUNTER}/train/?limit=5", f"{COUNTER}/train/{run}", f"{COUNTER}/train/{run}/metrics"),
        *(f"{COUNTER}/train/{failed}", f"{COUNTER}/train/{run}/checkpoints"),
        *(f"{COUNTER}/train/{failed}/events", f"{COUNTER}/weights/", one, f"{one}/lineage"),
        *(f"{one}/card", f"{one}/archive", f"{one}/exports/", f"{one}/exports/onnx"),
        *("/v2/datasets/", "/tensorboard/data/environment", "/tensorboard/data/runs"),
        *("/tensorboard/", "/sign-in", "/nowhere", shared),
    ]
    upload = {"filename": "a.zip", "size": 1000}
    paths = [("GET", path, {}) for path in get] + [
        ("POST", f"{COUNTER}/predict/", {"json": {}}),
        ("POST", f"{COUNTER}/predict/?weights={version}", {"json": {}}),
        ("POST", f"{COUNTER}/predict/?weights=latest", {"data": b"{}\n{}\n",
         "headers": {"Content-Type": "application/x-ndjson"}}),
        ("POST", f"{COUNTER}/train/", {"json": {"steps": 1}}),
        ("POST", f"{COUNTER}/train/{run}/checkpoints/last/promote", {}),
        ("POST", f"{COUNTER}/train/{failed}/resume", {}),
        ("POST", f"{one}/retry", {}), ("POST", f"{one}/fetch", {}),
        ("POST", f"{one}/exports/", {"json": {"format": "onnx"}}),
        ("POST", f"{one}/link", {"json": {}}),
        ("PATCH", one, {"json": {"notes": "a"}}),
        ("PUT", f"{COUNTER}/weights/aliases/mine", {"json": {"version": version}}),
        ("POST", "/v2/datasets/uploads/", {"json": upload}),
        ("POST", "/v2/datasets/", {"data": b"x", "headers": {"Content-Type": "application/zip"}}),
    ]  # fmt: skip
    told: list = []
    assert {200, 401, 403} <= sweep(server, tmp_path, paths, told)

    store, home = tmp_path / "store", server.home
    wait_until(lambda: at_rest(manage))
    store.rename(tmp_path / "away")  # at once, whatever the server writes there
    store.write_text("no folder")
    for folder in (home / "weights").rglob("count.json"):
        folder.unlink(missing_ok=True)
    for path in (home / "runs" / run).iterdir():
        if path.name not in ("supervisor.json", "process.json"):  # by which the tests end them
            shutil.rmtree(path) if path.is_dir() else path.write_text("damaged")
    for path in home.glob("*.key"):
        path.write_text("damaged")
    assert max(sweep(server, tmp_path, paths, told)) >= 500

    for path in home.glob("records.db*"):
        path.unlink(missing_ok=True)
    wait_until(lambda: list(home.glob("records.db.saved-*")))
    assert 503 in sweep(server, tmp_path, paths, told)
    assert not told, "\n".join(map(str, told))
    check_who_is_told(server, home)


def check_who_is_told(server, home):
    """Of a database that is gone."""
    path = str(home / "records.db")
    for address in ("/readyz", "/v2/health/ready"):
        for who, word in (("manager", path), ("reader", "HOME/records.db")):
            answer = ask(server, who, "GET", address)
            assert answer.status_code == 503 and word in answer.text
        answer = ask(server, "nobody", "GET", address)
        assert answer.status_code == 503 and "HOME" not in answer.text
        assert "storage" in answer.text and "records.db" not in answer.text
    assert any(path in line for line in server.lines)
    port = next(line for line in server.lines if line.startswith("  gRPC")).split()[1]
    client = Client(port)
    try:
        assert not client.call("ServerReady").ready
        with pytest.raises(grpc.RpcError) as refused:
            client.call("ModelReady", name="counter")
        assert str(home) not in str(refused.value)
    finally:
        client.close()


def test_which_models_are_not_ready_is_told_to_who_may_know_of_them(start_server):
    server = start_server("--model-name", "hangs-at-import,kinds", "--no-warm-start")
    server.keys = {
        "nobody": {},
        "other": make_key(server.home, "other", "read", model="kinds"),
        "caller": make_key(server.home, "caller", "predict"),
        "reader": make_key(server.home, "reader", "read"),
    }
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    for who, told in (("nobody", False), ("other", False), ("caller", False), ("reader", True)):
        answer = ask(server, who, "GET", "/v2/health/ready")
        assert answer.status_code == 503 and "ready" in answer.json()["error"]
        assert ("hangs-at-import" in answer.text) is told, who


def test_on_loopback_without_keys_everybody_is_the_operator(start_server):
    server = start_server("--model-name", "counter", "--no-warm-start")
    for path in server.home.glob("records.db*"):
        path.unlink()
    wait_until(lambda: server.get("/readyz").status_code == 503)
    assert str(server.home / "records.db") in server.get("/readyz").json()["detail"]
