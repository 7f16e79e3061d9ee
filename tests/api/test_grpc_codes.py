"""Every error has its place in gRPC's table, as in that of HTTP."""

import inspect

import pytest
from grpc import StatusCode

from modelyard import errors
from modelyard.api.errors import status_of
from modelyard.api.grpc.codes import CODE, code_of, cut, trailers_of

FAMILY = {
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.ModelyardError)
}


def test_no_error_of_the_family_is_forgotten():
    assert FAMILY - set(CODE) == set(), "think of which status clients should get"
    assert set(CODE) - FAMILY == set()


def made(cls):
    if issubclass(cls, errors.InvalidArguments):
        return cls({"x": ["is wrong"]})
    return cls(418) if cls is errors.PluginRefused else cls()


@pytest.mark.parametrize("cls", sorted(FAMILY, key=lambda cls: cls.__name__))
def test_whose_fault_it_is_and_whether_to_try_again_is_as_over_http(cls):
    error = made(cls)
    status, code = status_of(error), code_of(error)
    assert (code is StatusCode.UNAVAILABLE) == (status == 503)
    assert (code is StatusCode.DEADLINE_EXCEEDED) == (status == 504)
    assert (code is StatusCode.NOT_FOUND) == (status == 404)
    servers_fault = (StatusCode.INTERNAL, StatusCode.DATA_LOSS)
    assert (code in servers_fault) == (status == 500)
    assert ("retry-after" in dict(trailers_of(error))) == (status in (429, 503))


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (503, "UNAVAILABLE"), (418, "UNKNOWN")],
)
def test_a_models_own_refusal_keeps_its_meaning(status, code):
    assert code_of(errors.PluginRefused(status)).name == code


def test_a_long_message_is_cut_to_what_a_header_may_have():
    assert cut("wrong") == "wrong"
    long = cut("ä" * 5000)
    assert len(long.encode()) <= 2048 and long.endswith("ä …")
