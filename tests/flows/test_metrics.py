"""What the server tells Prometheus of its work, and what its log tells of each request."""

import asyncio
import json
import os
import re
import signal
import time

import aiohttp
import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "batcher,hostile,counter", "--client-calls", "8")
    for model in ("batcher", "hostile"):
        server.wait_ready(model)
    return server


def scrape(server):
    """Every sample by its name and labels, these without a version's id."""
    answer = server.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples.get((f"modelyard_{name}", *sorted(labels.items())), 0)


def grown(server, before, name, by, **labels):
    """Waits until a series has grown so far: an end is noticed a moment after the answer."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if value(scrape(server), name, **labels) - value(before, name, **labels) >= by:
            return True
        time.sleep(0.1)
    return False


def test_predictions_are_counted_by_route_model_and_status(server):
    before = scrape(server)
    for n in range(3):
        assert server.predict("batcher", json={"n": n}).status_code == 200
    assert server.predict("batcher", json={"n": "none"}).status_code == 422
    assert server.predict("batcher", json={"do": "fail"}).status_code == 500
    after = scrape(server)
    route = {"method": "POST", "model": "batcher", "route": "/v2/models/{model}/predict"}
    for status, count in (("200", 3), ("422", 1), ("500", 1)):
        for name, labels in (
            ("http_requests_total", route),
            ("predictions_total", {"model": "batcher", "version": ""}),
        ):
            labels = {**labels, "status": status}
            assert value(after, name, **labels) - value(before, name, **labels) == count
    assert value(after, "http_request_seconds_count", **route) >= 5
    here = {"model": "batcher", "version": ""}
    for name in ("queue", "prediction", "forward", "worker"):
        assert value(after, f"{name}_seconds_count", **here) >= 3, name
        assert value(after, f"{name}_seconds_sum", **here) > 0, name
    assert value(after, "batch_items_sum", **here) >= 3


def test_nothing_that_a_client_chooses_becomes_a_label(server):
    for path in ("/v2/models/secret-name/", "/secret/path", "/v2/models/a/train/secret?key=secret"):
        server.get(path)
    server.post("/v2/models/secret-name/predict/")
    assert server.predict("batcher", params={"secret": "secret"}).status_code == 422
    requests.request("PROPFIND", server.url + "/healthz", timeout=10)
    text = server.get("/metrics").text
    assert "secret" not in text.lower()
    assert 'method="other"' in text and 'route="none"' in text


def test_a_worker_that_ends_is_counted_with_the_kind_of_its_end_and_told_in_the_model(server):
    before = scrape(server)
    assert server.predict("hostile", json={"do": "exit"}).status_code == 500
    assert grown(server, before, "worker_restarts_total", 1, model="hostile", reason="exit")
    server.wait_ready("hostile")
    worker = server.get("/v2/models/hostile/").json()["workers"][0]
    assert worker["last_exit"] == "exited with code 3" and worker["restarts"] == 1

    os.kill(worker["pid"], signal.SIGKILL)
    assert grown(server, before, "worker_restarts_total", 1, model="hostile", reason="sigkill")
    server.wait_ready("hostile")
    hurry = {"json": {"do": "hang"}, "headers": {"X-Request-Timeout": "1"}}
    assert server.predict("hostile", **hurry).status_code == 504
    assert grown(server, before, "refused_total", 1, model="hostile", why="deadline")
    assert grown(server, before, "worker_restarts_total", 1, model="hostile", reason="deadline")


async def test_what_is_refused_and_what_waits_is_seen_while_it_is_so(server):
    before = scrape(server)
    url = f"{server.url}/v2/models/batcher/predict/"
    async with aiohttp.ClientSession() as session:

        async def ask():
            async with session.post(url, json={"seconds": 0.4}) as answer:
                return answer.status

        asking = [asyncio.ensure_future(ask()) for _ in range(12)]
        await asyncio.sleep(0.2)
        async with session.get(f"{server.url}/metrics") as answer:
            during = await answer.text()
        statuses = await asyncio.gather(*asking)
    assert statuses.count(429) == 4 and statuses.count(200) == 8
    items = [
        float(re.search(rf'^modelyard_{name}{{model="batcher"}} (.+)$', during, re.M)[1])
        for name in ("queue_items", "worker_items")
    ]
    assert items[1] > 0 and sum(items) <= 8
    after = scrape(server)
    refused = {"model": "batcher", "why": "client"}
    assert value(after, "refused_total", **refused) - value(before, "refused_total", **refused) == 4


def test_trainings_are_seen_by_phase_and_counted_at_their_end(server):
    before = scrape(server)
    run = server.wait_run(server.train("counter", steps=2))
    done = {"model": "counter", "status": run["status"], "reason": run["reason"] or ""}
    assert run["status"] == "done"
    assert grown(server, before, "trainings_ended_total", 1, **done)
    samples = scrape(server)
    assert {value(samples, "trainings", phase=phase) for phase in ("queued", "training")} == {0}


def test_each_loaded_version_has_its_series_and_one_that_is_gone_has_none(server):
    versions = []
    for steps in (1, 2, 3):
        run = server.wait_run(server.train("counter", steps=steps))
        versions.append(run["weights"])
        answer = server.predict("counter", params={"weights": "latest"})
        assert answer.headers["X-Modelyard-Weights"] == versions[-1]
    labels = {"model": "counter", "version": versions[-1]}
    until = time.monotonic() + 20
    while time.monotonic() < until:
        shown = {
            dict(key[1:])["version"]
            for key in scrape(server)
            if key[:2] == ("modelyard_forward_seconds_count", ("model", "counter"))
        }
        if versions[0] not in shown:
            break
        time.sleep(0.3)
    assert versions[-1] in shown and versions[0] not in shown, (shown, versions)
    assert value(scrape(server), "prediction_seconds_count", **labels) >= 1


def test_the_servers_own_process_and_its_models_are_told(server):
    samples = scrape(server)
    assert 10e6 < samples[("process_resident_memory_bytes",)] < 1e9
    assert samples[("process_cpu_seconds_total",)] > 0
    assert value(samples, "model_ready", model="batcher") == 1
    assert value(samples, "workers", model="batcher", state="idle") == 1


def test_open_metrics_is_given_to_who_asks_for_it(server):
    accept = "application/openmetrics-text; version=1.0.0"
    answer = server.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(accept)
    names = {family.name for family in open_families(answer.text)}
    assert {"modelyard_http_requests", "modelyard_queue_seconds", "modelyard"} <= names


def test_other_names_of_the_server_are_refused_as_everywhere(server):
    assert server.get("/metrics", headers={"Host": "elsewhere.example"}).status_code == 421


def test_the_log_tells_of_each_request_but_not_its_query(server):
    version = server.get("/v2/models/counter/").json()["weights"]
    answer = server.predict(
        "counter", params={"weights": version}, headers={"traceparent": TRACEPARENT}
    )
    assert answer.status_code == 200
    server.get("/nowhere?token=hidden")
    time.sleep(0.2)  # the server's output is read by a thread
    text = "".join(server.lines)
    told = [json.loads(line) for line in text.splitlines() if "modelyard.access" in line]
    predict = next(line for line in told if line.get("trace") == TRACEPARENT.split("-")[1])
    assert predict["route"] == "/v2/models/{model}/predict" and predict["method"] == "POST"
    assert predict["status"] == 200 and predict["ms"] > 0 and predict["peer"] == "127.0.0.1"
    assert predict["model"] == "counter" and predict["version"] == version
    assert predict["bytes_in"] in (0, None) and predict["bytes_out"] == len(answer.content)
    lost = next(line for line in told if line["route"] == "none")
    assert lost["status"] in (404, 405) and "trace" not in lost
    assert "hidden" not in text and f"weights={version}" not in text
