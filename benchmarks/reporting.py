"""What reporting every step costs a training."""

from yard import quartiles, yard

ROUNDS = 11
STEPS = 500
TYPICAL_STEP_S = 0.01
"""An optimizer step of a small network on a CPU."""


def measure() -> dict[str, str]:
    """Steps without (A) and with (B) `run.report` of three scalars, in turn; CPU, not wall time."""
    with yard("--model-name", "steps") as server:
        server.wait_ready("steps")
        record = server.ask("POST", "/v2/models/steps/train/", {"steps": STEPS, "rounds": ROUNDS})
        cpu = server.wait_run(record)["result"]["output"]
    extra = [(b - a) / STEPS for a, b in zip(cpu["plain"], cpu["reported"], strict=True)]
    return {
        "reporting one step, CPU microseconds": quartiles([value * 1e6 for value in extra]),
        "share of a step of 10 ms, %": quartiles([v / TYPICAL_STEP_S * 100 for v in extra]),
    }
