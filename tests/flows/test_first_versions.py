"""A model's first version while it is being loaded."""


def test_a_first_version_that_hangs_holds_no_prediction_beyond_its_deadline(start_server):
    server = start_server("--model-name", "moody", "--load-timeout", "40")
    server.wait_ready("moody")
    run = server.train("moody", mood="hang", number=1)
    server.wait_run(run, "publishing")
    body, deadline = {"x": [0.0]}, {"X-Request-Timeout": "1"}
    while (answer := server.predict("moody", json=body, headers=deadline)).status_code == 409:
        assert "weights_error" not in server.get("/v2/models/moody/").json()
    assert answer.status_code == 503 and "being loaded" in answer.text
    assert answer.headers["Retry-After"]
    assert "weights_error" not in server.get("/v2/models/moody/").json()  # nor was it waited for
