"""Results of predict as JSON, with and without a response schema."""

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-answers", "old-schema-dict", "old-schema-class")


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("dict", {"label": "cat", "scores": [0.75, 0.25], "none": None, "1": "a number as key"}),
        ("list", [1, "two", 3.0]),
        ("text", "some text"),
        ("none", None),
        ("number", 0.5),
        ("tuple", ["a", 1]),
    ],
)
def test_without_a_schema_the_result_stands_in_an_envelope(server, do, expected):
    answer = server.predict("old-answers", params={"do": do})
    assert (answer.status_code, answer.json()) == (200, {"status": "OK", "predictions": expected})
    assert answer.headers["Content-Type"].startswith("application/json")


def test_dates_sets_and_bytes_have_a_json_form(server, predictions):
    result = predictions(server.predict("old-answers", params={"do": "dates"}))
    assert result["moment"] == "2026-01-02T03:04:05"
    assert result["day"] == "2026-01-02"
    assert result["set"] == [1]


def test_with_a_schema_the_result_is_the_whole_answer_as_it_was(server):
    answer = server.predict("old-schema-dict")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "OK",
        "date": "2026-01-02",
        "labels": [{"label": "a", "probability": 1}],
    }
    hooked = server.predict("old-schema-class")
    assert hooked.json() == {"STATUS": "OK", "predictions": [{"label": "a"}]}


@pytest.mark.parametrize(
    ("model", "do", "named"),
    [
        ("old-schema-dict", "refused", "probability"),
        ("old-schema-dict", "incomplete", "status"),
        ("old-schema-dict", "unknown", "more"),
        ("old-schema-dict", "text", "Invalid input type"),
        ("old-schema-class", "status", "neither OK nor ok"),
        ("old-schema-class", "empty", "nothing predicted"),
    ],
)
def test_a_result_that_the_schema_refuses_is_500_and_says_where(server, model, do, named):
    answer = server.predict(model, params={"do": do})
    assert answer.status_code == 500
    assert "schema" in answer.json()["message"]
    assert named in answer.json()["message"]
    assert server.predict(model).status_code == 200


def test_the_schema_is_no_matter_for_answers_that_are_no_json(server):
    answer = server.predict("old-schema-dict", params={"do": "text", "accept": "text/plain"})
    assert (answer.status_code, answer.text) == (200, "no dict at all")


def test_the_response_schema_is_described(server):
    document = server.get("/swagger.json").json()
    post = document["paths"]["/v2/models/old-schema-dict/predict/"]["post"]
    schema = post["responses"]["200"]["schema"]
    while "$ref" in schema:
        schema = document["definitions"][schema["$ref"].rpartition("/")[2]]
    assert set(schema["properties"]) == {"date", "labels", "status"}
