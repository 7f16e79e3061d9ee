"""Runs the benchmarks (or those named) and prints figures: `python benchmarks/run.py [NAME ...]`.

Each prints ratios of A and B measured in turn in this one run: absolute times drift from machine to
machine and from minute to minute, ratios and counts hold. Traffic goes to loopback only.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import answer_packing
import classifier_start
import front_memory
import old_modules
import page_faults
import pool_round_trip
import predict_latency
import reporting
import server_start
import store_push_pull
import tensor_field
import warm_start
import weights_listing

BENCHMARKS = {
    "predict-latency": predict_latency.measure,
    "pool-round-trip": pool_round_trip.measure,
    "page-faults": page_faults.measure,
    "warm-start": warm_start.measure,
    "classifier-start": classifier_start.measure,
    "reporting": reporting.measure,
    "server-start": server_start.measure,
    "front-memory": front_memory.measure,
    "old-modules": old_modules.measure,
    "store-push-pull": store_push_pull.measure,
    "weights-listing": weights_listing.measure,
    "tensor-field": tensor_field.measure,
    "answer-packing": answer_packing.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"from {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    figures = {}
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.release()}")
    for name in chosen.names or BENCHMARKS:
        print(f"\n{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}", flush=True)
        figures[name] = BENCHMARKS[name]()
        for label, value in figures[name].items():
            print(f"  {label:<58} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
