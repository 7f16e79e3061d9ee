"""From the committed record to the first optimizer step: forked from a warm process, or cold."""

import datetime

from yard import Yard, quartiles, yard

ROUNDS = 7


def _start_ms(server: Yard) -> float:
    record = server.ask("POST", "/v2/models/first-step/train/", {})
    ended = server.wait_run(record)
    committed = datetime.datetime.fromisoformat(ended["created_at"]).timestamp()
    return (ended["result"]["output"]["first_step"] - committed) * 1000


def measure() -> dict[str, str]:
    """A small convolutional network with AdamW; A: warm start, B: `--no-warm-start`, in turn."""
    warm, cold = [], []
    with (
        yard("--model-name", "first-step") as a,
        yard("--model-name", "first-step", "--no-warm-start") as b,
    ):
        for server in (a, b):
            server.wait_ready("first-step")
            _start_ms(server)  # the page cache is warm in both
        for _ in range(ROUNDS):
            warm.append(_start_ms(a))
            cold.append(_start_ms(b))
    ratios = [w / c for w, c in zip(warm, cold, strict=True)]
    return {
        "warm start to first step, ms": quartiles(warm),
        "cold start to first step, ms": quartiles(cold),
        "ratio warm / cold": quartiles(ratios),
    }
