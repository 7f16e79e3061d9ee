"""gRPC at a server's limits: a full queue, large messages, its end, and what is missing."""

import asyncio
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from yard_grpc import Client, arrays_of, grpc_target, refusal, request_of, wait_for

ONE = {"x": np.zeros(1, "float32")}
PLUGINS = Path(__file__).parents[1] / "plugins"
METHOD = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def tight(serve_module):
    """One that takes little: a megabyte, two waiting calls, half a second for each."""
    server = serve_module(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0", "--host", "localhost"),
        *("--client-max-size", "1M", "--queue-items", "2", "--predict-timeout", "0.5"),
    )
    server.wait_ready("shift")
    return server


def peak_kib(server):
    """The most memory that the front has had (proc(5))."""
    lines = (server.proc() / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.fixture
def client(tight):
    client = Client(grpc_target(tight))
    yield client
    client.close()


def test_a_full_queue_is_unavailable_and_tells_when_to_come_again(tight, client):
    calls = [client.begin("shift", ONE, timeout=20, seconds=0.2) for _ in range(8)]
    refused = []
    for call in calls:
        try:
            assert call.result().outputs
        except grpc.RpcError as error:
            refused.append((error.code().name, dict(error.trailing_metadata())))
    assert 1 <= len(refused) <= 6
    for code, trailers in refused:
        assert (code, trailers["modelyard-error"]) == ("UNAVAILABLE", "busy")
        assert int(trailers["retry-after"]) >= 1
        assert int(trailers["grpc-retry-pushback-ms"]) >= 1
    assert 'refused_total{model="shift",why="full"}' in tight.get("/metrics").text


def test_without_a_deadline_of_the_client_the_servers_own_holds(client):
    code, said, _ = refusal(client.infer, "shift", ONE, timeout=None, seconds=0.8)
    assert (code, said) == (
        "DEADLINE_EXCEEDED",
        "No answer within 0.5 s; the call was in the model.",
    )
    assert client.infer("shift", ONE, timeout=20, seconds=0.7).outputs  # a longer one of its own


def test_a_message_may_have_as_many_bytes_as_a_request_over_http(client):
    large = {"x": np.zeros(300_000, "float32")}
    code, said, _ = refusal(client.infer, "shift", large)
    assert (code, "larger than max" in said) == ("RESOURCE_EXHAUSTED", True), said
    most = {"x": np.zeros(250_000, "float32")}
    assert len(arrays_of(client.infer("shift", most))["y"]) == 250_000


@pytest.mark.parametrize(
    ("message", "told"),
    [(b"\x2a\x00" * 400_000, "10000 inputs"), (b"\x3a\x00" * 400_000, "65536 fields")],
    ids=["inputs", "raw contents"],
)
def test_a_message_that_would_become_many_objects_is_refused_unread(tight, client, message, told):
    """Each was two hundred bytes in the server: 62 MB took 6 GB, and stopped it for 12 s."""
    method = client.channel.unary_unary(METHOD)
    before = peak_kib(tight)
    code, said, _ = refusal(method, b"\x0a\x05shift" + message, timeout=60)
    assert (code, told in said) == ("RESOURCE_EXHAUSTED", True), said
    assert peak_kib(tight) - before < 30_000
    assert client.infer("shift", ONE).outputs


def test_short_numbers_count_by_what_they_have_in_memory(client):
    numbers = {"x": np.ones(200_000, "int64")}
    code, said, _ = refusal(client.infer, "shift", numbers, raw=False)
    assert (code, "1600" in said) == ("RESOURCE_EXHAUSTED", True), said


def test_compressed_messages_are_refused_whatever_they_would_become(client):
    method = client.channel.unary_unary(METHOD)
    request = request_of("shift", ONE).SerializeToString()
    refused = refusal(method, request, compression=grpc.Compression.Gzip, timeout=10)
    assert refused[0] == "UNIMPLEMENTED"
    assert method(request, timeout=10)


def test_with_predictions_switched_off_infer_is_not_offered(start_server):
    server = start_server(
        *("--model-name", "shift", "--no-warm-start", "--no-predict-endpoint"),
        *("--grpc-port", "0"),
    )
    client = Client(grpc_target(server))
    assert refusal(client.infer, "shift", ONE)[0] == "UNIMPLEMENTED"
    assert client.call("ServerLive").live


COLLECT = """
import gc, sys, threading, time

def collect():
    while True:
        time.sleep(0.01)
        gc.collect()

if "serve" in sys.orig_argv:
    threading.Thread(target=collect, daemon=True).start()
"""


@pytest.mark.slow
def test_streams_that_their_clients_have_left_harm_nobody(start_server, tmp_path):
    """What the garbage collector finds of one must not be asked of gRPC: that was a crash."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(COLLECT)
    server = start_server(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0"),
        env={"PYTHONPATH": f"{tmp_path / 'site'}:{PLUGINS}"},
    )
    target = grpc_target(server)

    def leave():
        client = Client(target, **{"grpc.use_local_subchannel_pool": 1})
        for _ in range(25):
            assert next(client.watch()) == "SERVING"
            assert next(client.watch("another.Service")) == "SERVICE_UNKNOWN"

    with ThreadPoolExecutor(3) as clients:
        for done in [clients.submit(leave) for _ in range(3)]:
            done.result()
    wait_for(server, r'Health/Watch",status="499"} 150.0')


# -- the end ----------------------------------------------------------------------------------


def test_sigterm_loses_no_call_and_later_ones_are_told_to_go_elsewhere(start_server):
    server = start_server(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0", "--log-level", "warning")
    )
    server.wait_ready("shift")
    client = Client(grpc_target(server))
    health = []
    watching = threading.Thread(target=lambda: health.extend(client.watch()), daemon=True)
    watching.start()
    answered, refused = asyncio.run(load(server, grpc_target(server)))
    assert server.process.wait(20) == 0
    watching.join(5)
    assert health == ["SERVING", "NOT_SERVING"]
    assert answered > 30
    assert set(refused) == {"UNAVAILABLE"} and len(refused) == 8
    assert "Traceback" not in "".join(server.lines)


async def load(server, target):
    """Clients that ask until they are refused, and a long call; how many were answered, and how
    each was refused at last."""
    answered, refused = 0, []
    body = request_of("shift", ONE).SerializeToString()
    options = [("grpc.use_local_subchannel_pool", 1)]

    async def ask():
        nonlocal answered
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            method = channel.unary_unary(METHOD)
            while True:
                try:
                    await method(body, timeout=20)
                except grpc.aio.AioRpcError as error:
                    refused.append(error.code().name)
                    return
                answered += 1

    asking = [asyncio.ensure_future(ask()) for _ in range(8)]
    async with asyncio.timeout(60):
        while answered <= 30:
            await asyncio.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.1)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        long = request_of("shift", ONE, seconds=1.0).SerializeToString()
        assert await channel.unary_unary(METHOD)(long, timeout=20)
    await asyncio.gather(*asking)
    return answered, refused


# -- starting ---------------------------------------------------------------------------------


def ended(server, code):
    """What a server that does not start has printed."""
    assert server.process.wait(30) == code
    return "".join(server.lines)


def test_without_the_extra_the_port_is_refused_and_what_it_needs_is_said(start_server, tmp_path):
    for library in ("grpc", "google"):
        (tmp_path / "none" / library).mkdir(parents=True)
        told = f"raise ImportError({library!r}, name={library!r})"
        (tmp_path / "none" / library / "__init__.py").write_text(told)
    env = {"PYTHONPATH": f"{tmp_path / 'none'}"}
    server = start_server("--grpc-port", "0", env=env, wait=False)
    assert "pip install 'modelyard[grpc]'" in ended(server, 1)


def test_a_taken_port_is_told_before_anything_is_loaded(start_server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server("--model-name", "shift", "--grpc-port", str(port), wait=False)
        said = ended(server, 1)
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use." in said
    assert "Choose another with --grpc-port." in said
