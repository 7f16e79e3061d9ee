"""Whether this environment still has what the server itself requires, beside a module's pins."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from ..models_plugin.checking.findings import DIFFERS, FAULT, Finding
from ..models_plugin.plugin import PluginSource

_START = "import modelyard.api.server"
_START_LIMIT_S = 60.0


def check_requirements(source: PluginSource) -> Finding | None:
    """What the module's packages have brought into disorder; None for environments of their own.

    Needs `packaging`, which most environments have; says nothing without it.
    """
    if source.python is not None:
        return None
    unmet = [*_unmet()]
    if not unmet:
        return None
    pins = [*_pins(source.distribution, {name for name, _ in unmet})]
    what = f"This environment is not what the server requires: {'; '.join(t for _, t in unmet)}."
    if pins:
        what += f" {source.distribution} requires {', '.join(pins)}."
    problem = _start_problem()
    what += f" It does not start: {problem}" if problem else " It may fail at any call."
    return Finding(
        FAULT if problem else DIFFERS,
        "requirements",
        what,
        sys.prefix,
        "Give the module an environment of its own, by the settings ([models.NAME] with "
        'python = "/path/to/bin/python"), and install modelyard anew in this one.',
    )


def _unmet() -> Iterator[tuple[str, str]]:
    for needed in _requirements("modelyard"):
        try:
            there = version(needed.name)
        except PackageNotFoundError:
            yield _normal(needed.name), f"it needs {_written(needed)}, which is not installed"
            continue
        if not needed.specifier.contains(there, prereleases=True):
            text = f"it needs {_written(needed)}, and {there} is installed"
            yield _normal(needed.name), text


def _pins(distribution: str | None, names: set[str]) -> Iterator[str]:
    for needed in _requirements(distribution) if distribution else ():
        if _normal(needed.name) in names and needed.specifier:
            yield _written(needed)


def _requirements(distribution: str) -> Iterator[Any]:
    """Those that count here, as `packaging` reads them; broken ones are pip's to tell."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return
    try:
        texts = requires(distribution) or []
    except PackageNotFoundError:  # run from its sources
        return
    for text in texts:
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield needed


def _written(needed: Any) -> str:
    return f"{needed.name}{needed.specifier}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _start_problem() -> str:
    """The last line of what importing the server says here; empty if it can be imported."""
    words = [sys.executable, "-P", "-c", _START]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=_START_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"it was still being imported after {_START_LIMIT_S:g} s"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or [f"exit code {done.returncode}"])[-1][:300]
