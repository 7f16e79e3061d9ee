"""Which device and how many threads a training or a worker uses."""

from __future__ import annotations

import torch

from ..contract import Run


def choose_device(asked: str, assigned: str) -> str:
    """`"cpu"`, `"cuda"` or `"cuda:N"`, from the argument and from what the server assigned.

    Raises ValueError if a GPU was asked for by name and there is none.
    """
    if asked == "cpu" or (asked == "auto" and assigned == "cpu"):
        return "cpu"
    if torch.cuda.is_available():
        return assigned if assigned.startswith("cuda") else "cuda"
    if asked == "cuda":
        raise ValueError("device=cuda was asked for, but no GPU can be used here")
    return "cpu"


def bound_threads(run: Run, asked: int | None) -> int:
    """Sets torch's threads to what was asked for, at most what the run may use; returns it."""
    threads = max(1, run.threads)
    if asked is not None:
        if asked > threads:
            run.log(f"threads={asked} were asked for; this run may use {threads}")
        threads = min(asked, threads)
    torch.set_num_threads(threads)
    return threads
