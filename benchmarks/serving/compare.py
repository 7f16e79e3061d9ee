"""Our server beside others, in one run: `python benchmarks/serving/compare.py [options]`.

For each scene and peer both are up and take turns, and are compared by ratios with quartiles. All
traffic stays on loopback, and every turn ends by itself. The environments of the peers are made by
`setup.sh` below --environments where they are missing. Ours is the modelyard of the interpreter
that runs this; it needs torch, numpy and pillow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import closed
import endurance
from load import Generator
from plan import Plan
from servers import HERE, KINDS, PEERS

SCENES: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "perceptron": closed.perceptron,
    "cnn": closed.cnn,
    "overload": endurance.overload,
    "swaps": endurance.swaps,
    "memory": endurance.memory,
}
_PEERS_HELP = """divide by commas (default %(default)s); also `constant`, bare aiohttp that answers
the same always, and `checkout`, the modelyard/ below the folder BENCH_CHECKOUT"""
_DEFAULT = Path(tempfile.gettempdir()) / "modelyard-serving-peers"


def main() -> int:
    asked = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are ended all the same
    peers, scenes = _chosen(asked.peers, KINDS, "peer"), _chosen(asked.scenes, SCENES, "scene")
    missing = [name for name in peers if _missing(asked.environments, KINDS[name].environment)]
    if missing and set(scenes) & {"perceptron", "cnn"}:
        subprocess.run(["bash", HERE / "setup.sh", asked.environments, *missing], check=True)
    folder = Path(tempfile.mkdtemp(prefix="modelyard-serving-"))
    if asked.channels_last:
        os.environ["BENCH_CHANNELS_LAST"] = "1"
    plan = Plan(
        peers=tuple(peers),
        seconds=asked.seconds,
        rounds=asked.rounds,
        swaps=asked.swaps or (1000 if asked.full else 30),
        predicts=asked.predicts or (100_000 if asked.full else 10_000),
        overload_s=asked.overload_seconds,
        folder=folder,
        environments=asked.environments,
        generator=Generator(folder),
    )
    found: dict[str, Any] = {"machine": _machine(), "options": vars(asked), "scenes": {}}
    print(" ".join(f"{name}={value}" for name, value in found["machine"].items()), flush=True)
    failed = False
    try:
        for name in scenes:
            print(f"\n{name}: {SCENES[name].__doc__.splitlines()[0]}", flush=True)
            began = time.monotonic()
            try:
                found["scenes"][name] = SCENES[name](plan)
            except Exception as error:  # one scene's failure leaves the others their figures
                failed = True
                found["scenes"][name] = {"error": repr(error)}
                print(f"  FAILED: {error!r}", flush=True)
            print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(found, indent=1, default=str) + "\n")
    finally:
        if asked.keep:
            print(f"homes and logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--peers",
        default=",".join(PEERS),
        help=_PEERS_HELP,
    )
    add("--scenes", default=",".join(SCENES), help="divide by commas; from %(default)s")
    add("--seconds", type=float, default=4, help="of one turn (default %(default)s)")
    add("--rounds", type=int, default=5, help="turns of each of the two (default %(default)s)")
    add("--overload-seconds", type=float, default=10, help="(default %(default)s)")
    add("--swaps", type=int, help="swaps of weights (default 30; 1000 with --full)")
    add("--predicts", type=int, help="of the memory scene (default 10000; 100000 with --full)")
    add("--full", action="store_true", help="the issue's counts")
    add("--channels-last", action="store_true", help="the CNN in that memory format, for everybody")
    add("--environments", type=Path, default=_DEFAULT, help="of the peers (default %(default)s)")
    add("--json", type=Path, help="write the figures to this file as well, after each scene")
    add("--keep", action="store_true", help="keep homes and logs, and say where they are")
    return parser.parse_args()


def _chosen(text: str, known: dict[str, Any], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if wrong := [name for name in names if name not in known]:
        raise SystemExit(f"no such {what}: {', '.join(wrong)}; from {', '.join(known)}")
    return names


def _missing(environments: Path, environment: str | None) -> bool:
    return environment is not None and not (environments / environment / "done").exists()


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()),
        "at": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


if __name__ == "__main__":
    sys.exit(main())
