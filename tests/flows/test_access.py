"""Who is let in: keys as callers meet them, by HTTP's two ways."""

import json
import re
import time

import pytest
import requests
from talk import Talk, post
from yard_callers import KINDS, audit, both_ways, line
from yard_keys import id_of, keys, make_key
from yard_waiting import wait_until

from modelyard.api.routes import ROUTES
from modelyard.schemas.permissions import Permission

NEVER = "my_0123456789ab_" + "A" * 43


@pytest.fixture(scope="module")
def server(serve_module):
    """A server with keys: `all` may do everything, the others what their names say."""
    server = serve_module("--model-name", "kinds,counter", "--no-warm-start")
    assert server.get("/v2/models/").status_code == 200, "without keys loopback is open"
    everything = [str(one) for one in Permission]
    server.keys = {
        "all": make_key(server.home, "all", *everything),
        "kinds": make_key(server.home, "kinds", "read", "predict", model="kinds"),
        **{one: make_key(server.home, one, one) for one in everything},
    }
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    for model in ("kinds", "counter"):
        until_ready(server, model)
    return server


def until_ready(server, model):
    wait_until(
        lambda: (
            server.get(f"/v2/models/{model}/", headers=server.keys["all"]).json()["state"]
            == "ready"
        )
    )


def test_a_valid_key_is_let_in_and_who_has_none_is_told_how_to_sign_in(server):
    status, _, body = both_ways(server, line(server.keys["predict"]))
    assert status == 200 and json.loads(body)["predictions"]["text"][1] == "a"
    status, headers, body = both_ways(server)
    told = json.loads(body)
    assert status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="modelyard"'
    assert headers["Content-Type"].startswith("application/problem+json")
    assert told["type"] == "urn:modelyard:not-signed-in" and "Authorization" in told["detail"]


def valid_text(server):
    return server.keys["all"]["Authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda key: NEVER,
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key.swapcase(),
        lambda key: key.replace("my_", "", 1),
        lambda key: key.split("_", 2)[2],
        lambda key: f"my_{key.split('_')[1]}_{'A' * 43}",
        lambda key: key + "\u00e9",
        lambda key: f"{key} {key}",
        lambda key: f"{key},{key}",
        lambda key: f'"{key}"',
        lambda key: "null",
        lambda key: "x" * 5000,
    ],
)
def test_what_is_nearly_a_key_is_none(server, spoilt):
    key = spoilt(valid_text(server))
    with Talk(server) as talk:
        talk.send(
            f"POST {KINDS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        status, headers, body = talk.answer()
    assert status == 401, body
    assert headers["WWW-Authenticate"] == 'Bearer realm="modelyard", error="invalid_token"'
    assert valid_text(server).encode() not in body


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Authorization: bearer {key}"], 200),
        (["Authorization: BEARER   {key}"], 200),
        (["authorization: Bearer {key}"], 200),
        (["Authorization: Basic {key}"], 401),
        (["Authorization: {key}"], 401),
        (["Authorization: Bearer"], 401),
        (["Authorization:"], 401),
        (["Authorization: Bearer {key}", "Authorization: Bearer {key}"], 400),
        (["Authorization: Bearer {key}", "authorization: Bearer " + NEVER], 400),
        (["X-Authorization: Bearer {key}"], 401),
        (["Cookie: key={key}"], 401),
        (["Proxy-Authorization: Bearer {key}"], 401),
    ],
)
def test_a_key_counts_in_one_authorization_header_and_nowhere_else(server, headers, expected):
    given = [header.format(key=valid_text(server)) for header in headers]
    assert both_ways(server, *given)[0] == expected


@pytest.mark.parametrize("name", ["key", "token", "access_token", "api_key", "authorization"])
def test_a_key_in_the_query_opens_nothing(server, name):
    answer = server.get(f"/v2/models/?{name}={valid_text(server)}")
    assert answer.status_code == 401
    answer = server.post(f"{KINDS}?{name}={valid_text(server)}", json={})
    assert answer.status_code == 401


def test_a_huge_header_harms_nothing(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, b"{}", f"Authorization: Bearer {'x' * 60_000}"))
        assert talk.answer()[0] in (400, 401, 431)
    assert both_ways(server, line(server.keys["all"]))[0] == 200


def test_each_permission_opens_its_routes_and_no_other(server):
    """Of every route: refused without a key, with each wrong permission; not so with the right
    one (what the handler then says of a model or run that is not there is another matter)."""
    for doc in [route.doc for route in ROUTES if route.doc.operation_id != "shared"]:
        path = doc.path.replace("{model}", "kinds").replace("{alias}", "champion")
        path = re.sub(r"{\w+}", "0" * 32, path)
        for name in [None, *Permission]:
            key = server.keys[name] if name else {}
            answer = requests.request(
                doc.method, server.url + path, headers=key, timeout=60, stream=True
            )
            answer.close()
            what = (doc.method, doc.path, name)
            if name is None and doc.permission is not None:
                assert answer.status_code == 401, what
            elif doc.permission not in (None, name):
                assert answer.status_code == 403, what
            else:
                assert answer.status_code not in (401, 403), what


@pytest.mark.parametrize("path", ["/tensorboard/", "/tensorboard", "/metrics", "/no/such/address"])
def test_what_is_beside_the_api_asks_for_a_key_too(server, path):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        refused = requests.request(method, server.url + path, timeout=30, allow_redirects=False)
        assert refused.status_code == 401, method
    assert server.get(path, headers=server.keys["kinds"]).status_code in (403, 404)


def test_the_missing_permission_is_named(server):
    told = server.post("/v2/models/counter/train/", headers=server.keys["read"], json={})
    assert told.status_code == 403 and told.json()["permission"] == "train"
    assert 'error="insufficient_scope"' in told.headers["WWW-Authenticate"]


def test_to_purge_a_run_needs_more_than_to_cancel_it(server):
    path = f"/v2/models/counter/train/{'0' * 32}?purge=true"
    assert server.delete(path, headers=server.keys["train"]).json()["permission"] == "manage"
    assert server.delete(path, headers=server.keys["all"]).status_code == 404


def test_a_key_for_one_model_knows_of_no_other(server):
    key = server.keys["kinds"]
    assert both_ways(server, line(key))[0] == 200
    assert both_ways(server, line(key), path="/v2/models/counter/predict/")[0] == 403
    told = server.get("/v2/models/counter/", headers=key)
    assert (told.status_code, told.json()["model"]) == (403, "counter")
    assert server.get("/v2/models/no-such/", headers=key).status_code == 403, "nor what is not"
    assert [one["id"] for one in server.get("/v2/models/", headers=key).json()["models"]] == [
        "kinds"
    ]
    for document in ("/openapi.json", "/swagger.json"):
        paths = " ".join(server.get(document, headers=key).json()["paths"])
        assert "/v2/models/kinds/" in paths and "counter" not in paths
        assert "/v2/models/counter/" in server.get(document, headers=server.keys["all"]).text
    for path in ("/metrics", "/tensorboard/", "/readyz?model=all", "/readyz?model=counter"):
        assert server.get(path, headers=key).status_code == 403, path
    assert server.get("/readyz?model=kinds", headers=key).status_code == 200


def test_probes_need_no_key_and_tell_of_no_model(server):
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/", "/ui/"):
        assert server.get(path).status_code == 200, path
        assert server.get(path, headers={"Authorization": f"Bearer {NEVER}"}).status_code == 200
    assert server.get("/readyz?model=kinds").status_code == 401
    assert "server" not in server.get("/v2/").json(), "nor which release this is"
    assert "server" in server.get("/v2/", headers=server.keys["read"]).json()


def test_a_key_that_was_made_a_moment_ago_is_good_at_once(server):
    for number in range(10):
        key = make_key(server.home, f"new{number}")
        assert both_ways(server, line(key))[0] == 200


def test_a_revoked_key_ends_on_connections_that_are_open_too(server):
    key = make_key(server.home, "leaver", "predict")
    call = post(KINDS, b"{}", line(key))
    with Talk(server) as talk:
        talk.send(call)
        assert talk.answer()[0] == 200
        assert keys(server.home, "revoke", id_of(key)).returncode == 0

        def refused():
            talk.send(call)
            return talk.answer()[0] == 401

        wait_until(refused)
    assert both_ways(server, line(key))[0] == 401
    again = keys(server.home, "revoke", id_of(key))
    assert again.returncode == 1 and "no key" in again.stderr


def test_all_keys_of_a_name_are_revoked_together(server):
    two = [make_key(server.home, "rotated") for _ in range(2)]
    assert [both_ways(server, line(one))[0] for one in two] == [200, 200]
    assert keys(server.home, "revoke", "rotated").returncode == 0
    wait_until(lambda: all(both_ways(server, line(one))[0] == 401 for one in two))


def test_a_key_expires_by_itself_on_open_connections_too(server):
    until = time.time() + 6
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
    key = make_key(server.home, "brief", "predict", expires=moment)
    call = post(KINDS, b"{}", line(key))
    with Talk(server) as talk:
        talk.send(call)
        first = talk.answer()[0]
        assert first == 200 or time.time() > until - 1

        def refused():
            talk.send(call)
            return talk.answer()[0] == 401

        wait_until(refused)
        assert time.time() > until - 1


def test_runs_and_their_repeats_are_the_principals_own(server):
    trains = ["train", "read"]
    ann, ben = (make_key(server.home, name, *trains) for name in ("ann", "ben"))
    again = {"Idempotency-Key": "the same"}
    path = "/v2/models/counter/train/"
    made = [
        server.post(path, json={"steps": 1}, headers={**key, **again}).json()
        for key in (ann, ann, ben)
    ]
    assert made[0]["uuid"] == made[1]["uuid"] != made[2]["uuid"]
    assert [one["started_by"] for one in made] == ["key:ann", "key:ann", "key:ben"]


def test_changes_and_refusals_are_in_the_audit_log_and_no_secret(server):
    key = server.keys["all"]
    secret = "hunter2-in-a-query"
    run = server.post(f"/v2/models/counter/train/?note={secret}", json={"steps": 1}, headers=key)
    run = server.post("/v2/models/counter/train/", json={"steps": 1}, headers=key).json()
    server.delete(f"/v2/models/counter/train/{run['uuid']}", headers=key)
    server.delete(f"/v2/models/counter/train/{run['uuid']}?x={secret}", headers=server.keys["read"])
    server.delete(
        f"/v2/models/counter/train/{run['uuid']}", headers={"Authorization": "Bearer " + NEVER}
    )
    changes = audit(server, "changes.jsonl")
    started = next(one for one in changes if one.get("made") == run["uuid"])
    assert (started["principal"], started["status"], started["model"]) == (
        "key:all",
        200,
        "counter",
    )
    assert started["route"] == "/v2/models/{model}/train" and started["credential"] == id_of(key)
    ended = next(one for one in changes if one.get("id") == run["uuid"])
    assert (ended["method"], ended["status"]) == ("DELETE", 200)
    refused = [one for one in audit(server, "refused.jsonl") if one.get("id") == run["uuid"]]
    assert [(one["principal"], one["status"], one["why"]) for one in refused] == [
        ("key:read", 403, "missing-permission"),
        (None, 401, "not-signed-in"),
    ]
    made = [one for one in changes if one.get("action") == "keys create"]
    assert id_of(key) in {one for line in made for one in line["keys"]}
    everything = "".join(file.read_text() for file in (server.home / "audit").glob("*.jsonl"))
    everything += "".join(server.lines)
    for header in server.keys.values():
        assert header["Authorization"].split("_", 2)[2] not in everything
    assert NEVER not in everything and secret not in everything


def test_of_a_name_that_is_none_the_logs_get_no_more_than_of_a_name(server):
    """Else lines of 8 kB, by whoever may train, would push all older changes out in seconds."""
    files = [server.home / "audit" / name for name in ("changes.jsonl", "refused.jsonl")]
    header = make_key(server.home, "eve", "train", "manage")
    long = "x" * 8000
    told = [
        requests.request(method, server.url + path, headers=headers, timeout=60).status_code
        for method, path, headers in (
            ("DELETE", f"/v2/models/{long}/weights/aliases/y", header),
            ("DELETE", f"/v2/models/kinds/weights/aliases/{long}", header),
            ("POST", f"/v2/models/{long}/train", {}),
        )
    ]
    assert told == [404, 422, 401], told
    for file in files:
        last = file.read_text().splitlines()[-4:]
        assert r"\u2026" in "".join(last) and max(map(len, last)) < 1000
    wait_until(lambda: any(long[:100] in one for one in server.lines))
    assert max(map(len, server.lines)) < 4_000


def test_what_is_refused_further_in_is_in_the_audit_log_too(server):
    """Some addresses ask for more than their route does: what that is, their query says."""
    before = len(audit(server, "refused.jsonl"))
    for path, key in (
        ("/readyz?model=counter", server.keys["kinds"]),
        ("/readyz?model=all", server.keys["predict"]),
        ("/readyz?model=kinds", {}),
    ):
        assert server.get(path, headers=key).status_code in (401, 403)
    purge = f"/v2/models/counter/train/{'0' * 32}?purge=true"
    assert server.delete(purge, headers=server.keys["train"]).status_code == 403
    told = audit(server, "refused.jsonl")[before:]
    assert [(one["principal"], one["route"], one["status"]) for one in told] == [
        ("key:kinds", "/readyz", 403),
        ("key:predict", "/readyz", 403),
        (None, "/readyz", 401),
        ("key:train", "/v2/models/{model}/train/{id}", 403),
    ]
    assert "model=" not in json.dumps(told)


def test_the_records_do_not_hold_what_opens_the_server(server):
    stored = b"".join(path.read_bytes() for path in server.home.glob("records.db*"))
    for header in server.keys.values():
        assert header["Authorization"].split("_", 2)[2].encode() not in stored


def test_the_documents_tell_how_to_sign_in_and_what_each_operation_needs(server):
    document = server.get("/openapi.json", headers=server.keys["all"]).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    train = document["paths"]["/v2/models/counter/train/"]["post"]
    assert train["security"] == [{"key": ["train"]}] and "401" in train["responses"]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "401" not in document["paths"]["/healthz"]["get"]["responses"]
    swagger = server.get("/swagger.json", headers=server.keys["all"]).json()
    assert swagger["securityDefinitions"]["key"]["name"] == "Authorization"
    assert swagger["paths"]["/v2/models/counter/train/"]["post"]["security"] == [{"key": []}]


def test_wrong_keys_again_and_again_are_told_to_wait_and_valid_ones_are_not(server):
    wrong = {"Authorization": f"Bearer {NEVER}"}
    with requests.Session() as session:
        answers = [
            session.get(server.url + "/v2/models/", headers=wrong, timeout=30) for _ in range(60)
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert "Retry-After" in answers[-1].headers
    assert both_ways(server, line(server.keys["all"]))[0] == 200


def test_without_keys_the_documents_say_nothing_of_them_and_the_last_use_is_recorded(start_server):
    server = start_server("--model-name", "bare", "--no-warm-start")
    document = server.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"] and "401" not in json.dumps(document)
    key = make_key(server.home, "once")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    assert server.get("/v2/models/", headers=key).status_code == 200
    assert server.stop() == 0
    (told,) = json.loads(keys(server.home, "list", "--json").stdout)
    assert told["used_at"] is not None and told["state"] == "valid"


def test_revoking_the_last_key_opens_nothing_and_forgetting_it_does(start_server):
    server = start_server("--model-name", "bare", "--no-warm-start")
    key = make_key(server.home, "once")
    assert keys(server.home, "revoke", "once").returncode == 0
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    wait_until(lambda: server.get("/v2/models/", headers=key).status_code == 401)
    assert "asks for none" in keys(server.home, "forget").stderr
    wait_until(lambda: server.get("/v2/models/").status_code == 200)


def test_off_loopback_a_key_in_the_home_is_enough_and_wins_over_open_access(start_server, tmp_path):
    home = tmp_path / "home"
    refused = start_server("--host", "0.0.0.0", "--model-name", "bare", wait=False)
    assert refused.process.wait(60) == 2
    assert "modelyard keys create" in "".join(refused.lines)
    key = make_key(home, "once")
    for access in ("keys", "open"):
        server = start_server("--host", "0.0.0.0", "--access", access, "--model-name", "bare")
        assert server.get("/v2/models/").status_code == 401
        assert server.get("/v2/models/", headers=key).status_code == 200
        assert server.stop() == 0
    assert keys(home, "revoke", "once").returncode == 0
    assert keys(home, "forget").returncode == 0
    assert "anybody" not in "".join(server.lines)
