"""Requests as traces: from the client's span through the queue and the worker into the plugin."""

import subprocess
import sys

import numpy as np
import pytest
from yard_grpc import Client, grpc_target
from yard_otlp import Collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER_KIND = 2


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def server(serve_module, collector, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "modelyard.toml"
    config.write_text(
        f'tracing = "{collector.url}"\n'
        f'[models.tracer]\nenv = {{ COLLECTOR = "{collector.url}/v1/traces" }}\n'
    )
    server = serve_module(
        *("--model-name", "tracer,shift", "--config-file", str(config), "--grpc-port", "0"),
        env={
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=tests",
        },
    )
    server.wait_ready("tracer")
    server.wait_ready("shift")
    return server


def ask(server, **arguments):
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    return server.predict("tracer", json=arguments, headers=headers)


def test_a_request_continues_its_clients_trace_down_into_the_plugin(server, collector):
    answer = ask(server).json()["predictions"]
    spans = collector.wait(TRACE, 4)
    request, queue, worker, plugin = (
        spans[name] for name in ("POST /v2/models/{model}/predict", "queue", "worker", "plugin")
    )
    assert request.parent == SPAN and request.kind == SERVER_KIND
    assert queue.parent == worker.parent == request.id and plugin.parent == worker.id
    assert request.begin <= queue.begin <= queue.end <= worker.begin <= worker.end <= request.end
    assert request.attributes["http.route"] == "/v2/models/{model}/predict"
    assert request.attributes["http.response.status_code"] == "200"
    assert worker.attributes["modelyard.model"] == "tracer"
    assert worker.attributes["modelyard.batch_items"] == "1"
    assert request.resource["service.name"] == "modelyard"
    assert request.resource["deployment.environment"] == "tests"
    assert answer == {"trace": TRACE, "told": [f"00-{TRACE}-{worker.id}-01"], "current": True}


def test_a_call_by_grpc_continues_its_clients_trace_too(server, collector):
    client, trace = Client(grpc_target(server)), "8" * 32
    one = {"x": np.zeros(1, "float32")}
    client.infer("shift", one, metadata=[("traceparent", f"00-{trace}-{SPAN}-01")])
    spans = collector.wait(trace, 3)
    request = spans["GRPC /inference.GRPCInferenceService/ModelInfer"]
    assert request.parent == SPAN and request.kind == SERVER_KIND and not request.failed
    assert request.attributes["rpc.grpc.status_code"] == "0"
    assert spans["queue"].parent == spans["worker"].parent == request.id


def test_a_request_without_a_trace_begins_one_and_what_fails_is_marked(server, collector):
    answer = server.predict("tracer", json={})
    trace = answer.json()["predictions"]["trace"]
    assert trace != TRACE
    assert collector.wait(trace, 4)["POST /v2/models/{model}/predict"].parent == ""

    other = "5" * 32
    server.predict("tracer", json={"fail": True}, headers={"traceparent": f"00-{other}-{SPAN}-01"})
    failed = collector.wait(other, 4)["POST /v2/models/{model}/predict"]
    assert failed.failed and failed.attributes["http.response.status_code"] == "500"


def test_what_the_client_does_not_sample_is_not_sent(server, collector):
    unsampled = "6" * 32
    answer = server.predict("tracer", json={}, headers={"traceparent": f"00-{unsampled}-{SPAN}-00"})
    assert answer.json()["predictions"]["trace"] == unsampled
    last = server.predict("tracer", json={}).json()["predictions"]["trace"]
    collector.wait(last, 4)
    with pytest.raises(AssertionError, match="not 1 spans"):
        collector.wait(unsampled, 1, timeout=0)


def test_the_last_spans_are_sent_when_the_server_stops(start_server, collector):
    server = start_server("--model-name", "bare", "--tracing", collector.url)
    trace = "7" * 32
    server.get("/healthz", headers={"traceparent": f"00-{trace}-{SPAN}-01"})
    assert server.stop() == 0
    assert set(collector.wait(trace, 1, timeout=2)) == {"GET /healthz"}


@pytest.mark.slow
def test_a_collector_that_is_away_harms_nobody(start_server):
    server = start_server("--model-name", "tracer", "--tracing", "http://127.0.0.1:9")
    server.wait_ready("tracer")
    assert ask(server).status_code == 200
    assert server.stop() == 0


def test_without_tracing_the_plugin_is_told_nothing(start_server):
    server = start_server("--model-name", "tracer")
    server.wait_ready("tracer")
    answer = ask(server).json()["predictions"]
    assert answer["told"] == [] and answer["trace"] != TRACE


def test_without_the_extra_the_server_says_what_to_install(tmp_path):
    (tmp_path / "opentelemetry.py").write_text("")  # hides it: a module, without what is below
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modelyard", "serve", "--home", str(tmp_path / "home")),
            *("--port", "0", "--tracing", "http://127.0.0.1:4318"),
        ],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "pip install 'modelyard[otel]'" in done.stderr
