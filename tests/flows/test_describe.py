"""Version documents, models and their errors, health: what a newcomer asks first."""

import pytest


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(
        "--load-timeout", "8",
        env={"MODELYARD_TEST": "1"},
    )  # fmt: skip


def test_versions_are_told_at_the_root_and_under_v2(server):
    root = server.get("/").json()
    assert root["versions"][0]["id"] == "v2"
    assert root["versions"][0]["links"][0]["href"] == "/v2/"
    for path in ("/v2", "/v2/"):
        assert server.get(path).json()["id"] == "v2"


def test_a_browser_at_the_root_is_sent_to_swagger_ui(server):
    answer = server.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 200
    assert answer.url.endswith("/ui/")
    assert "swagger" in answer.text.lower()


def test_every_installed_model_is_listed_with_its_name_and_metadata(server):
    server.wait_ready("kinds")
    models = {model["id"]: model for model in server.get("/v2/models/").json()["models"]}
    assert {"kinds", "files", "hostile", "counter", "bare"} <= set(models)
    assert models["kinds"]["summary"] == "Every kind of argument"
    assert models["kinds"]["name"] == "kinds"
    assert models["kinds"]["state"] == "ready"


def test_a_models_address_works_with_and_without_the_last_slash(server):
    for path in ("/v2/models/kinds", "/v2/models/kinds/", "/v2/models", "/v2/models/"):
        assert server.get(path, allow_redirects=False).status_code == 200


def test_alive_and_ready_are_told_apart(server):
    server.wait_ready("kinds")
    assert server.get("/healthz").json()["status"] == "alive"
    assert server.get("/readyz").status_code == 200
    assert server.get("/readyz?model=kinds").status_code == 200
    assert server.get("/readyz?model=all").status_code == 503
    assert server.get("/readyz?model=nobody").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models/nobody/", 404),
        ("POST", "/v2/models/nobody/predict/", 404),
        ("DELETE", "/v2/models/kinds/", 405),
        ("GET", "/v2/models/kinds/predict/", 405),
        ("GET", "/v2/models/kinds/train/" + "0" * 32, 404),
        ("GET", "/v2/models/kinds/train/..%2f..%2fetc", 404),
        ("GET", "/v2/models/kinds/weights/" + "0" * 32, 404),
    ],
)
def test_what_is_not_there_is_problem_json_with_a_message(server, method, path, status):
    import requests

    answer = requests.request(method, server.url + path, timeout=10)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["message"] == answer.json()["detail"]


def test_a_named_model_that_does_not_load_ends_the_server_with_the_reason(start_server):
    server = start_server("--model-name", "no-methods,bare", wait=False)
    assert server.process.wait(30) == 3
    assert "neither a predict() nor a train()" in "".join(server.lines)


def test_a_named_model_that_nobody_installed_ends_the_server_with_what_there_is(start_server):
    server = start_server("--model-name", "nobody", wait=False)
    assert server.process.wait(30) == 3
    assert "nobody" in "".join(server.lines) and "counter" in "".join(server.lines)


def test_off_loopback_it_starts_only_when_open_access_was_said(start_server):
    refused = start_server("--host", "0.0.0.0", "--model-name", "bare", wait=False)
    assert refused.process.wait(30) == 2
    assert "--access open" in "".join(refused.lines)
    opened = start_server("--host", "0.0.0.0", "--access", "open", "--model-name", "bare")
    assert opened.get("/healthz").status_code == 200


def test_a_second_server_on_one_home_says_who_holds_it(start_server):
    first = start_server("--model-name", "bare")
    second = start_server("--model-name", "bare", wait=False)
    assert second.process.wait(30) == 4
    assert str(first.process.pid) in "".join(second.lines)


def test_a_base_path_stands_before_every_address(start_server):
    server = start_server("--model-name", "bare", "--base-path", "/yard")
    assert server.url.endswith("/yard")
    assert server.get("/v2/models/bare/").json()["links"][0]["href"] == "/yard/v2/models/bare/"
    assert server.get("/ui/").status_code == 200
    server.wait_ready("bare")
    assert server.predict("bare").status_code == 200


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("broken-import", ["a_package_that_nobody_has"]),
        ("no-methods", ["neither a predict() nor a train()", "Write predict"]),
        ("not-a-field", ["predict_arguments", "epochs"]),
        ("bad-default", ["predict_arguments", "epochs", "default"]),
        ("not-a-schema", ["predict_arguments", "list"]),
        ("missing-parameter", ["epochs", "predict()", "**arguments"]),
        ("hangs-at-import", ["8"]),  # last, as this test is: it is given up after the load timeout
    ],
)
def test_a_plugin_that_cannot_serve_is_listed_with_the_reason_and_answers_503(server, model, words):
    told = server.wait_ready(model, timeout=40)
    assert told["state"] == "failed"
    for word in words:
        assert word in told["error"]
    answer = server.predict(model, json={})
    assert answer.status_code == 503
    assert words[0] in answer.json()["message"]
    assert server.predict("bare").json() == {"status": "OK", "predictions": "here"}
