"""What a request says about its own training: how long it may take, and what follows a failure."""

from __future__ import annotations

import math
from dataclasses import replace

from aiohttp import web

from ..errors import InvalidArguments
from ..schemas.model_operations import LONGEST_TRAINING_S as _MOST_S
from ..schemas.model_operations import MOST_RESTARTS
from ..schemas.model_operations import SHORTEST_TRAINING_S as _LEAST_S
from ..schemas.transport import RequestData
from ..serving.handle import ModelHandle
from ..training.options import RunLimits
from .services import argument_names, server_parameter

NAMES = ("max_seconds", "restart_on_failure")
"""The server's parameters, by query where the model has no argument of that name."""


def chosen_limits(
    request: web.Request, handle: ModelHandle, data: RequestData
) -> tuple[RequestData, RunLimits]:
    """The limits that the request asks for, and the request without them.

    Raises InvalidArguments naming both that are wrong.
    """
    taken = argument_names(handle, "train")
    texts = {name: server_parameter(request, taken, name) for name in NAMES}
    ours = {name for name in NAMES if name not in taken}
    data = replace(data, query=[pair for pair in data.query if pair[0] not in ours])
    faults = {}
    seconds, restarts = texts["max_seconds"], texts["restart_on_failure"]
    if seconds is not None and not _MOST_S >= _number(seconds) >= _LEAST_S:
        faults["max_seconds"] = [f"Give seconds, from {_LEAST_S} to {_MOST_S}."]
    if restarts is not None and not _is_count(restarts):
        faults["restart_on_failure"] = [f"Give a whole number from 0 to {MOST_RESTARTS}."]
    if faults:
        raise InvalidArguments(faults)
    return data, RunLimits(
        max_seconds=None if seconds is None else _number(seconds),
        restarts=None if restarts is None else int(restarts),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MOST_RESTARTS
