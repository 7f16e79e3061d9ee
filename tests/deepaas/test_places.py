"""Where an argument is looked for: query over form over JSON, or where its `location` says.

The values compared with are DEEPaaS 2.6.0's for the same requests.
"""

import pytest

NAMES = ("anywhere", "in_query", "in_querystring", "in_form", "in_json", "in_headers", "X-Tuning")


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-places")


@pytest.fixture(scope="module")
def found(server, predictions):
    def ask(**request):
        result = predictions(server.predict("old-places", **request))
        return {name: value for name, value in result.items() if value}

    return ask


def test_the_query_reaches_what_may_stand_there(found):
    assert found(params=dict.fromkeys(NAMES, "1")) == {
        "anywhere": 1,
        "in_query": 1,
        "in_querystring": 1,
    }


def test_form_fields_reach_what_may_stand_there(found):
    sent = dict.fromkeys((*NAMES, "in_metadata"), "2")
    expected = {"anywhere": 2, "in_form": 2, "in_metadata": 2}
    assert found(data=sent) == expected
    assert found(files={name: (None, value) for name, value in sent.items()}) == expected


def test_members_of_a_json_body_reach_what_may_stand_there(found):
    assert found(json=dict.fromkeys(NAMES, 3)) == {"anywhere": 3, "in_json": 3}


def test_headers_reach_only_what_says_so(found):
    sent = {"anywhere": "4", "in_headers": "4", "X-Tuning": "4"}
    assert found(headers=sent) == {"in_headers": 4, "X-Tuning": 4}


def test_query_wins_over_form_and_form_is_enough(found):
    assert found(params={"anywhere": "1"}, data={"anywhere": "2"}) == {"anywhere": 1}
    assert found(data={"anywhere": "2"}) == {"anywhere": 2}


def test_query_wins_over_json(found):
    assert found(params={"anywhere": "1"}, json={"anywhere": 3}) == {"anywhere": 1}


def test_repeated_keys_make_a_list_and_the_first_counts_elsewhere(found):
    sent = [("several", "1"), ("several", "2"), ("anywhere", "3"), ("anywhere", "4")]
    assert found(params=sent) == {"several": [1, 2], "anywhere": 3}
    assert found(data=sent) == {"several": [1, 2], "anywhere": 3}


def test_one_value_is_a_list_of_one(found):
    assert found(params={"several": "1"}) == {"several": [1]}
    assert found(json={"several": 3}) == {"several": [3]}


def test_a_list_can_be_written_as_json_text(found):
    assert found(params={"several": "[1, 2]"}) == {"several": [1, 2]}


def test_unknown_arguments_are_ignored(found):
    assert found(json={"nobody": 1}, params={"neither": "2"}) == {}


def test_malformed_json_is_refused(server):
    headers = {"Content-Type": "application/json"}
    answer = server.predict("old-places", data="{bad", headers=headers)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["message"]


def test_the_same_places_hold_for_train(server):
    missing = server.post("/v2/models/old-places/train/")
    assert missing.status_code == 422
    assert missing.json() == {"anywhere": ["Missing data for required field."]}
    both = {"params": {"anywhere": "1"}, "data": {"anywhere": "2"}}
    record = server.post("/v2/models/old-places/train/", **both).json()
    assert record["args"] == {"anywhere": 1, "accept": "none"}
    assert server.wait_run(record)["result"]["output"] == {"anywhere": 1, "accept": "none"}
