"""Which device and how many threads a training uses."""

from __future__ import annotations

import torch

from ..contract import Run
from ..values import InvalidData


def choose_device(asked: str, assigned: str) -> str:
    """`"cpu"`, `"cuda"` or `"cuda:N"`: what the server assigned, unless another kind was asked for.

    Raises InvalidData if a GPU was asked for and none can be used; ValueError if the server
    assigned one that is not there.
    """
    chosen = assigned if asked == "auto" or assigned.startswith(asked) else asked
    if chosen.startswith("cuda") and not torch.cuda.is_available():
        if asked != "auto":
            raise InvalidData(
                f"device={asked} was asked for, but no GPU can be used here: take auto or cpu"
            )
        raise ValueError(f"the server assigned {chosen}, but no GPU can be used here")
    return chosen


def bound_threads(run: Run, asked: int | None) -> int:
    """Sets torch's threads to what was asked for, at most what the run may use; returns it."""
    threads = max(1, run.threads)
    if asked is not None:
        if asked > threads:
            run.log(f"threads={asked} were asked for; this run may use {threads}")
        threads = min(asked, threads)
    torch.set_num_threads(threads)
    return threads
