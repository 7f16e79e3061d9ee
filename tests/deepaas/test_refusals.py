"""What a module raises reaches the caller: the status, the innermost cause, and the next call."""

import time

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    models = ("old-failing", "old-hostile", "old-decorated", "old-tagged")
    return serve_old(*models, flags=("--max-trainings", "2"))


@pytest.mark.parametrize(
    ("do", "status", "message"),
    [
        ("bad_request", 400, "the moon is full"),
        ("bad_request_of_error", 400, "the moon"),
        ("lines", 400, "the moon\nis full"),
        ("lines_of_error", 400, "the moon\nis full"),
        ("not_found", 404, "Not Found"),
        ("not_found_text", 404, "no such star"),
        ("unprocessable", 422, "cannot use it"),
        ("unavailable", 503, "the backend sleeps"),
        ("returned_exception", 400, "handed back"),
        ("bare_of_error", 500, "the moon is full"),
        ("bare_of_text", 500, "the moon is full"),
        ("fail", 500, "ValueError: the moon is full"),
        ("chained", 500, "KeyError: 'inner'"),
        ("attribute", 500, "'NoneType' object has no attribute 'shape'"),
        ("not_implemented", 501, "not yet"),
        ("validation", 422, "cannot be that"),
    ],
)
def test_a_refusal_is_answered_with_its_status_and_cause(server, do, status, message):
    answer = server.predict("old-failing", params={"do": do})
    assert answer.status_code == status
    said = answer.json() if do == "validation" else answer.json()["message"]
    assert message in (str(said) if do == "validation" else said)
    assert server.predict("old-failing").status_code == 200


@pytest.mark.parametrize("do", ["ok", "redirect"])
def test_an_exception_that_is_no_refusal_is_no_redirect_of_the_server(server, do):
    answer = server.predict("old-failing", params={"do": do}, allow_redirects=False)
    assert answer.status_code == 500
    assert server.predict("old-failing").status_code == 200


@pytest.mark.parametrize("do", ["bad_request", "bad_request_of_error", "bare_of_error", "lines"])
def test_a_refusal_in_train_is_an_error_with_its_cause(server, do):
    ended = server.wait_run(server.train("old-failing", do=do))
    assert ended["status"] == "error"
    assert "the moon" in ended["message"]


@pytest.mark.parametrize("text", ["true", "false"])
def test_a_decorator_round_every_function_hides_no_cause(server, text):
    answer = server.predict("old-decorated", params={"text": text})
    assert answer.status_code == 400
    assert answer.json()["message"] == "division by zero"
    again = server.predict("old-decorated", params={"text": text, "number": "2"})
    assert again.json()["predictions"] == {"inverse": 0.5}


def test_a_bare_exception_round_everything_hides_no_cause(server):
    answer = server.predict(
        "old-tagged", files={"input": ("a.png", b"a")}, data={"task_type": "cls"}
    )
    assert answer.status_code == 500
    assert "no weights for cls\nTrain first." in answer.json()["message"]


@pytest.mark.parametrize("do", ["exit", "sys_exit", "segfault"])
def test_a_worker_that_ends_is_500_and_the_next_call_is_answered(server, do):
    assert server.predict("old-hostile", params={"do": do}).status_code == 500
    assert server.predict("old-hostile").status_code == 200
    assert server.predict("old-failing").status_code == 200


def test_megabytes_of_output_delay_no_answer(server):
    started = time.monotonic()
    answer = server.predict("old-hostile", params={"do": "print"})
    assert answer.json()["predictions"] == "printed"
    assert time.monotonic() - started < 15


def test_a_changed_folder_umask_and_environment_trouble_no_other_call(server, predictions):
    """What a module sets in its own environment it keeps: some set what they read later."""
    before = predictions(server.predict("old-hostile"))["cwd"]
    assert predictions(server.predict("old-hostile", params={"do": "environment"})) == "/"
    assert predictions(server.predict("old-hostile"))["cwd"] == before
    sent = {"files": {"input": ("a.png", b"a")}}
    assert server.predict("old-tagged", **sent).status_code == 200
    assert predictions(server.predict("old-failing"))["cwd"] == before
