"""Runs an old module's train(). Runs in the run process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..contract import Run


def train(run: Run, call: Callable[[], Any]) -> Any:
    """The result of the module's own train()."""
    return call()
