"""Requests that come while a model is still being imported."""


def test_an_argument_named_as_a_parameter_of_the_server_is_the_models_from_the_first_request_on(
    start_server,
):
    server = start_server("--model-name", "slow-import", "--no-warm-start")
    (listed,) = server.get("/v2/models/").json()["models"]
    assert listed["state"] != "importing" or "gives no description" not in listed["description"]
    record = server.post("/v2/models/slow-import/train/?dataset=tiny")
    assert record.status_code == 200, record.text
    assert record.json()["args"] == {"dataset": "tiny"}


def test_so_is_it_for_a_prediction(start_server):
    server = start_server("--model-name", "slow-import", "--no-warm-start")
    answer = server.post("/v2/models/slow-import/predict/?weights=mine")
    assert (answer.status_code, answer.json()) == (200, {"status": "OK", "predictions": "mine"})
