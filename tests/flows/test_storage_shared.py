"""Servers that share a store: what one published, named and tagged, the other has and serves."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from modelyard.clearing import remove_tree

WEIGHTS = "/v2/models/counter/weights/"
MODEL = ("--model-name", "counter")


def until(what, within_s=30.0):
    """The first true answer of `what`."""
    deadline = time.monotonic() + within_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s: {found!r}"
        time.sleep(0.05)


def version(server, name):
    return server.get(WEIGHTS + name).json()


def ids(server):
    return [item["id"] for item in server.get(WEIGHTS).json()["weights"]]


def trained(server, **arguments):
    """The id of a version that a training made."""
    record = server.wait_run(server.train("counter", **arguments))
    assert record["status"] == "done", record
    return record["weights"]


def stored(server, name):
    """The version, once the store has it."""
    return until(lambda: (found := version(server, name))["state"] == "ready" and found)


def put(server, alias, name):
    url = f"{server.url}{WEIGHTS}aliases/{alias}"
    answer = requests.put(url, json={"version": name}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def label(server, name, **labels):
    answer = requests.patch(f"{server.url}{WEIGHTS}{name}", json=labels, timeout=30)
    assert answer.status_code == 200, answer.text


def told(server, alias):
    """Waits until the store knows of an alias."""

    def known():
        aliases = server.get(f"{WEIGHTS}aliases/").json()["aliases"]
        return any(one["name"] == alias and one["stored"] for one in aliases)

    until(known)


def look(server):
    """Has the server look at the store: it does not know this version."""
    return server.get(WEIGHTS + "f" * 32).status_code == 404


def served_by(server, **parameters):
    answer = server.predict("counter", params=parameters)
    return answer.headers.get("X-Modelyard-Weights"), answer


@pytest.fixture(params=[pytest.param("folder", marks=pytest.mark.slow), "rclone"])
def store(request, tmp_path):
    """Flags and environment of a store that nobody else uses."""
    if request.param == "folder":
        return ("--storage", str(tmp_path / "store")), {}
    way = request.getfixturevalue("rclone").fresh()
    return ("--storage", way.url), way.env


def test_an_empty_machine_lists_and_serves_what_another_published(start_server, tmp_path, store):
    flags, env = store
    first = start_server(*MODEL, *flags, env=env)
    first.wait_ready("counter")
    older, newer = trained(first, steps=1), trained(first, steps=2)
    put(first, "production", older)
    label(first, newer, tags=["paper"], notes="Best so far.")
    for name in (older, newer):
        assert stored(first, name)["local"] is True
    told(first, "production")
    told(first, "latest")
    time.sleep(0.5)  # the labels go out in the same round, behind the aliases
    assert first.stop() == 0
    assert remove_tree(first.home)
    second = start_server(*MODEL, *flags, home=tmp_path / "elsewhere", env=env)
    assert ids(second) == [newer, older]
    told_of = version(second, newer)
    assert (told_of["tags"], told_of["notes"]) == (["paper"], "Best so far.")
    assert told_of["aliases"] == ["latest"] and told_of["local"] is False
    second.wait_ready("counter")
    served, answer = served_by(second)
    assert served == older and answer.json()["predictions"]["count"] == 1
    served, answer = served_by(second, weights="latest")
    assert served == newer and answer.json()["predictions"]["count"] == 2
    assert version(second, newer)["local"] is True


def test_two_servers_follow_each_other(start_server, tmp_path):
    flags = ("--storage", str(tmp_path / "store"))
    first = start_server(*MODEL, *flags)
    second = start_server(*MODEL, *flags, home=tmp_path / "second")
    for server in (first, second):
        server.wait_ready("counter")
    made = [trained(first, steps=1)]
    stored(first, made[0])
    told(first, "latest")
    assert version(second, made[0])["local"] is False, "looked for when it is asked for"
    until(lambda: served_by(second)[0] == made[0])
    label(second, made[0], notes="seen")
    made.append(trained(second, steps=2))
    stored(second, made[1])
    put(second, "production", made[0])
    told(second, "latest")
    told(second, "production")
    until(lambda: look(first) and "production" in version(first, made[0])["aliases"])
    assert ids(first) == [made[1], made[0]]
    assert version(first, made[0])["notes"] == "seen"
    assert served_by(first)[0] == made[0]
    put(first, "production", made[1])
    told(first, "production")
    until(lambda: look(second) and served_by(second)[0] == made[1])
    refused = first.delete(WEIGHTS + made[1])
    assert refused.status_code == 409
    until(lambda: first.delete(WEIGHTS + made[0]).status_code == 204)  # its worker is moving
    until(lambda: look(second) and ids(second) == [made[1]])
    until(lambda: not (second.home / "weights" / made[0]).exists())


@pytest.mark.slow
def test_what_another_server_has_just_named_is_not_deleted(start_server, tmp_path):
    flags = (*MODEL, "--storage", str(tmp_path / "store"))
    one = start_server(*flags, home=tmp_path / "one")
    first, _ = trained(one), trained(one)
    stored(one, first)
    other = start_server(*flags, home=tmp_path / "other")
    until(lambda: first in ids(other))
    other.delete(WEIGHTS + "0" * 32)
    put(one, "precious", first)
    told(one, "precious")
    answer = other.delete(WEIGHTS + first)
    assert answer.status_code == 409, answer.text
    assert "precious" in answer.json()["message"]
    assert one.delete(WEIGHTS + "aliases/precious").status_code == 204


@pytest.mark.slow  # tests/storage/test_keeping.py has the same without servers
def test_a_dead_store_leaves_a_version_publishing_and_served_until_it_is_back(
    start_server, tmp_path, rclone
):
    way = rclone.fresh()
    flags = (*MODEL, "--storage", way.url)
    server = start_server(*flags, env=way.env)
    server.wait_ready("counter")
    rclone.stop()
    try:
        made = trained(server, steps=3)
        told_of = until(lambda: (found := version(server, made))["reason"] and found)
        assert told_of["state"] == "publishing" and told_of["attempts"] >= 1
        assert until(lambda: served_by(server)[0] == made)
        server.kill()
        again = start_server(*flags, home=server.home, env=way.env)
        again.wait_ready("counter")
        assert version(again, made)["state"] == "publishing"
        assert served_by(again)[1].json()["predictions"]["count"] == 3
        newcomer = start_server(*flags, home=tmp_path / "other", env=way.env)
        newcomer.wait_ready("counter")
        assert newcomer.predict("counter").status_code == 409
    finally:
        rclone.start()
    retried = again.post(f"{WEIGHTS}{made}/retry")
    assert retried.status_code in (200, 409)
    assert stored(again, made)["reason"] is None
    assert len(again.get("/v2/models/counter/train/").json()) == 1, "never trained again"
    told(again, "latest")
    until(lambda: look(newcomer) and served_by(newcomer)[0] == made, within_s=60)


@pytest.mark.slow  # as above
def test_what_is_only_in_a_store_that_is_down_is_503_with_a_time_to_come_again(
    start_server, tmp_path, rclone
):
    way = rclone.fresh()
    flags = (*MODEL, "--storage", way.url)
    first = start_server(*flags, env=way.env)
    first.wait_ready("counter")
    older, newer = trained(first, steps=1), trained(first, steps=2)
    for name in (older, newer):
        stored(first, name)
    told(first, "latest")
    second = start_server(*flags, home=tmp_path / "other", env=way.env)
    second.wait_ready("counter")
    until(lambda: served_by(second)[0] == newer)
    rclone.stop()
    try:
        with ThreadPoolExecutor() as threads:  # each is tried for some seconds
            asked = threads.submit(served_by, second, weights=older)
            deleted = threads.submit(first.delete, WEIGHTS + older)
            assert served_by(second)[0] == newer, "what is here is served all the same"
        answer = asked.result()[1]
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        assert deleted.result().status_code == 503
        assert version(first, older)["state"] == "ready"
    finally:
        rclone.start()
    until(lambda: served_by(second, weights=older)[0] == older)


@pytest.mark.slow
def test_old_versions_go_by_policy_but_for_the_best_and_the_named(start_server, tmp_path):
    config = tmp_path / "yard.toml"
    config.write_text('[models.counter]\nkeep_last = 1\nkeep_best_by = "count"\n')
    store = tmp_path / "store"
    flags = (*MODEL, "--config-file", str(config), "--storage", str(store))
    server = start_server(*flags)
    server.wait_ready("counter")
    best, named = trained(server, steps=50), trained(server, steps=1)
    put(server, "staging", named)
    gone, last = trained(server, steps=2), trained(server, steps=3)
    until(lambda: ids(server) == [last, named, best])
    until(lambda: not (server.home / "weights" / gone).exists())  # the files go after the row
    manifests = store / "models" / "counter" / "weights"
    until(lambda: {path.stem for path in manifests.glob("*.json")} == {best, named, last})
