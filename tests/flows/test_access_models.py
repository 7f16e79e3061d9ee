"""Every route that there is: closed without a key, and to keys that are for other models."""

import io
import re
import zipfile

import pytest
import requests
from yard_callers import KINDS, both_ways, line
from yard_keys import put_key
from yard_waiting import wait_until

from modelyard.api.access.enforcing import NEEDS
from modelyard.api.app import create_app
from modelyard.schemas.permissions import Permission
from modelyard.settings import load_settings

PUBLIC = {
    ("GET", "/"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/api"),
    ("GET", "/api/"),
    ("GET", "/api/{file}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/sign-in"),
    ("GET", "/sign-in/callback"),
    ("GET", "/sign-in/start"),
    ("GET", "/ui"),
    ("GET", "/ui/"),
    ("GET", "/ui/{file}"),
    ("GET", "/v2/"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/shared/{token}"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
}
"""What needs no key. Who adds to it has to say here that it tells nobody anything."""
NOTHING = "0" * 32


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,counter", "--no-warm-start", "--debug-endpoint")
    everything = [str(one) for one in Permission]
    for model in ("kinds", "counter"):
        server.wait_ready(model)
    server.trained = server.wait_run(server.train("counter", steps=2))
    server.all = put_key(server.home, "all", *everything)
    server.kinds = put_key(server.home, "kinds", *everything, model="kinds")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def asked(server, method, path, key):
    answer = requests.request(
        method, server.url + path, headers=key, timeout=60, stream=True, allow_redirects=False
    )
    answer.close()
    return answer.status_code


def test_no_registered_address_is_open_unless_it_stands_in_the_list(tmp_path):
    app = create_app(load_settings({"home": str(tmp_path / "home")}, environ={}), [])
    needs = app[NEEDS]
    routes = list(app.router.routes())
    assert routes and set(routes) == set(needs), "an address that was not declared"
    free = {
        (route.method, route.resource.canonical)
        for route in routes
        if needs[route].permission is None and route.method != "HEAD"
    }
    also = {(method, path.rstrip("/") or "/") for method, path in PUBLIC}
    assert {(method, path.rstrip("/") or "/") for method, path in free} == also
    for route in routes:
        if route.method == "HEAD":
            same = next(
                one
                for one in routes
                if one.method == "GET" and one.resource.canonical == route.resource.canonical
            )
            assert needs[route] == needs[same], route


def test_every_operation_of_the_document_is_closed_without_a_key_and_to_another_models_key(server):
    """Of the models' own operations and of those with an id: nothing tells whether it is there."""
    paths = server.get("/openapi.json", headers=server.all).json()["paths"]
    of_models = 0
    for path, operations in paths.items():
        for method, operation in operations.items():
            if method not in ("get", "put", "post", "patch", "delete"):
                continue
            what = (method.upper(), path)
            real = path.replace("{model}", "counter").replace("{alias}", "champion")
            real = re.sub(r"{\w+}", NOTHING, real)
            if operation["security"] == []:
                assert what in PUBLIC or (what[0], path + "/") in PUBLIC, what
                continue
            assert asked(server, what[0], real, {}) == 401, what
            if real.startswith("/v2/models/counter"):
                of_models += 1
                assert asked(server, what[0], real, server.kinds) == 403, what
    assert of_models > 35
    assert any("/v2/models/counter/predict" in path for path in paths)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/%63ounter/",
        "/v2/models/counter",
        "/v2//models/counter/",
        "/v2/models/kinds/../counter/",
        "/v2/models/kinds/%2e%2e/counter/",
        "/v2/models/kinds%2f..%2fcounter/",
        "/v2/models/counter%00/",
        "/v2/models/COUNTER/",
        "/v2/models/ counter/",
        "/readyz?model=counter",
        "/readyz?model=kinds&model=counter",
    ],
)
def test_a_model_is_not_to_be_had_by_other_spellings_of_its_address(server, path):
    with requests.Session() as session:
        prepared = requests.Request("GET", server.url, headers=server.kinds).prepare()
        prepared.url = server.url + path
        answer = session.send(prepared, timeout=60, allow_redirects=False)
    assert answer.status_code in (308, 400, 403, 404, 422), answer.text
    assert "Counts" not in answer.text


def test_what_is_of_another_model_is_not_to_be_had_by_its_id(server):
    run, weights = server.trained["uuid"], server.trained["weights"]
    key = server.kinds
    mine = "/v2/models/kinds"
    for method, path in [
        ("GET", f"{mine}/train/{run}"),
        ("GET", f"{mine}/train/{run}/log"),
        ("GET", f"{mine}/train/{run}/metrics"),
        ("GET", f"{mine}/train/{run}/events"),
        ("GET", f"{mine}/train/{run}/checkpoints"),
        ("DELETE", f"{mine}/train/{run}"),
        ("DELETE", f"{mine}/train/{run}?purge=true"),
        ("POST", f"{mine}/train/{run}/pause"),
        ("POST", f"{mine}/train/{run}/resume"),
        ("POST", f"{mine}/train/{run}/checkpoints/last/promote"),
        ("GET", f"{mine}/weights/{weights}"),
        ("GET", f"{mine}/weights/{weights}/archive"),
        ("GET", f"{mine}/weights/{weights}/card"),
        ("GET", f"{mine}/weights/{weights}/lineage"),
        ("GET", f"{mine}/weights/{weights}/exports/"),
        ("POST", f"{mine}/weights/{weights}/exports/"),
        ("POST", f"{mine}/weights/{weights}/link"),
        ("POST", f"{mine}/weights/{weights}/retry"),
        ("POST", f"{mine}/weights/{weights}/fetch"),
        ("PATCH", f"{mine}/weights/{weights}"),
        ("DELETE", f"{mine}/weights/{weights}"),
    ]:
        answer = requests.request(
            method, server.url + path, headers=key, timeout=60, json={"format": "x", "note": "x"}
        )
        assert answer.status_code in (404, 409, 422), (method, path, answer.text)
        assert answer.status_code == 404 or weights not in answer.text, (method, path)
    moved = requests.put(
        f"{server.url}{mine}/weights/aliases/champion",
        headers=key, json={"version": weights}, timeout=60,
    )  # fmt: skip
    assert moved.status_code in (404, 422), moved.text
    for path in ("predict", "train"):
        for sent in ({"weights": weights}, {"like": weights}):
            answer = server.post(f"{mine}/{path}/", headers=key, params=sent, json={})
            assert answer.status_code in (409, 422, 501), (path, sent, answer.text)
    told = server.get(f"/v2/models/counter/train/{run}", headers=server.all).json()
    assert told["status"] == "done" and told["weights"] == weights


def test_lists_show_what_a_key_is_for_and_nothing_of_the_rest(server):
    hidden = (b"counter", server.trained["uuid"].encode(), server.trained["weights"].encode())
    for path in (
        "/v2/models/",
        "/v2/models/kinds/",
        "/v2/models/kinds/train/",
        "/v2/models/kinds/weights/",
        "/v2/models/kinds/weights/aliases/",
        "/v2/datasets/",
        "/openapi.json",
        "/swagger.json",
        "/",
        "/v2/",
        "/readyz",
        "/v2/health/ready",
    ):
        told = server.get(path, headers=server.kinds)
        assert told.status_code == 200, path
        assert not any(name in told.content for name in hidden), path
        assert told.content == server.get(path, headers=server.kinds).content


def test_the_documents_of_two_keys_are_not_taken_for_each_other(server):
    """One is kept: who asks next, also with the tag of another's, gets what is theirs."""
    tags = {}
    for key, shown in ((server.all, True), (server.kinds, False)) * 2:
        for path in ("/openapi.json", "/swagger.json"):
            others = [tag for whose, tag in tags.items() if whose != (shown, path)]
            told = server.get(path, headers={**key, "If-None-Match": ", ".join(others) or '"x"'})
            assert told.status_code == 200
            assert ("/v2/models/counter/" in told.text) is shown
            tags[shown, path] = told.headers["ETag"]
        every = {**key, "If-None-Match": ", ".join(tags.values())}
        assert server.get("/openapi.json", headers=every).status_code == 304


def test_a_key_for_one_model_calls_that_by_both_ways_and_no_other(server):
    assert both_ways(server, line(server.kinds), path=KINDS)[0] == 200
    assert both_ways(server, line(server.kinds), path="/v2/models/counter/predict/")[0] == 403
    assert both_ways(server, line(server.all), path="/v2/models/counter/predict/")[0] == 422


def test_of_a_dataset_everybody_learns_what_it_holds_and_not_which_hidden_model_read_it(
    start_server,
):
    server = start_server("--model-name", "reader,bare", "--no-warm-start")
    everything = [str(one) for one in Permission]
    key = put_key(server.home, "all", *everything)
    other = put_key(server.home, "bare", *everything, model="bare")
    wait_until(lambda: server.get("/v2/models/", headers=key).json()["models"])
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    sent = server.post(
        "/v2/datasets/?name=rows&model=reader", files={"file": ("raise", b"x")}, headers=key
    )
    assert sent.status_code == 201 and sent.json()["model"] == "reader", sent.text
    run = server.post(
        "/v2/models/reader/train/", files={"archive": ("mine.zip", zipped())}, headers=key
    ).json()
    wait_until(lambda: server.get("/v2/datasets/mine", headers=key).status_code == 200)
    assert server.get("/v2/datasets/mine", headers=key).json()["source"]["run"] == run["uuid"]
    upload = server.post(
        "/v2/datasets/uploads/",
        json={"filename": "a.csv", "size": 9, "model": "reader"},
        headers=key,
    ).json()["links"]["self"]
    for path in (
        *("/v2/datasets/", "/v2/datasets/rows", "/v2/datasets/mine"),
        *("/v2/datasets/rows/report", "/v2/datasets/mine/report", upload),
    ):
        told, seen = (server.get(path, headers=one) for one in (key, other))
        assert told.status_code == seen.status_code == 200, path
        assert '"reader"' in told.text, path
        assert '"reader"' not in seen.text and run["uuid"] not in seen.text, path
    assert "'s reader failed" in server.get("/v2/datasets/rows/report", headers=other).text


def test_who_manages_one_model_deletes_no_dataset_of_others(server):
    for name, key in (("theirs", server.all), ("mine", server.kinds)):
        sent = server.post(f"/v2/datasets/?name={name}", files={"file": ("a", b"x")}, headers=key)
        assert sent.status_code == 201, sent.text
    for path in ("/v2/datasets/theirs", "/v2/datasets/theirs?force=true"):
        refused = server.delete(path, headers=server.kinds)
        assert refused.status_code == 403 and "only for: kinds" in refused.text
    assert server.post("/v2/datasets/theirs/retry", headers=server.kinds).status_code == 403
    assert server.get("/v2/datasets/theirs", headers=server.kinds).status_code == 200
    assert server.delete("/v2/datasets/mine", headers=server.kinds).status_code == 204
    assert server.delete("/v2/datasets/theirs", headers=server.all).status_code == 204


def zipped():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("labels.csv", "a,b\n")
    return held.getvalue()
