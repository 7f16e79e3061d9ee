"""The body of an argument error is JSON, whatever a validator put into it."""

import pickle

import orjson

from modelyard.errors import InvalidArguments


def test_places_in_a_list_and_odd_messages_become_texts():
    errors = InvalidArguments(
        {"x": {0: ["Not a number."]}, "y": (ValueError("z"), 3), "\ud800": []}
    )
    body = orjson.loads(orjson.dumps(errors.errors))
    assert body == {"x": {"0": ["Not a number."]}, "y": ["z", "3"], "?": []}


def test_it_crosses_a_process_boundary_as_it_is():
    error = pickle.loads(pickle.dumps(InvalidArguments({"x": {0: ["bad"]}}, "message")))
    assert (error.errors, error.message) == ({"x": {"0": ["bad"]}}, "message")
