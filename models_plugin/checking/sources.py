"""Reads the source of what a module has imported of its own. Python 3.8 syntax."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from ..deepaas.supplied import VERSION, is_supplied
from .findings import FAULT, NOTE, Report

_STARTING = ("Popen", "call", "check_call", "check_output", "run", "system", "spawn")
_MOST_BYTES = 2_000_000


def check_sources(top: str, report: Report) -> None:
    """`top` is the name of the package whose modules are read."""
    notes: dict[str, list[str]] = {}
    for path, tree in _trees(top):
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name in _not_supplied(node):
                    report.add(
                        FAULT, "deepaas-name",
                        f"It imports {name}, which is not supplied in the place of DEEPaaS "
                        f"{VERSION}: that line fails when it runs.",
                        f"{path}:{node.lineno}",
                        "Take that import out, or install DEEPaaS itself beside the module.",
                    )  # fmt: skip
            for topic in _topics(node):
                notes.setdefault(topic, []).append(f"{path}:{getattr(node, 'lineno', 0)}")
    for topic, places in notes.items():
        what, remedy = _NOTES[topic]
        report.add(NOTE, topic, what, ", ".join(dict.fromkeys(places)), remedy)


_NOTES = {
    "tensorboard": (
        "It starts TensorBoard itself. In a training that start is taken over: no second server is "
        "opened, and the folder given by --logdir is shown at /tensorboard/.",
        "Nothing.",
    ),
    "monitor-port": (
        "It reads monitorPORT, the port for a TensorBoard of its own. That port is not needed: "
        "event files are shown by the server at /tensorboard/.",
        "Nothing; the port need not be published any more.",
    ),
    "fuser": (
        "It ends what listens on a port (fuser -k). In a training that does nothing.",
        "Nothing.",
    ),
}


def _trees(top: str) -> Iterator[tuple[str, ast.AST]]:
    for name, module in sorted(sys.modules.items()):
        path = str(getattr(module, "__file__", None) or "")
        if name.partition(".")[0] != top or not path.endswith(".py"):
            continue
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                text = file.read(_MOST_BYTES)
            yield path, ast.parse(text, path)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue


def _not_supplied(node: Any) -> list[str]:
    """What of DEEPaaS a statement imports that is not there."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return [one for one in names if one.partition(".")[0] == "deepaas" and not _is_there(one)]
    module = node.module or ""
    if node.level or module.partition(".")[0] != "deepaas":
        return []
    if not _is_there(module):
        return [module]
    here = importlib.import_module(module)
    return [
        f"{module}.{alias.name}"
        for alias in node.names
        if alias.name != "*"
        and not hasattr(here, alias.name)
        and not _is_there(f"{module}.{alias.name}")
    ]


def _is_there(name: str) -> bool:
    if is_supplied(name):
        return True
    try:
        importlib.import_module(name)
    except Exception:  # the real DEEPaaS may fail in any way
        return False
    return True


def _topics(node: Any) -> Iterator[str]:
    if isinstance(node, ast.Constant) and node.value == "monitorPORT":
        yield "monitor-port"
    if not isinstance(node, ast.Call):
        return
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if called not in _STARTING:
        return
    texts = [
        part.value
        for argument in node.args
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    words = {word for text in texts for word in text.split()}
    if "tensorboard" in words or "tensorboard.main" in words:
        yield "tensorboard"
    if "fuser" in words:
        yield "fuser"
