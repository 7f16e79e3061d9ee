"""Arguments declared for webargs 5 and marshmallow 3: every keyword and every kind of field.

Defaults, types and messages are what DEEPaaS 2.6.0 gave for the same module and request, except
where `enum` is now checked.
"""

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-keywords", "old-ranges", "old-json-settings", "old-checked")


@pytest.fixture(scope="module")
def came(server, predictions):
    def ask(**request):
        return predictions(server.predict("old-keywords", **request))

    return ask


DEFAULTS = {
    "text": ["str", "x"],
    "both": ["str", "load"],
    "called": ["str", "by call"],
    "choice": ["str", "one"],
    "numbered": ["int", "1"],
    "inside": ["str", "b"],
    "secret": ["str", ""],
    "hidden": ["str", ""],
    "even": ["int", "2"],
    "listed": ["int", "4"],
    "short": ["str", "a"],
    "matching": ["str", "ab"],
    "none": ["NoneType", "None"],
    "allowed": ["int", "5"],
    "upper": ["str", "UP"],
    "flag": ["bool", "False"],
    "number": ["float", "0.5"],
    "precise": ["Decimal", "1.5"],
    "moment": ["NoneType", "None"],
    "formatted": ["NoneType", "None"],
    "day": ["date", "2026-01-02"],
    "span": ["timedelta", "0:00:03"],
    "identity": ["UUID", "00000000-0000-0000-0000-000000000001"],
    "address": ["str", "http://example.org/"],
    "mail": ["str", "a@example.org"],
    "delimited": ["list", "[1, 2]"],
    "barred": ["NoneType", "None"],
    "numbers": ["list", "[0.1]"],
    "mapping": ["dict", "{'a': 1}"],
    "typed": ["dict", "{}"],
    "box": ["NoneType", "None"],
    "boxes": ["list", "[]"],
    "nest": ["NoneType", "None"],
    "anything": ["NoneType", "None"],
    "raw": ["NoneType", "None"],
    "plain": ["str", "p"],
    "renamed": ["int", "7"],
    "with-dash": ["int", "8"],
    "class": ["str", "a Python keyword"],
    "required_none": ["NoneType", "None"],
    "messages": ["int", "1"],
}


def test_missing_is_the_default_and_default_alone_is_none(came):
    assert came() == DEFAULTS  # `dumped`, with `default=` alone, is not among them


def test_texts_of_the_query_arrive_with_their_types(came):
    sent = {
        "delimited": "3,4",
        "barred": "a|b",
        "numbers": "1.5",
        "formatted": "02.01.2026",
        "moment": "2026-01-02T03:04:05",
        "other-name": "3",
        "with-dash": "4",
        "anything": "a",
        "raw": "b",
        "renamed": "5",
    }
    assert came(params=sent) == {
        **DEFAULTS,
        "delimited": ["list", "[3, 4]"],
        "barred": ["list", "['a', 'b']"],
        "numbers": ["list", "[1.5]"],
        "formatted": ["datetime", "2026-01-02 00:00:00"],
        "moment": ["datetime", "2026-01-02 03:04:05"],
        "renamed": ["int", "3"],
        "with-dash": ["int", "4"],
        "anything": ["str", "a"],
        "raw": ["str", "b"],
    }


def test_members_of_a_json_body_arrive_with_their_types(came):
    sent = {
        "mapping": {"b": [1]},
        "typed": {"a": "1"},
        "box": {"left": "1"},
        "boxes": [{"left": 2, "label": "l"}],
        "nest": {"left": 3},
        "anything": {"a": [1]},
        "raw": [1],
        "allowed": None,
        "delimited": [5],
        "unknown": 1,
    }
    assert came(json=sent) == {
        **DEFAULTS,
        "mapping": ["dict", "{'b': [1]}"],
        "typed": ["dict", "{'a': 1}"],
        "box": ["dict", "{'left': 1, 'label': 'none'}"],
        "boxes": ["list", "[{'left': 2, 'label': 'l'}]"],
        "nest": ["dict", "{'left': 3}"],
        "anything": ["dict", "{'a': [1]}"],
        "raw": ["list", "[1]"],
        "allowed": ["NoneType", "None"],
        "delimited": ["list", "[5]"],
    }


def test_wrong_texts_are_refused_in_the_words_of_marshmallow_3(server):
    wrong = {
        "even": "3",
        "listed": "5",
        "short": "abcdefgh",
        "matching": "c",
        "upper": "low",
        "address": "x",
        "mail": "x",
        "precise": "x",
        "moment": "x",
        "span": "x",
        "identity": "x",
        "messages": "x",
        "other-name": "x",
        "flag": "x",
        "none": "x",
    }
    answer = server.predict("old-keywords", params=wrong)
    assert answer.status_code == 422
    assert answer.json() == {
        "even": ["Invalid value."],
        "listed": ["Invalid value."],
        "short": ["Too long."],
        "matching": ["String does not match expected pattern."],
        "none": ["Not a valid integer."],
        "upper": ["Not in capitals."],
        "flag": ["Not a valid boolean."],
        "precise": ["Not a valid number."],
        "moment": ["Not a valid datetime."],
        "span": ["Not a valid period of time."],
        "identity": ["Not a valid UUID."],
        "address": ["Not a valid URL."],
        "mail": ["Not a valid email address."],
        "other-name": ["Not a valid integer."],
        "messages": ["No number!"],
    }


def test_wrong_members_of_a_json_body_are_refused_where_they_are_nested(server):
    wrong = {
        "typed": {"a": "x"},
        "box": {},
        "boxes": [{"left": "x"}],
        "nest": {},
        "none": None,
        "text": 5,
    }
    answer = server.predict("old-keywords", json=wrong)
    assert answer.status_code == 422
    assert answer.json() == {
        "text": ["Not a valid string."],
        "typed": {"a": {"value": ["Not a valid integer."]}},
        "box": {"left": ["Missing data for required field."]},
        "boxes": {"0": {"left": ["Not a valid integer."]}},
        "nest": {"left": ["Missing data for required field."]},
    }


def test_loose_keywords_become_the_description_of_the_argument(server):
    described = {
        field["name"]: field
        for field in server.get("/v2/models/old-keywords/").json()["arguments"]["predict_arguments"]
    }
    assert described["text"]["description"] == "Any text"
    assert described["choice"]["choices"] == ["one", "two"]
    assert described["inside"]["choices"] == ["a", "b"]
    assert described["plain"]["choices"] == ["p", "q"]
    assert described["secret"]["secret"] and described["hidden"]["secret"]
    assert (described["listed"]["minimum"], described["listed"]["maximum"]) == (1, 10)
    assert described["other-name"]["default"] == 7


def test_arguments_of_a_type_of_the_modules_own_arrive_and_load_a_second_time(server, predictions):
    result = predictions(
        server.predict(
            "old-ranges",
            params=[("excluded", "<a,b)"), ("excluded", "<c,d)"), ("time_range", "<x,y)")],
        )
    )
    assert result["time_range"] == "<x,y)"
    assert result["excluded"] == ["<a,b)", "<c,d)"]
    assert result["types"]["time_range"] == "Range"
    refused = server.predict("old-ranges", json={"time_range": "nope"})
    assert (refused.status_code, refused.json()) == (422, {"time_range": ["no range: nope"]})


def test_twenty_six_settings_as_json_texts_arrive_in_train(server):
    refused = server.post("/v2/models/old-json-settings/train/", params={"mode": "normal"})
    assert refused.status_code == 422
    assert refused.json() == {"mode": ['Must be one of: "normal", "fast".']}
    record = server.post(
        "/v2/models/old-json-settings/train/", params={"use_remote": "true", "epochs": "[7]"}
    ).json()
    assert len(record["args"]) == 26
    assert record["args"]["mean_RGB"] == "null"
    assert record["args"]["train_mode"] == '{"h_flip": 0.5, "v_flip": 0.5}'
    ended = server.wait_run(record)
    assert ended["result"]["output"] == {"modelname": "2026-01-02_030405", "epochs": [7]}


def test_hooks_in_marshmallow_3_signatures_run(server, predictions):
    result = predictions(server.predict("old-checked", params={"name": " b ", "low": "2"}))
    assert result == {"name": "b", "low": 2, "high": 10, "span": 8}


@pytest.mark.parametrize(
    ("sent", "errors"),
    [
        ({"name": "a b"}, {"name": ["No spaces."]}),
        ({"high": "-1"}, {"high": ["Negative."]}),
        ({"low": "20"}, {"low": ["low is above high"]}),
        ({"name": ""}, {"name": ["Shorter than minimum length 1."]}),
    ],
)
def test_what_hooks_and_validators_refuse_is_422(server, sent, errors):
    answer = server.predict("old-checked", params=sent)
    assert (answer.status_code, answer.json()) == (422, errors)
