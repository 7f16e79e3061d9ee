"""Tokens of an issuer as callers meet them, by HTTP's two ways and gRPC's."""

import json
import time

import grpc
import pytest
import requests
from talk import Talk, post
from yard_callers import KINDS, audit, both_ways, line
from yard_grpc import Client, grpc_target, pb
from yard_issuer import AUDIENCE, CLIENT, Issuer, rsa_key
from yard_keys import make_key
from yard_waiting import wait_until

SETTINGS = """
oidc_issuer = "{issuer}"
oidc_audience = ["{audience}"]
oidc_client_id = "{client}"
[oidc_permissions]
"group:readers" = "read"
"group:trainers" = "read train"
"group:of-counter" = ["predict", "train", "model:counter"]
"group:keepers-of-kinds" = "manage model:kinds"
"group:keepers-of-counter" = "manage model:counter"
"scope:yard" = "predict"
"""


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    found.keys["later"] = rsa_key("later")
    yield found
    found.close()


@pytest.fixture(scope="module")
def config(issuer, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "modelyard.toml"
    file.write_text(SETTINGS.format(issuer=issuer.url, audience=AUDIENCE, client=CLIENT))
    return str(file)


@pytest.fixture(scope="module")
def server(serve_module, issuer, config):
    server = serve_module(
        *("--config-file", config, "--model-name", "kinds,counter", "--no-warm-start"),
        *("--grpc-port", "0"),
    )
    for model in ("kinds", "counter"):
        wait_until(
            lambda model=model: (
                server.get(f"/v2/models/{model}/", headers=issuer.bearer()).json().get("state")
                == "ready"
            )
        )
    return server


def test_a_token_opens_what_its_groups_and_scopes_may_and_nothing_else(server, issuer):
    token = issuer.bearer()
    assert both_ways(server, line(token))[0] == 200
    assert server.get("/v2/models/", headers=token).status_code == 200
    refused = server.post("/v2/models/counter/train/", json={}, headers=token)
    assert refused.status_code == 403 and refused.json()["permission"] == "train"
    assert "Your token" in refused.json()["detail"]
    assert both_ways(server)[0] == 401
    nobody = issuer.bearer(groups=[], scope="openid")
    assert both_ways(server, line(nobody))[0] == 403


def test_a_group_may_be_for_one_model_while_another_is_for_all(server, issuer):
    token = issuer.bearer(groups=["readers", "of-counter"], scope="openid")
    names = [one["id"] for one in server.get("/v2/models/", headers=token).json()["models"]]
    assert sorted(names) == ["counter", "kinds"]
    assert both_ways(server, line(token))[0] == 403, "may read kinds, not ask it"
    asked = both_ways(server, line(token), path="/v2/models/counter/predict/")
    assert asked[0] == 409, "it has no weights: that is told to who may ask it"
    train = server.post("/v2/models/kinds/train/", json={}, headers=token)
    assert train.status_code == 403 and train.json()["model"] == "kinds"
    assert server.get("/metrics", headers=token).status_code == 200
    only = issuer.bearer(groups=["of-counter"], scope="openid")
    assert server.get("/v2/models/", headers=only).status_code == 403


def test_to_purge_a_run_who_may_manage_has_to_be_so_for_its_model(server, issuer):
    """Each entry's permissions are for its own models: to train with all of them, and to manage
    another one, are not together what it takes."""
    trainer = issuer.bearer(groups=["trainers"])
    run = server.post("/v2/models/counter/train/", json={"steps": 1}, headers=trainer).json()
    path = f"/v2/models/counter/train/{run['uuid']}"
    wait_until(lambda: server.get(path, headers=trainer).json()["status"] == "done")
    of_another = issuer.bearer(groups=["trainers", "keepers-of-kinds"])
    refused = server.delete(f"{path}?purge=true", headers=of_another)
    assert (refused.status_code, refused.json()["model"]) == (403, "counter"), refused.text
    assert server.delete(path, headers=of_another).status_code == 200, "to cancel takes no more"
    of_this = issuer.bearer(groups=["trainers", "keepers-of-counter"])
    assert server.delete(f"{path}?purge=true", headers=of_this).status_code == 200
    assert server.get(path, headers=trainer).status_code == 404


def test_refused_tokens_are_told_apart_only_to_who_has_one_of_the_issuer(server, issuer):
    for changed, told in [
        ({"aud": "somebody-else"}, "another audience"),
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"typ": "ID"}, "no access token"),
    ]:
        status, headers, body = both_ways(server, line(issuer.bearer(**changed)))
        assert status == 401 and told in json.loads(body)["detail"]
        assert 'error="invalid_token"' in headers["WWW-Authenticate"]
    token = issuer.token()
    forged = token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB")
    status, _, body = both_ways(server, f"Authorization: Bearer {forged}")
    assert status == 401 and json.loads(body)["detail"] == "The token that was sent is not valid."


def test_a_huge_token_harms_nothing(server, issuer):
    with Talk(server) as talk:
        talk.send(post(KINDS, b"{}", line(issuer.bearer(padding="x" * 40_000))))
        assert talk.answer()[0] in (400, 401, 431)
    assert both_ways(server, line(issuer.bearer()))[0] == 200


def test_a_token_expires_on_connections_that_the_lane_knows(server, issuer):
    until = int(time.time()) - 25  # of the 30 s by which clocks may differ five are left
    call = post(KINDS, b"{}", line(issuer.bearer(exp=until)))
    with Talk(server) as talk:
        talk.send(call)
        first = talk.answer()[0]
        assert first == 200 or time.time() > until + 29

        def refused():
            talk.send(call)
            return talk.answer()[0] == 401

        wait_until(refused)
        assert time.time() > until + 29


def test_keys_and_tokens_may_be_used_side_by_side(server, issuer):
    key = make_key(server.home, "beside", "read", "predict")
    assert both_ways(server, line(key))[0] == 200
    assert both_ways(server, line(issuer.bearer()))[0] == 200
    assert both_ways(server, "Authorization: Bearer a.b.c")[0] == 401


def test_runs_and_the_audit_log_tell_who_it_was_and_no_token(server, issuer):
    token = issuer.bearer(groups=["trainers"], sub="tina-7", preferred_username="Tina")
    run = server.post("/v2/models/counter/train/", json={"steps": 1}, headers=token).json()
    who = f"oidc:tina-7@{issuer.url.removeprefix('http://')}"
    assert server.get(f"/v2/models/counter/train/{run['uuid']}", headers=token).json()[
        "started_by"
    ] == (who)
    wrong = issuer.bearer(aud="else")
    refused = server.delete(f"/v2/models/counter/train/{run['uuid']}", headers=wrong)
    assert refused.status_code == 401 and wrong["Authorization"][7:] not in refused.text
    made = next(one for one in audit(server, "changes.jsonl") if one.get("made") == run["uuid"])
    assert (made["principal"], made["label"], made["status"]) == (who, "Tina", 200)
    told = next(one for one in audit(server, "refused.jsonl") if one.get("id") == run["uuid"])
    assert told["principal"] is None and told["status"] == 401
    everything = "".join(file.read_text() for file in (server.home / "audit").glob("*.jsonl"))
    everything += "".join(server.lines)
    everything += b"".join(path.read_bytes() for path in server.home.glob("records.db*")).decode(
        "latin-1"
    )
    for header in (token, wrong):
        assert header["Authorization"][7:] not in everything
        assert header["Authorization"].rpartition(".")[2] not in everything


def test_a_rotated_key_ends_what_it_signed_and_its_successor_begins(server, issuer):
    old = issuer.bearer(jti="old")
    assert both_ways(server, line(old))[0] == 200

    def taken(key):
        time.sleep(0.5)
        return server.get("/v2/models/", headers=issuer.bearer(key)).status_code == 200

    issuer.shown = ["later"]
    try:
        wait_until(lambda: taken("later"))
        assert both_ways(server, line(old))[0] == 401
    finally:
        issuer.shown = ["later", "one"]
        wait_until(lambda: taken("one"))


def test_anybody_may_ask_where_to_get_a_token(server, issuer):
    told = server.get("/.well-known/oauth-protected-resource").json()
    assert told["authorization_servers"] == [issuer.url] and told["resource"] == server.url
    assert told["modelyard_client_id"] == CLIENT


def test_who_is_refused_is_told_where_to_learn_how_to_get_a_token(server, issuer):
    address = server.url + "/.well-known/oauth-protected-resource"
    where = f', resource_metadata="{address}"'
    realm = 'Bearer realm="modelyard"'
    for headers, status, expected in [
        ({}, 401, realm),
        ({"Authorization": "Bearer x"}, 401, f'{realm}, error="invalid_token"'),
        (issuer.bearer(exp=1), 401, f'{realm}, error="invalid_token"'),
        (issuer.bearer(groups=["trainers"]), 403, f'{realm}, error="insufficient_scope"'),
    ]:
        told = server.get("/v2/debug/", headers=headers)
        assert told.status_code == status
        assert told.headers["WWW-Authenticate"] == expected + where
    assert requests.get(address, timeout=60).json()["resource"] == server.url


def test_probes_for_a_model_take_tokens_that_were_never_seen(server, issuer):
    assert server.get("/readyz?model=kinds", headers=issuer.bearer(jti="fresh")).status_code == 200
    assert server.get("/readyz?model=kinds").status_code == 401


def test_the_document_tells_that_the_issuer_may_be_down(server, issuer):
    document = server.get("/openapi.json", headers=issuer.bearer()).json()
    responses = document["paths"]["/v2/models/"]["get"]["responses"]
    assert {"401", "503"} <= set(responses)


def test_by_grpc_too(server, issuer):
    client = Client(grpc_target(server))
    ready = client.method("ModelReady")
    request = pb.ModelReadyRequest(name="kinds")

    def ask(header):
        return ready(request, timeout=30, metadata=[("authorization", header["Authorization"])])

    assert ask(issuer.bearer()).ready
    only = issuer.bearer(groups=["readers", "of-counter"], scope="openid")
    assert ask(only).ready, "reading is for all models, predicting for one"
    for wrong, code in [
        (issuer.bearer(aud="else"), grpc.StatusCode.UNAUTHENTICATED),
        (issuer.bearer(exp=1), grpc.StatusCode.UNAUTHENTICATED),
        (issuer.bearer(groups=["of-counter"], scope="openid"), grpc.StatusCode.PERMISSION_DENIED),
    ]:
        with pytest.raises(grpc.RpcError) as told:
            ask(wrong)
        assert told.value.code() is code
    client.close()


def test_a_server_starts_while_its_issuer_is_down_and_says_later(start_server, issuer, tmp_path):
    other = Issuer()
    other.stop()
    file = tmp_path / "modelyard.toml"
    file.write_text(SETTINGS.format(issuer=other.url, audience=AUDIENCE, client=CLIENT))
    flags = ("--config-file", str(file), "--host", "0.0.0.0", "--model-name", "bare")
    server = start_server(*flags, "--no-warm-start")  # an issuer is access control off loopback
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    token = other.bearer()
    later = server.get("/v2/models/", headers=token)
    assert later.status_code == 503 and int(later.headers["Retry-After"]) > 0
    assert later.json()["type"] == "urn:modelyard:issuer-unavailable"
    assert server.get("/v2/models/").status_code == 401, "who sends none is told to"
    assert server.get("/healthz").status_code == server.get("/readyz").status_code == 200
    key = make_key(server.home, "beside", "read")
    wait_until(lambda: server.get("/v2/models/", headers=key).status_code == 200)
    other.start()
    wait_until(lambda: server.get("/v2/models/", headers=token).status_code == 200)
    other.stop()
    assert server.get("/v2/models/", headers=other.bearer(jti="new")).status_code == 200
    other.close()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--oidc-issuer", "https://id.example"], "oidc_audience"),
        (["--oidc-issuer", "http://id.example"], "https"),
        (["--oidc-permissions", "group:a=fly"], "fly"),
    ],
)
def test_settings_that_would_let_nobody_or_anybody_in_end_the_start(start_server, flags, told):
    server = start_server(*flags, wait=False)
    assert server.process.wait(60) == 2
    assert told in "".join(server.lines)


def test_without_the_extra_the_setting_is_refused_with_the_remedy(start_server, tmp_path):
    (tmp_path / "joserfc.py").write_text("raise ImportError('not here')")
    flags = ("--oidc-issuer", "https://id.example", "--oidc-audience", "x")
    server = start_server(
        *flags, "--oidc-permissions", "anybody=read", wait=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert server.process.wait(60) == 2
    assert "modelyard[oidc]" in "".join(server.lines)
