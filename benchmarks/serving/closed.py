"""Scenes with a closed loop: the perceptron in JSON, and the CNN with PNG uploads and its floor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from plan import Plan
from servers import HERE, KINDS, serving

from turns import Turn, alternate, compared, quartiles, take_turn

FLOOR_BATCHES = (1, 2, 4, 8)
TARGETS: dict[tuple[str, int], dict[str, dict[str, float]]] = {
    ("perceptron", 64): {
        "cpu_ms": {"litserve": 0.08, "triton": 0.2, "mlserver": 0.15, "deepaas": 0.05},
        "p99_ms": dict.fromkeys(("litserve", "triton", "mlserver", "deepaas", "fastapi"), 0.2),
    },
    ("perceptron", 8): {
        "p99_ms": dict.fromkeys(("litserve", "triton", "mlserver", "deepaas", "fastapi"), 0.2),
    },
    ("cnn", 16): {
        "per_s": dict.fromkeys(("litserve", "triton", "mlserver", "deepaas", "fastapi"), 1.15)
        | {"floor": 0.95},
        "p99_ms": dict.fromkeys(("litserve", "triton", "mlserver", "deepaas", "fastapi"), 0.8),
    },
}
"""Ratios to reach, ours to theirs: at most, of `per_s` at least."""


def perceptron(plan: Plan) -> dict[str, Any]:
    """64 numbers as JSON, a 64-256-10 perceptron; 8 and 64 clients."""
    return _against_peers(plan, "perceptron", (8, 64))


def cnn(plan: Plan) -> dict[str, Any]:
    """A PNG of 20 KB, a small CNN; 16 clients."""
    found = _against_peers(plan, "cnn", (16,))
    found["floor"] = _against_floor(plan)
    return found


def _against_peers(plan: Plan, model: str, crowds: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with serving("modelyard", model, 1, plan.folder, plan.environments) as ours:
        for name in plan.peers:
            told = []
            for batch in KINDS[name].batches[model]:
                try:
                    with serving(name, model, batch, plan.folder, plan.environments) as peer:
                        told += [
                            alternate(plan.generator, ours, peer, c, plan.seconds, plan.rounds)
                            for c in crowds
                        ]
                except RuntimeError as error:
                    plan.say(f"  {name}, batch {batch}: {error}")
                    told.append({"peer": name, "error": str(error)})
            for one in told:
                _say(plan, model, name, one)
            found[name] = told
    return found


def _say(plan: Plan, model: str, name: str, one: dict[str, Any]) -> None:
    if "error" in one:
        return
    plan.say(f"  {one['peer']}, {one['clients']} clients; failed: {one['failed']}")
    plan.say(f"    {'':8} {'ours':>26} {'theirs':>26}   ours / theirs")
    for measure, ratio in one["ratio"].items():
        target = TARGETS.get((model, one["clients"]), {}).get(measure, {}).get(name)
        plan.say(
            f"    {measure:8} {shown(one['ours'][measure]):>26} "
            f"{shown(one['theirs'].get(measure, (0, 0, 0))):>26}   {shown(ratio)}"
            + verdict(measure, ratio[0], target)
        )


def verdict(measure: str, ratio: float, target: float | None) -> str:
    if target is None:
        return ""
    reached = ratio >= target if measure == "per_s" else ratio <= target
    return f"   {'reached' if reached else 'MISSED'}: {target:g}"


def shown(values: tuple[float, float, float]) -> str:
    return "{:.3g} ({:.3g} - {:.3g})".format(*values)


# -- the floor -----------------------------------------------------------------------------------


def _against_floor(plan: Plan) -> dict[str, Any]:
    """Our throughput to that of the bare loop at its best batch, in turn."""
    ours: list[Turn] = []
    loops: dict[int, list[float]] = {batch: [] for batch in FLOOR_BATCHES}
    cpu: dict[int, list[float]] = {batch: [] for batch in FLOOR_BATCHES}
    with serving("modelyard", "cnn", 1, plan.folder, plan.environments) as server:
        plan.generator.run(server, 16, min(2.0, plan.seconds))
        for _ in range(plan.rounds):
            ours.append(take_turn(plan.generator, server, 16, plan.seconds))
            for batch in FLOOR_BATCHES:
                told = _bare(batch, plan.seconds)
                loops[batch].append(told["per_s"])
                cpu[batch].append(told["cpu_ms"])
    for batch in FLOOR_BATCHES:
        plan.say(
            f"  bare loop, batch {batch}: {shown(quartiles(loops[batch]))} pictures/s, "
            f"{shown(quartiles(cpu[batch]))} CPU ms each"
        )
    best = max(loops, key=lambda batch: quartiles(loops[batch])[0])
    ratio = quartiles([a.per_s / b for a, b in zip(ours, loops[best], strict=True)])
    plan.say(
        f"  ours / bare loop at batch {best}: {shown(ratio)}"
        + verdict("per_s", ratio[0], TARGETS[("cnn", 16)]["per_s"]["floor"])
    )
    return {
        "best_batch": best,
        "loops_per_s": {batch: quartiles(values) for batch, values in loops.items()},
        "loops_cpu_ms": {batch: quartiles(values) for batch, values in cpu.items()},
        "ours": compared(ours, ours)["ours"],
        "ratio": {"per_s": ratio},
    }


def _bare(batch: int, seconds: float) -> dict[str, float]:
    environ = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "floor.py"), str(batch), str(seconds)]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, timeout=seconds + 120
    )
    return dict(json.loads(done.stdout))
