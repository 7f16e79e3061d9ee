"""`max_seconds` and `restart_on_failure` by HTTP: header, query, settings, attempts."""

import pytest


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        "--model-name", "counter,stepper", "--training-grace", "20", "--max-trainings", "2"
    )
    for model in ("counter", "stepper"):
        server.wait_ready(model)
    return server


def start(server, model, arguments, headers=None, **query):
    path = f"/v2/models/{model}/train/"
    return server.post(path, json=arguments, params=query, headers=headers)


def test_time_limit_by_query_ends_a_training_and_its_record_says_so(server):
    answer = start(server, "stepper", {"steps": 100_000}, max_seconds=1.5)
    assert answer.status_code == 200, answer.text
    assert answer.json()["max_seconds"] == 1.5
    ended = server.wait_run(answer.json())
    assert (ended["status"], ended["reason"]) == ("error", "time_limit")
    assert [one["reason"] for one in ended["attempts"]] == ["time_limit"]
    checkpoints = server.get(ended["links"]["checkpoints"]).json()
    assert checkpoints["last"] is not None, "the last checkpoint is kept"


def test_restarts_by_header_are_made_and_told(server):
    headers = {"X-Modelyard-Restart-On-Failure": "1"}
    record = start(server, "counter", {"end": "raise"}, headers=headers).json()
    assert record["restart_on_failure"] == 1
    ended = server.wait_run(record)
    assert (ended["status"], ended["attempt"]) == ("error", 2)
    first, second = ended["attempts"]
    assert (first["number"], second["number"]) == (1, 2)
    assert (first["reason"], second["reason"]) == ("plugin_failed", "plugin_failed")
    assert "the count went wrong" in first["message"] and "Restart 1 of 1" in first["message"]
    assert first["started_at"] < first["ended_at"] <= second["started_at"] < second["ended_at"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_seconds", "0"),
        ("max_seconds", "nan"),
        ("max_seconds", "inf"),
        ("max_seconds", "soon"),
        ("restart_on_failure", "-1"),
        ("restart_on_failure", "1.5"),
        ("restart_on_failure", "101"),
    ],
)
def test_wrong_limits_are_refused_by_their_name(server, name, value):
    before = len(server.get("/v2/models/counter/train/").json())
    answer = start(server, "counter", {}, **{name: value})
    assert answer.status_code == 422 and list(answer.json()) == [name]
    header = {f"X-Modelyard-{name.title().replace('_', '-')}": value}
    assert start(server, "counter", {}, headers=header).status_code == 422
    assert len(server.get("/v2/models/counter/train/").json()) == before


def test_a_limit_that_is_given_by_header_and_by_query_is_refused(server):
    headers = {"X-Modelyard-Max-Seconds": "5"}
    answer = start(server, "counter", {}, headers=headers, max_seconds="true")
    assert answer.status_code == 422
    told = "Given by the header X-Modelyard-Max-Seconds too: give it once."
    assert answer.json() == {"max_seconds": [told]}


def test_limit_among_the_arguments_is_told_where_it_goes(server):
    answer = start(server, "counter", {"max_seconds": 3})
    assert answer.status_code == 422
    assert "X-Modelyard-Max-Seconds" in answer.json()["max_seconds"][0]


def test_limits_are_documented(server):
    operation = server.get("/openapi.json").json()["paths"]["/v2/models/counter/train/"]["post"]
    names = {one["name"] for one in operation["parameters"]}
    assert names >= {"max_seconds", "restart_on_failure"}
    assert names >= {"X-Modelyard-Max-Seconds", "X-Modelyard-Restart-On-Failure"}


def test_settings_are_what_a_training_gets_that_says_nothing(start_server, tmp_path):
    settings = tmp_path / "modelyard.toml"
    settings.write_text(
        "training_max_seconds = 500\nrestart_on_failure = 4\n"
        "[models.counter]\nmax_seconds = 300\nrestart_on_failure = 0\n"
    )
    server = start_server("--model-name", "counter,stepper", "--config-file", str(settings))
    for model, limits in (("counter", (300.0, 0)), ("stepper", (500.0, 4))):
        server.wait_ready(model)
        record = start(server, model, {"steps": 1}).json()
        assert (record["max_seconds"], record["restart_on_failure"]) == limits
        asked = start(server, model, {"steps": 1}, max_seconds=20, restart_on_failure=2).json()
        assert (asked["max_seconds"], asked["restart_on_failure"]) == (20.0, 2)
        most = start(server, model, {"steps": 1}, max_seconds=9999).json()
        assert most["max_seconds"] == limits[0], "no more than the server gives"
