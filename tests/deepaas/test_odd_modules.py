"""Modules that go wrong in ways that nobody thinks of: the call is told, all else goes on."""

import time

import pytest

MODEL = "old-odd"
BIG = 99999999999999999999  # more than 64 bits


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(MODEL)


def predict(server, **arguments):
    return server.predict(MODEL, json=arguments)


def test_a_generator_is_told_whole_whatever_else_is_in_the_answer(server):
    predictions = predict(server, do="generator").json()["predictions"]
    assert predictions == [{"label": name, "big": 10**30} for name in ("cat", "dog")]


def test_a_generator_that_fails_is_a_failure(server):
    answer = predict(server, do="failing_generator")
    assert answer.status_code == 500
    assert "the second row is broken" in answer.json()["message"]


@pytest.mark.parametrize("do", ["socket", "module", "async"])
def test_a_result_without_a_json_form_is_named_by_its_type(server, do):
    answer = predict(server, do=do)
    assert answer.status_code == 500
    kind = {"async": "coroutine"}.get(do, do)
    assert f"no JSON form: a value of type {kind}" in answer.json()["message"]
    assert predict(server).status_code == 200


def test_an_exception_that_has_no_text_is_named(server):
    answer = predict(server, do="unspeakable")
    assert answer.status_code == 500
    assert "Unspeakable" in answer.json()["message"]
    assert "exited" not in answer.json()["message"]


def test_a_text_that_is_no_utf8_is_told_all_the_same(server):
    answer = predict(server, do="surrogate")
    assert answer.status_code == 500
    assert "not found" in answer.json()["message"]


def test_a_choice_that_is_no_utf8_does_not_break_the_documents_of_the_others(server):
    for address in ("/openapi.json", "/swagger.json", "/v2/models/", f"/v2/models/{MODEL}/"):
        answer = server.get(address)
        assert answer.status_code == 200, address
        assert "plain" in answer.text or address == "/v2/models/"


@pytest.mark.parametrize("how", ["json", "params", "data"])
def test_an_integer_of_more_than_64_bits_arrives_exactly(server, how):
    assert server.predict(MODEL, **{how: {"x": BIG}}).json()["predictions"] == {"x": BIG}


def test_an_integer_of_more_than_64_bits_breaks_no_list_of_trainings(server):
    record = server.train(MODEL, x=BIG)
    ended = server.wait_run(record)
    assert (ended["status"], ended["result"]["output"]) == ("done", {"x": BIG})
    assert ended["args"]["x"] == BIG
    assert record["uuid"] in [
        run["uuid"] for run in server.get(f"/v2/models/{MODEL}/train/").json()
    ]
    limited = server.get(f"/v2/models/{MODEL}/train/", params={"limit": 100})
    assert record["uuid"] in [run["uuid"] for run in limited.json()]
    assert server.delete(f"/v2/models/{MODEL}/train/{record['uuid']}").status_code == 200


def test_defaults_that_their_own_field_refuses_or_that_are_no_json_do_not_keep_it_from_training(
    server,
):
    record = server.train(MODEL)
    assert record["args"]["thing"] == "<object>"
    assert server.wait_run(record)["status"] == "done"


@pytest.mark.parametrize(
    ("do", "told"),
    [("group", "BaseExceptionGroup"), ("unspeakable", "Unspeakable"), ("surrogate", "not found")],
)
def test_whatever_a_training_raises_is_told_as_its_failure(server, do, told):
    ended = server.wait_run(server.train(MODEL, do=do))
    assert (ended["status"], ended["reason"]) == ("error", "plugin_failed")
    assert told in ended["message"]


def test_a_training_whose_result_has_no_json_form_is_done_without_it(server):
    ended = server.wait_run(server.train(MODEL, do="socket"))
    assert (ended["status"], ended["result"]["output"]) == ("done", None)
    assert "socket" in ended["message"]


def test_unknown_names_cost_next_to_nothing(server):
    """They are ignored, as under DEEPaaS: nothing compares them with the known ones."""
    began = time.monotonic()
    many = {f"case{number}": 1 for number in range(200_000)}
    assert server.predict(MODEL, json=many).status_code == 200
    assert server.predict(MODEL, data={"x" * 2_000_000: "1"}).status_code == 200
    assert time.monotonic() - began < 20  # it was minutes


@pytest.mark.parametrize(("body", "word"), [("null", "null"), ("3", "a number"), ('"a"', "a text")])
def test_a_body_that_is_no_object_is_told_in_json_s_words(server, body, word):
    answer = server.predict(MODEL, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert word in answer.json()["message"]
