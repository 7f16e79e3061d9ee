"""Content negotiation (RFC 9110, section 12.5.1)."""

import pytest

from modelyard.models_plugin.accept import choose

JSON, PNG, ZIP = "application/json", "image/png", "application/zip"


@pytest.mark.parametrize(
    ("accept", "offered", "expected"),
    [
        ("*/*", [JSON, PNG], JSON),
        ("", [JSON], JSON),
        ("image/*", [JSON, PNG], PNG),
        ("image/png;q=0.5, application/json;q=0.4", [JSON, PNG], PNG),
        ("*/*;q=0.1, application/zip", [JSON, ZIP], ZIP),
        ("application/json;q=0, */*", [JSON, PNG], PNG),
        ("text/html", [JSON, PNG], None),
        ("IMAGE/PNG", [PNG], PNG),
        ("image/jpeg", ["image/*", JSON], "image/jpeg"),
        ("image/png;q=nonsense", [PNG], None),
    ],
)
def test_the_type_that_the_client_likes_best_is_chosen(accept, offered, expected):
    assert choose(accept, offered) == expected
