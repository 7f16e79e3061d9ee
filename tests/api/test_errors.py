"""Errors become answers in one place."""

import json
import re
from pathlib import Path

import pytest

from modelyard import errors
from modelyard.api.errors import STATUS, error_response, status_of
from modelyard.api.routes import EVERYWHERE
from modelyard.schemas.routes import PROBLEMS


def family(cls=errors.ModelyardError):
    yield cls
    for child in cls.__subclasses__():
        yield from family(child)


def made(cls):
    if cls is errors.InvalidArguments:
        return cls({"a": ["no"]})
    if cls is errors.PluginRefused:
        return cls(418)
    return cls()


@pytest.mark.parametrize("cls", list(family()), ids=lambda cls: cls.__name__)
def test_every_error_has_a_status_and_a_sentence(cls):
    error = made(cls)
    assert 400 <= status_of(error) <= 599
    assert error.message.strip()
    response = error_response(error)
    body = json.loads(response.body)
    if response.status == 422:
        assert body == {"a": ["no"]} and response.content_type == "application/json"
    else:
        assert response.content_type == "application/problem+json"
        assert body["status"] == response.status == status_of(error)
        assert body["message"] == body["detail"] == error.message


def test_a_busy_server_says_when_to_try_again():
    assert error_response(errors.Busy(retry_after_s=7)).headers["Retry-After"] == "7"


def test_what_the_store_lost_is_not_to_be_asked_for_again():
    answer = error_response(errors.Corrupt())
    assert answer.status == 500 and "Retry-After" not in answer.headers
    assert "Retry-After" in error_response(errors.StoreUnavailable()).headers


def test_a_traceback_of_a_model_never_leaves_the_server():
    error = errors.PluginFailed("it failed", original_type="ValueError", traceback="secret path")
    body = error_response(error).body
    assert b"ValueError" in body and b"secret path" not in body


def test_the_page_has_every_status_that_there_is():
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    table = page.partition("## Errors")[2].partition("Except for 422")[0]
    told = {
        int(status)
        for line in table.splitlines()
        if re.match(r"\| \d", line)
        for status in line.split("|")[1].split(",")
    }
    documented = {422, *PROBLEMS}
    assert told - {405} == documented, "405 is of addresses, not of an operation"
    assert set(STATUS.values()) <= told and set(EVERYWHERE) <= told
