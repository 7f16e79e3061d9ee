"""Who is let in by gRPC: the same keys, in the metadata of each call."""

import json
import time

import grpc
import numpy as np
import pytest
from yard_grpc import Client, grpc_target, pb
from yard_keys import id_of, keys, make_key
from yard_waiting import wait_until

ROWS = {"x": np.arange(6, dtype="float32").reshape(2, 3)}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "sums,plain", "--no-warm-start", "--grpc-port", "0")
    for model in ("sums", "plain"):
        server.wait_ready(model)
    server.keys = {
        "predict": make_key(server.home, "predict", "predict"),
        "read": make_key(server.home, "read", "read"),
        "plain": make_key(server.home, "plain", "predict", "read", model="plain"),
    }
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


@pytest.fixture(scope="module")
def client(server):
    client = Client(grpc_target(server))
    yield client
    client.close()


def sent(header):
    return [("authorization", header["Authorization"])]


def code_of(client, metadata, method="ModelInfer", **fields):
    with pytest.raises(grpc.RpcError) as refused:
        if method == "ModelInfer":
            client.infer("sums", ROWS, metadata=metadata)
        else:
            request = getattr(pb, f"{method}Request")(**fields)
            client.method(method)(request, timeout=30, metadata=metadata)
    return refused.value.code()


def test_a_key_with_the_permission_is_let_in(server, client):
    key = sent(server.keys["predict"])
    assert client.infer("sums", ROWS, metadata=key).outputs[0].name == "y"


def test_others_are_told_what_is_missing(server, client):
    wrong = "Bearer my_0123456789ab_" + "A" * 43
    twice = sent(server.keys["predict"]) * 2
    for metadata in (None, [("authorization", wrong)], [("authorization", wrong[7:])], twice):
        assert code_of(client, metadata) is grpc.StatusCode.UNAUTHENTICATED
    for name in ("read", "plain"):
        assert code_of(client, sent(server.keys[name])) is grpc.StatusCode.PERMISSION_DENIED
    told = code_of(client, sent(server.keys["plain"]), "ModelMetadata", name="sums")
    assert told is grpc.StatusCode.PERMISSION_DENIED
    refused = (server.home / "audit" / "refused.jsonl").read_text().splitlines()
    last = json.loads(refused[-1])
    assert (last["principal"], last["method"], last["status"]) == ("key:plain", "GRPC", 403)
    assert (last["model"], last["route"].rpartition("/")[2]) == ("sums", "ModelMetadata")


def test_of_a_name_that_is_none_the_logs_get_no_more_than_of_a_name(server, client):
    """Else one message of megabytes would push all older lines out of the audit log."""
    before = (server.home / "audit" / "refused.jsonl").stat().st_size
    for name in ("x" * 500_000, "\x00\n" * 200_000):
        told = code_of(client, sent(server.keys["plain"]), "ModelReady", name=name)
        assert told is grpc.StatusCode.PERMISSION_DENIED
    assert (server.home / "audit" / "refused.jsonl").stat().st_size - before < 4_000
    assert max(map(len, server.lines)) < 4_000


def test_health_checks_need_no_key(client):
    assert client.call("ServerLive").live and client.call("ServerReady").ready
    assert client.check() is not None


def test_a_revoked_key_ends_on_an_open_channel(server, client):
    key = make_key(server.home, "leaver", "predict")
    client.infer("sums", ROWS, metadata=sent(key))
    assert keys(server.home, "revoke", id_of(key)).returncode == 0
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            client.infer("sums", ROWS, metadata=sent(key))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            return
    raise AssertionError("it is let in still")
