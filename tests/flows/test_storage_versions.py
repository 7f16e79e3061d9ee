"""Weights versions over HTTP: labels, names, what predictions use, what may be deleted."""

import re
import time
from urllib.parse import quote

import pytest

from modelyard.api.routes import ROUTES

WEIGHTS = "/v2/models/counter/weights/"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter")
    server.wait_ready("counter")
    return server


@pytest.fixture(scope="module")
def versions(server):
    """Three versions that count to 1, 2 and 3, oldest first."""
    runs = [server.wait_run(server.train("counter", steps=steps)) for steps in (1, 2, 3)]
    return [run["weights"] for run in runs]


def put(server, alias, version):
    import requests

    return requests.put(
        f"{server.url}{WEIGHTS}aliases/{alias}", json={"version": version}, timeout=30
    )


def patch(server, version, **body):
    import requests

    return requests.patch(f"{server.url}{WEIGHTS}{version}", json=body, timeout=30)


def served(server, within_s=10, until=None):
    """The version that answers by default, as soon as it is `until`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = server.predict("counter")
        found = answer.headers.get("X-Modelyard-Weights")
        if until is None or found == until or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_versions_come_a_page_at_a_time_newest_first(server, versions):
    first = server.get(WEIGHTS, params={"limit": 2})
    assert [item["id"] for item in first.json()["weights"]] == versions[:0:-1]
    for item in first.json()["weights"]:
        one = server.get(WEIGHTS + item["id"]).json()
        assert one.pop("files") and one == item, "a list says what the schema would"
    link = first.headers["Link"]
    assert 'rel="next"' in link
    second = server.get(link[1 : link.index(">")])
    assert [item["id"] for item in second.json()["weights"]] == versions[:1]
    assert "Link" not in second.headers
    assert server.get(WEIGHTS, params={"limit": 1001}).status_code == 422
    assert server.get(WEIGHTS, params={"cursor": "no"}).status_code == 422


def test_a_version_tells_what_it_is(server, versions):
    data = server.get(WEIGHTS + "latest").json()
    assert (data["id"], data["state"], data["origin"]) == (versions[2], "ready", "training")
    assert data["local"] is True and data["transfer"] is None
    assert data["aliases"] == ["latest"]


def test_tags_and_notes_are_set_and_removed_each_by_itself(server, versions):
    assert patch(server, versions[0], tags=["good", "paper"]).json()["tags"] == ["good", "paper"]
    data = patch(server, versions[0], notes="The one of the paper.").json()
    assert (data["tags"], data["notes"]) == (["good", "paper"], "The one of the paper.")
    found = server.get(WEIGHTS, params={"tag": "paper"}).json()["weights"]
    assert [item["id"] for item in found] == [versions[0]]
    assert patch(server, versions[0], tags=[], notes=None).json()["notes"] is None
    assert server.get(WEIGHTS, params={"tag": "paper"}).json()["weights"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [({"tags": "x"}, "tags"), ({"tags": [""]}, "tags"), ({"notes": 3}, "notes"), ({"x": 1}, "x")],
)
def test_a_wrong_label_is_refused_by_its_name(server, versions, body, field):
    answer = patch(server, versions[0], **body)
    assert answer.status_code == 422 and field in answer.json()


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\x7f", "\x85", "\u2028", "\n"])
def test_control_characters_in_labels_are_refused_by_their_place(server, versions, letter):
    before = server.get(WEIGHTS + versions[0]).json()
    answer = patch(server, versions[0], tags=["good", f"a{letter}b"])
    assert answer.status_code == 422 and "U+" in answer.json()["tags"]["1"][0], answer.text
    if letter != "\n":
        answer = patch(server, versions[0], notes=f"a{letter}b")
        assert answer.status_code == 422 and "U+" in answer.json()["notes"][0], answer.text
    assert server.get(WEIGHTS + versions[0]).json() == before


def test_notes_have_lines_and_tabs_and_every_language(server, versions):
    for notes in ("one\n\ttwo\r\nthree", "très bon, 很好, עברית, 👩🏽‍🔬"):
        assert patch(server, versions[0], notes=notes).json()["notes"] == notes
        tag = notes[-5:].strip()
        assert patch(server, versions[0], tags=[tag]).json()["tags"] == [tag]
    patch(server, versions[0], tags=[], notes=None)


def test_a_body_that_is_no_json_object_is_refused(server, versions):
    import requests

    url = server.url + WEIGHTS + versions[0]
    json = {"Content-Type": "application/json"}
    assert requests.patch(url, data=b"{", headers=json, timeout=9).status_code == 400
    assert requests.patch(url, data=b"[]", headers=json, timeout=9).status_code == 400
    text = {"Content-Type": "text/plain"}
    assert requests.patch(url, data=b"{}", headers=text, timeout=9).status_code == 415
    assert requests.patch(url, data=b" " * 2**21, headers=json, timeout=9).status_code == 413


def test_production_is_what_predictions_use_and_moves_without_a_restart(server, versions):
    assert served(server, until=versions[2]) == versions[2]
    assert put(server, "production", versions[0]).json()["version"] == versions[0]
    assert served(server, until=versions[0]) == versions[0]
    assert server.predict("counter").json()["predictions"]["count"] == 1
    newest = server.wait_run(server.train("counter", steps=4))["weights"]
    assert server.get(WEIGHTS + "latest").json()["id"] == newest
    time.sleep(0.5)
    assert served(server) == versions[0], "a training does not move production"
    parameters = server.get("/openapi.json").json()["paths"]["/v2/models/counter/predict/"]
    (choices,) = [
        each["schema"]["enum"]
        for each in parameters["post"]["parameters"]
        if each["name"] == "weights"
    ]
    assert choices[:3] == ["latest", "production", newest]
    answer = server.predict("counter", params={"weights": "production"})
    assert answer.headers["X-Modelyard-Weights"] == versions[0]
    assert put(server, "production", versions[1]).json()["previous"] == versions[0]
    assert served(server, until=versions[1]) == versions[1]
    back = server.post(f"{WEIGHTS}aliases/production/rollback").json()
    assert back["version"] == versions[0]
    assert served(server, until=versions[0]) == versions[0]
    assert server.post(f"{WEIGHTS}aliases/production/rollback").status_code == 409
    assert server.delete(f"{WEIGHTS}aliases/production").status_code == 204
    assert served(server, until=newest) == newest
    assert server.delete(f"{WEIGHTS}aliases/production").status_code == 404


def test_latest_cannot_be_set_by_hand_and_names_have_a_form(server, versions):
    for name in ("latest", "0" * 32, "aliases", "-x", "a b"):
        assert put(server, name, versions[0]).status_code in (404, 422), name
    assert put(server, "latest", versions[0]).json()["alias"]
    assert put(server, "staging", "f" * 32).status_code == 404


def test_an_alias_is_no_word_of_the_addresses_of_versions(server, versions):
    """Whatever route is added beside a version, its word cannot be an alias."""
    paths = [re.split("/weights/", route.doc.path) for route in ROUTES]
    after = "/".join(path[1] for path in paths if len(path) == 2)
    words = {word for word in after.split("/") if word and not word.startswith("{")}
    assert words >= {"aliases", "archive", "card", "link", "retry"}
    for word in [*words, "Archive"]:
        answer = put(server, word, versions[0])
        assert answer.status_code == 422, word
        assert "another name" in answer.json()["alias"][0], answer.text
        assert server.post(f"{WEIGHTS}aliases/{word}/rollback").status_code == 422
        assert server.delete(f"{WEIGHTS}aliases/{word}").status_code == 404, "it never was"


@pytest.mark.parametrize(
    "name", ["a\0", "a\nb", "a\x7f", "a\x9bb", "a/b", "a b", "é", "a" * 101, "0a"]
)
def test_an_alias_is_letters_digits_dots_and_dashes(server, versions, name):
    answer = put(server, quote(name, safe=""), versions[0])
    assert answer.status_code == 422 and "letter" in answer.json()["alias"][0], answer.text


def test_aliases_are_listed_and_stand_at_their_version(server, versions):
    put(server, "staging", versions[1])
    listed = server.get(f"{WEIGHTS}aliases/").json()["aliases"]
    assert listed[0]["name"] == "latest"
    assert {"staging"} <= {alias["name"] for alias in listed}
    assert "staging" in server.get(WEIGHTS + versions[1]).json()["aliases"]
    server.delete(f"{WEIGHTS}aliases/staging")


def test_what_is_needed_is_not_deleted_and_the_answer_says_by_whom(server, versions):
    put(server, "staging", versions[1])
    refused = server.delete(WEIGHTS + versions[1])
    assert refused.status_code == 409 and "staging" in refused.json()["detail"]
    server.delete(f"{WEIGHTS}aliases/staging")
    latest = server.get(WEIGHTS + "latest").json()["id"]
    refused = server.delete(WEIGHTS + latest)
    assert refused.status_code == 409 and "predictions" in refused.json()["detail"]


def test_a_deleted_version_is_gone_with_its_files_and_its_warm_worker(server, versions):
    answer = server.predict("counter", params={"weights": versions[1]})
    assert answer.json()["predictions"]["count"] == 2
    assert server.delete(WEIGHTS + versions[1]).status_code == 204
    assert server.get(WEIGHTS + versions[1]).status_code == 404
    assert not (server.home / "weights" / versions[1]).exists()
    assert server.predict("counter", params={"weights": versions[1]}).status_code == 422
    assert server.delete(WEIGHTS + versions[1]).status_code == 404


def test_there_is_nothing_to_try_again_for_a_version_that_is_ready(server, versions):
    assert server.post(f"{WEIGHTS}{versions[0]}/retry").status_code == 409


def test_a_runs_checkpoint_becomes_a_version_that_is_not_latest(server, versions):
    record = server.wait_run(server.train("counter", steps=6))
    path = f"/v2/models/counter/train/{record['uuid']}/checkpoints"
    answer = server.post(f"{path}/last/promote")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["origin"], made["checkpoint"], made["run"]) == (
        "promotion",
        "last",
        record["uuid"],
    )
    assert made["aliases"] == [] and made["id"] != record["weights"]
    answer = server.predict("counter", params={"weights": made["id"]})
    assert answer.json()["predictions"]["count"] == 6
    assert server.post(f"{path}/last/promote").status_code == 200
    assert server.post(f"{path}/first/promote").status_code in (404, 422)
