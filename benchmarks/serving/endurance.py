"""Scenes of our server alone: too many calls, swaps of weights under load, growth of memory."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import numpy as np
from closed import verdict
from load import Load
from plan import Plan
from servers import Server, pss_of, serving

from turns import quartiles

FACTORS = (3, 10)
CONNECTIONS = 2000
"""The most that the open loop has at once; what is due while all are busy counts as failed."""
SETTLED_S = 1.5
SWAP_LOAD_PER_S = 200
VERSIONS = 4
"""So many that the next one is not warm any more: of two, each would stay so beside the other."""
SWAP_LIMIT_S = 30
CHUNKS = 10


# -- overload ------------------------------------------------------------------------------------


def overload(plan: Plan) -> dict[str, Any]:
    """The CNN at 3 and 10 times its capacity, in an open loop; what it is like after that."""
    found: dict[str, Any] = {}
    with serving("modelyard", "cnn", 1, plan.folder, plan.environments) as server:
        plan.generator.run(server, 16, min(2.0, plan.seconds))
        peak = plan.generator.run(server, 16, plan.seconds).per_s
        normal = plan.generator.run(server, 1, plan.seconds)
        plan.say(f"  capacity {peak:.1f}/s; one client alone: p50 {normal.latency_ms(0.5):.2f} ms")
        found |= {"capacity_per_s": peak, "normal_p50_ms": normal.latency_ms(0.5)}
        for factor in FACTORS:
            found[f"{factor} times"] = _too_many(plan, server, factor, peak, normal)
    return found


def _too_many(plan: Plan, server: Server, factor: int, peak: float, normal: Load) -> dict[str, Any]:
    load = plan.generator.run(server, CONNECTIONS, plan.overload_s, rate=factor * peak, grace_s=5)
    after = plan.generator.run(server, 1, 4)
    latency = load.done - load.due
    good = int(((load.status == 200) & (latency <= 1.0)).sum())
    settled = after.due >= load.began + plan.overload_s + SETTLED_S
    later = (after.done - after.due)[settled & (after.status == 200)] * 1000
    later_p50 = float(np.median(later)) if len(later) else float("nan")
    told = {
        "sent_per_s": len(load.status) / plan.overload_s,
        "counts": load.counts(),
        "goodput_per_s": good / plan.overload_s,
        "goodput / peak": good / plan.overload_s / peak,
        "share of answers (200) within 1 s": good / max(1, load.answered),
        "answers p50, p99 ms": (load.latency_ms(0.5), load.latency_ms(0.99)),
        "refusals (503) p50, p99 ms": (load.latency_ms(0.5, 503), load.latency_ms(0.99, 503)),
        "p50 after it, ratio to normal": later_p50 / normal.latency_ms(0.5),
        "first 200 after it, ms": _first(after),
    }
    plan.say(f"  {factor} times capacity for {plan.overload_s:g} s:")
    for name, value in told.items():
        plan.say(f"    {name:<36} {_plain(value)}")
    targets = {
        3: [
            ("share of answers within 1 s", told["share of answers (200) within 1 s"], 0.7, True),
            ("refusals p99, ms", load.latency_ms(0.99, 503), 20, False),
            ("latency after 1.5 s / normal", told["p50 after it, ratio to normal"], 1.2, False),
        ],
        10: [("goodput / peak", told["goodput / peak"], 0.9, True)],
    }
    for name, value, target, least in targets[factor]:
        plan.say(f"    {name}: {value:.3g}{verdict('per_s' if least else '', value, target)}")
    return told


def _first(after: Load) -> float:
    """Milliseconds from the end of the overload (the begin of this load) to the first answer."""
    done = after.done[after.status == 200]
    return float(done.min() - after.began) * 1000 if len(done) else float("nan")


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{one:.3g}" for one in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# -- swaps ---------------------------------------------------------------------------------------


def swaps(plan: Plan) -> dict[str, Any]:
    """The alias `production` moved on, round and round over versions, under load; failed calls."""
    took: list[float] = []
    with serving("modelyard", "perceptron", 1, plan.folder, plan.environments) as server:
        model = "/v2/models/bench-perceptron"
        versions = [_train(server, model, seed) for seed in range(VERSIONS)]
        limit = plan.swaps * SWAP_LIMIT_S
        running = plan.generator.start(server, CONNECTIONS, limit + 60, rate=SWAP_LOAD_PER_S)
        try:
            for number in range(plan.swaps):
                took.append(_swap(server, model, versions[number % VERSIONS]))
        finally:
            running.stop()
            load = running.result(60)
    told = {
        "swaps": len(took),
        "seconds each": quartiles(took),
        "calls meanwhile": len(load.status),
        "counts": load.counts(),
        "failed": load.failed,
        "p50, p99 ms": (load.latency_ms(0.5), load.latency_ms(0.99)),
    }
    for name, value in told.items():
        plan.say(f"  {name:<20} {_plain(value)}")
    plan.say(f"  failed calls{verdict('', load.failed, 0)}")
    return told


def _train(server: Server, model: str, seed: int) -> str:
    """A version with the weights of a seed."""
    record = _ask(server, "POST", f"{model}/train/", {"seed": seed})[1]
    until = time.monotonic() + 120
    while (now := _ask(server, "GET", record["links"]["self"])[1])["phase"] != "finished":
        if time.monotonic() > until:
            raise RuntimeError(f"the training has not ended: {now}")
        time.sleep(0.05)
    listed = _ask(server, "GET", f"{model}/weights/")[1]
    return str(listed["weights"][0]["id"])


def _swap(server: Server, model: str, version: str) -> float:
    """Seconds from the alias's move to the first answer of the new version."""
    began = time.monotonic()
    _ask(server, "PUT", f"{model}/weights/aliases/production", {"version": version})
    body = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    while True:
        headers, _ = _ask(server, "POST", f"{model}/predict/", body)
        if headers.get("X-Modelyard-Weights") == version:
            return time.monotonic() - began
        if time.monotonic() - began > SWAP_LIMIT_S:
            raise RuntimeError(f"version {version} does not answer after {SWAP_LIMIT_S} s")
        time.sleep(0.02)


def _ask(
    server: Server, method: str, path: str, document: Any = None
) -> tuple[http.client.HTTPMessage, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    body = None
    if document is not None:
        body, headers["Content-Type"] = json.dumps(document), "application/json"
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 201):
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
    return answer.headers, json.loads(text)


# -- memory --------------------------------------------------------------------------------------


def _sizes(front: int, others: list[int]) -> list[float]:
    """What may grow with use: MB of the front, and of the rest."""
    return [pss_of(front, "Pss_Anon"), sum(pss_of(pid, "Pss_Anon") for pid in others)]


def memory(plan: Plan) -> dict[str, Any]:
    """Many predictions of the perceptron: memory of the front and the worker, and its slope."""
    with serving("modelyard", "perceptron", 1, plan.folder, plan.environments) as server:
        plan.generator.run(server, 8, 3600, limit=2000)
        front, *others = server.pids()
        counts, sizes = [0], [_sizes(front, others)]
        failed = 0
        for _ in range(CHUNKS):
            load = plan.generator.run(server, 8, 600, limit=plan.predicts // CHUNKS)
            failed += load.failed
            counts.append(counts[-1] + len(load.status))
            sizes.append(_sizes(front, others))
        whole = [pss_of(front), sum(map(pss_of, others))]
    # Robust against one step (an arena, a table that doubled): the median of the slopes of all
    # pairs (Theil 1950, Sen 1968).
    pairs = [(a, b) for a in range(len(counts)) for b in range(a)]
    slopes = [
        float(
            np.median(
                [(sizes[a][i] - sizes[b][i]) / (counts[a] - counts[b]) * 1e6 for a, b in pairs]
            )
        )
        for i in (0, 1)
    ]
    told = {
        "predictions": counts[-1],
        "failed": failed,
        "front, MB": whole[0],
        "worker, MB": whole[1],
        "of these anonymous, MB": sizes[-1],
        "front, kB per 1000": slopes[0],
        "worker, kB per 1000": slopes[1],
        "whole growth, kB per 1000": (sum(sizes[-1]) - sum(sizes[0])) / counts[-1] * 1e6,
    }
    for name, value in told.items():
        plan.say(f"  {name:<28} {_plain(value)}")
    for name, value, target in (
        ("front and worker, MB", sum(whole), 230),
        ("front, MB", whole[0], 60),
        ("slope, kB per 1000", sum(slopes), 50),
    ):
        plan.say(f"  {name}: {value:.3g}{verdict('', value, target)}")
    return told | {"samples": list(zip(counts, sizes, strict=True))}
