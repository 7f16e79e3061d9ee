"""A server whose store takes requests and gives nothing: what needs it is 503 within half a minute,
and works as soon as the store does."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

WEIGHTS = "/v2/models/counter/weights/"
BOUND_S = 35.0
"""30 s without a byte, as docs/weights.md says, and the rest of the request."""


def timed(method, url, **more):
    began = time.monotonic()
    answer = requests.request(method, url, timeout=120, **more)
    return answer, time.monotonic() - began


@pytest.mark.slow
def test_what_needs_a_hung_store_is_told_in_time_and_the_fetch_goes_on(
    start_server, tmp_path, rclone
):
    way = rclone.proxied()
    flags = ("--model-name", "counter", "--storage", way.url)
    first = start_server(*flags, env=rclone.env)
    first.wait_ready("counter")
    made = first.wait_run(first.train("counter"))["weights"]
    while first.get(WEIGHTS + made).json()["state"] != "ready":
        time.sleep(0.05)
    first.stop()

    second = start_server(*flags, home=tmp_path / "other", env={**way.env})
    way.faults.add("hang", "GET", "/packs/", times=None)
    way.faults.add("hang", "GET", "/blobs/", times=None)
    second.wait_ready("counter")
    assert second.get(WEIGHTS + made).json()["local"] is False
    version = second.url + WEIGHTS + made
    asked = [
        ("GET", f"{version}/archive"),
        ("GET", f"{version}/lineage"),
        ("GET", f"{version}/card"),
        ("POST", f"{version}/fetch"),
        ("POST", f"{second.url}/v2/models/counter/predict/?weights={made}"),
    ]
    with ThreadPoolExecutor() as threads:
        for answer, took in threads.map(lambda one: timed(*one), asked):
            assert answer.status_code == 503, answer.text
            assert took < BOUND_S
            assert int(answer.headers["Retry-After"]) > 0
            assert f"from the store {way.url}" in answer.json()["message"]
    assert second.get("/healthz").status_code == 200
    way.faults.clear()
    way.faults.let_go()
    began = time.monotonic()
    while not second.get(WEIGHTS + made).json()["local"]:
        assert time.monotonic() - began < 30
        time.sleep(0.1)
    assert requests.get(f"{version}/archive", timeout=60).status_code == 200
    assert second.predict("counter").headers["X-Modelyard-Weights"] == made
