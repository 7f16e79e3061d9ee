"""Has a model's own reader look at a stored dataset: its statistics, and what is wrong with it.

One of the tasks of `tasks.py`: runs in a process of its own. Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import NotSupported, PluginFailed
from .answers import json_value
from .plugin import Plugin
from .refusals import plugin_code
from .values import InvalidData

MOST_PROBLEMS = 1000
"""Problems that a report lists; the others are counted."""
LEVELS = ("error", "warning", "note")
_STATISTICS = ("splits", "classes", "counts", "sizes")
_TEXT_LIMIT = 2000  # characters


def read_dataset(plugin: Plugin, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's `read_dataset(folder)` tells: `{"statistics", "problems", "left_out"}`.

    `parameters`: `folder`. An InvalidData that it raises is one more problem, an error. Raises
    NotSupported without that method, PluginFailed for what else it raises, and if what it returns
    is not as the contract says.
    """
    method = plugin.method("read_dataset")
    if method is None:
        raise NotSupported("This model has no reader of datasets.")
    told: Any = {}
    fatal = []
    with plugin_code("reading the dataset"):
        try:
            told = method(Path(parameters["folder"]))
        except InvalidData as error:
            fatal.append(problem_of(error))
        told = json_value(told)
    if not isinstance(told, dict):
        raise _fault(f"returned {type(told).__name__}, not a dict")
    problems = [*_problems(told.get("problems")), *fatal]
    return {
        "statistics": {name: told[name] for name in _STATISTICS if told.get(name) is not None},
        "problems": problems[:MOST_PROBLEMS],
        "left_out": max(0, len(problems) - MOST_PROBLEMS),
        "errors": sum(problem["level"] == "error" for problem in problems),
        "warnings": sum(problem["level"] == "warning" for problem in problems),
    }


def problem_of(error: InvalidData, level: str = "error") -> dict[str, Any]:
    """The problem that an InvalidData tells, its file and line apart from its message."""
    return {
        "file": error.file,
        "line": error.line,
        "message": getattr(error, "message", str(error)),
        "level": level,
    }


def _problems(told: Any) -> list[dict[str, Any]]:
    if told is None:
        return []
    if not isinstance(told, list):
        raise _fault("gave problems that are no list")
    return [_problem(item) for item in told]


def _problem(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        item = {"message": item}
    if not isinstance(item, dict) or not isinstance(item.get("message"), str):
        raise _fault(f"gave a problem without a message: {item!r}")
    level, line, file = item.get("level", "error"), item.get("line"), item.get("file")
    if level not in LEVELS:
        raise _fault(f"gave a problem of the level {level!r}")
    return {
        "file": None if file is None else str(file)[:_TEXT_LIMIT],
        "line": line if isinstance(line, int) and not isinstance(line, bool) else None,
        "message": item["message"][:_TEXT_LIMIT],
        "level": level,
    }


def _fault(problem: str) -> PluginFailed:
    return PluginFailed(
        'read_dataset() {}. Return {{"splits", "classes", "counts", "sizes", "problems":'
        ' [{{"file", "line", "message", "level"}}]}}; level is one of: {}.'.format(
            problem, ", ".join(LEVELS)
        ),
        original_type="ContractFault",
    )
