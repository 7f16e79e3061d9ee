"""What a model does beside training and predicting, in a process of its own: the list of tasks.

Each task is a function of the loaded plugin and a dict of JSON values that returns another; the
front asks for one by its name (`serving/tasks.py`). Python 3.8 syntax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidArguments, NotSupported, PluginFailed
from .dataset_reading import read_dataset
from .plugin import Plugin
from .refusals import plugin_code


def export(plugin: Plugin, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Has the model write one of its weights versions in another format.

    `parameters`: `format`, `weights` (the folder that `load` gets) and `folder`, an empty one to
    write in. The result is what the author's `export` returned; `max_difference` and `samples` are
    checked. Raises NotSupported without that method, InvalidArguments that name the formats, and
    PluginFailed.
    """
    method, formats = plugin.method("export"), plugin.describe().export_formats
    if method is None or not formats:
        raise NotSupported("This model has no export formats of its own.")
    wanted = parameters["format"]
    if wanted not in formats:
        raise InvalidArguments({"format": ["Not one of: {}.".format(", ".join(formats))]})
    plugin.load(Path(parameters["weights"]), "cpu", warm=False)
    folder = Path(parameters["folder"])
    with plugin_code(f"exporting to {wanted}"):
        told = method(wanted, folder)
    if not any(path.is_file() for path in folder.rglob("*")):
        raise _fault("wrote no file", "Write the exported model into the folder that it gets.")
    return _checked(told)


def _checked(told: Any) -> dict[str, Any]:
    if not isinstance(told, Mapping):
        raise _fault(f"returned {type(told).__name__}", _REMEDY)
    difference, samples = told.get("max_difference"), told.get("samples")
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise _fault(f"returned samples={samples!r}", _REMEDY)
    try:
        difference = float(difference)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _fault(f"returned max_difference={difference!r}", _REMEDY) from None
    if not math.isfinite(difference):  # a NaN would compare as no difference at all
        raise _fault("told a difference that is not finite", "Look at what the export computes.")
    return {**told, "max_difference": difference, "samples": samples}


_REMEDY = 'Return {"max_difference": float, "samples": int}: how its answers differ from yours.'


def _fault(problem: str, remedy: str) -> PluginFailed:
    return PluginFailed(f"export() {problem}. {remedy}", original_type="ContractFault")


TASKS: dict[str, Callable[[Plugin, Mapping[str, Any]], dict[str, Any]]] = {
    "export": export,
    "read_dataset": read_dataset,
}
"""By the name that the front asks for."""
