"""Routes, bodies and status words that DEEPaaS clients rely on.

What is compared with was answered by DEEPaaS 2.6.0; ours may say more, never less.
"""

import re

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    models = ("old-trainer", "old-warm", "old-only-predict")
    return serve_old(*models, flags=("--max-trainings", "2"))


def test_the_versions_document_leads_to_the_api(server):
    versions = server.get("/").json()["versions"]
    (second,) = [version for version in versions if version["id"].startswith("v2")]
    assert second["links"][0]["href"].rstrip("/") == "/v2"
    assert server.get("/v2/").json()["id"].startswith("v2")


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models", "/v2/models/old-warm", "/v2/models/old-trainer/train"]
)
def test_a_document_is_there_with_and_without_the_last_slash(server, path):
    bare, slashed = server.get(path), server.get(path + "/")
    assert (bare.status_code, slashed.status_code) == (200, 200)
    assert bare.json().keys() == slashed.json().keys() if "train" not in path else True


def test_a_post_without_the_last_slash_keeps_its_body(server):
    answer = server.post("/v2/models/old-warm/predict", json={"seconds": 0.01})
    assert answer.status_code == 200
    assert answer.json()["predictions"]["warmed"]
    record = server.post("/v2/models/old-warm/train", json={"seconds": 0.01}).json()
    assert record["args"] == {"seconds": 0.01}


@pytest.mark.parametrize("path", ["/api", "/ui", "/swagger.json", "/openapi.json"])
def test_documentation_is_where_guides_say(server, path):
    assert server.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v2/models/nobody/"),
        ("post", "/v2/models/nobody/predict/"),
        ("post", "/v2/models/nobody/train/"),
        ("get", "/v2/models/old-warm/train/" + 32 * "0"),
        ("get", "/v2/models/old-warm/train/nope"),
        ("delete", "/v2/models/old-warm/train/" + 32 * "0"),
        ("get", "/v1/models/"),
        ("get", "/v2/models/old-warm/other/"),
    ],
)
def test_what_is_not_there_is_404_with_a_message(server, method, path):
    answer = getattr(server, method)(path)
    assert answer.status_code == 404
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", "/v2/models/old-warm/predict/", "POST"),
        ("delete", "/v2/models/old-warm/predict/", "POST"),
        ("post", "/v2/models/", "GET"),
        ("delete", "/v2/models/old-warm/train/", "POST"),
    ],
)
def test_a_wrong_method_is_405_and_says_what_is_allowed(server, method, path, allowed):
    answer = getattr(server, method)(path)
    assert answer.status_code == 405
    assert allowed in answer.headers["Allow"]
    assert answer.json()["message"]


def test_wrong_arguments_are_422_with_nothing_but_field_and_messages(server):
    answer = server.predict("old-warm", params={"seconds": "soon"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {"seconds": ["Not a valid number."]}


def test_a_missing_function_is_501(server):
    answer = server.post("/v2/models/old-only-predict/train/")
    assert answer.status_code == 501
    assert "old-only-predict" in answer.json()["message"]


# -- trainings ---------------------------------------------------------------------------------


def test_a_started_training_is_a_running_record(server):
    answer = server.post("/v2/models/old-warm/train/", params={"seconds": "0.1"})
    record = answer.json()
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", record["uuid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", record["date"])
    assert (record["status"], record["args"]) == ("running", {"seconds": 0.1})


def test_a_training_that_ended_well_is_done_with_output_date_and_duration(server):
    record = server.train("old-trainer", do="dict")
    ended = server.wait_run(record)
    assert (ended["status"], ended["uuid"], ended["date"]) == (
        "done",
        record["uuid"],
        record["date"],
    )
    assert ended["result"]["output"] == {"loss": 0.25}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", ended["result"]["finish_date"])
    assert re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", ended["result"]["duration"])


def test_a_training_that_failed_is_an_error_with_the_cause(server):
    ended = server.wait_run(server.train("old-trainer", do="fail"))
    assert ended["status"] == "error"
    assert "the moon is full" in ended["message"]


def test_the_list_of_trainings_is_a_bare_array_oldest_first(server):
    ids = [server.train("old-trainer")["uuid"] for _ in range(2)]
    listed = server.get("/v2/models/old-trainer/train/").json()
    assert isinstance(listed, list)
    assert [record["uuid"] for record in listed][-2:] == ids
    assert all({"uuid", "date", "args", "status"} <= record.keys() for record in listed)
    others = server.get("/v2/models/old-warm/train/").json()
    assert not {record["uuid"] for record in others} & set(ids)


def test_a_record_is_found_only_under_its_own_model(server):
    record = server.train("old-trainer")
    assert server.get(f"/v2/models/old-warm/train/{record['uuid']}").status_code == 404
    assert server.get(f"/v2/models/old-trainer/train/{record['uuid']}").status_code == 200
