"""Rarer fields, validators and hooks, and arguments with names that the server uses itself.

Values and messages are DEEPaaS 2.6.0's, `enum` of a list aside, which it does not check.
"""

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-odd-fields")


def test_values_of_every_kind_arrive(server, predictions):
    sent = {
        "pair": [2, "b"],
        "time": "03:04:05",
        "size": "3cm",
        "point": {"x": 1},
        "later": {"x": 2},
        "named": {"x": 3},
        "instance": [{"x": 4}],
        "part": {"x": 5},
        "bounds": {"low": 0},
        "made": {},
        "core": [{"a": 1}],
        "truthy": "on",
        "by_attribute": "y",
        "no_default": "n",
        "tags": ["b"],
    }
    arrived = predictions(server.predict("old-odd-fields", json=sent))
    expected = {
        "pair": "(2, 'b')",
        "time": "datetime.time(3, 4, 5)",
        "size": "3",
        "point": "{'x': 1, 'y': 0, 'made': True}",
        "later": "{'x': 2, 'y': 0, 'made': True}",
        "named": "{'x': 3, 'y': 0, 'made': True}",
        "instance": "[{'x': 4, 'y': 0, 'made': True}]",
        "part": "{'x': 5, 'made': True}",
        "bounds": "{'low': 0, 'high': 1}",
        "made": "{'a': 1}",
        "core": "[{'a': 1}]",
        "truthy": "True",
        "renamed": "'y'",
        "no_default": "'n'",
        "tags": "['b']",
    }
    assert {name: arrived[name] for name in expected} == expected
    assert "only_out" not in arrived


def test_wrong_texts_are_refused_in_the_fields_words(server):
    wrong = {
        "length": "ab",
        "none_of": "x",
        "labelled": "c",
        "only": "c",
        "tags": "c",
        "odd": "2",
        "range": "1",
        "strict": "1.5",
        "truthy": "maybe",
        "time": "x",
        "size": "3px",
    }
    answer = server.predict("old-odd-fields", params=wrong)
    assert answer.status_code == 422
    assert answer.json() == {
        "length": ["Length must be 3."],
        "none_of": ["Invalid input."],
        "labelled": ["Must be one of: a, b."],
        "only": ["One or more of the choices you made was not in: a, b."],
        "tags": ["Must be one of: a, b."],
        "odd": ["Even."],
        "range": ["Must be greater than or equal to 0 and less than 1."],
        "strict": ["Not a valid integer."],
        "truthy": ["Not a valid boolean."],
        "time": ["Not a valid time."],
        "size": ["No length."],
    }


def test_wrong_members_are_refused_where_they_are_nested(server):
    wrong = {
        "point": {},
        "bounds": {"low": 5},
        "part": {"x": 1, "y": 2},
        "instance": {"x": 1},
        "pair": [1],
    }
    answer = server.predict("old-odd-fields", json=wrong)
    assert answer.status_code == 422
    assert answer.json() == {
        "pair": ["Length must be 2."],
        "point": {"x": ["Missing data for required field."]},
        "instance": ["Invalid type."],
        "part": {"y": ["Unknown field."]},
        "bounds": {"_schema": ["upside down"]},
    }


@pytest.mark.parametrize("place", ["params", "data", "json"])
def test_names_that_the_server_uses_are_the_modules_in_predict(server, predictions, place):
    sent = {"weights": "mine", "device": "cuda", "dataset": "d", "limit": "1"}
    arrived = predictions(server.predict("old-odd-fields", **{place: sent}))
    assert [arrived[name] for name in sent] == ["'mine'", "'cuda'", "'d'", "1"]


@pytest.mark.parametrize("place", ["params", "json"])
def test_names_that_the_server_uses_are_the_modules_in_train(server, place):
    sent = {"weights": "mine", "device": "cuda", "dataset": "d", "max_seconds": "7", "name": "n"}
    record = server.post("/v2/models/old-odd-fields/train/", **{place: sent}).json()
    assert record["args"] == {**sent, "max_seconds": 7}
    assert server.wait_run(record)["result"]["output"] == {**sent, "max_seconds": 7}
