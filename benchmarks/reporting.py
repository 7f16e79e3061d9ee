"""What reporting every step costs a training."""

from yard import quartiles, yard

ROUNDS = 9
STEPS = 400
WORK = 200_000
"""Numbers summed in one step: about 3 ms of work in one thread."""


def measure() -> dict[str, str]:
    """Steps of equal work without (A) and with (B) `run.report` of three scalars, in turn."""
    with yard("--model-name", "steps", "--training-nice", "0") as server:
        server.wait_ready("steps")
        arguments = {"steps": STEPS, "work": WORK, "rounds": ROUNDS}
        record = server.ask("POST", "/v2/models/steps/train/", arguments)
        seconds = server.wait_run(record)["result"]["output"]
    plain, reported = seconds["plain"], seconds["reported"]
    ratios = [b / a for a, b in zip(plain, reported, strict=True)]
    extra = [(b - a) / STEPS * 1e6 for a, b in zip(plain, reported, strict=True)]
    return {
        "a step of work, ms": quartiles([value / STEPS * 1000 for value in plain]),
        "ratio reported / plain": quartiles(ratios),
        "reporting one step, microseconds": quartiles(extra),
    }
