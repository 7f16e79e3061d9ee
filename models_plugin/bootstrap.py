"""Runs a module of ours in the interpreter of a model's own environment, which lacks us.

    PYTHON .../modelyard/models_plugin/bootstrap.py MODULE [ARGUMENT ...]

is what `python -P -m MODULE` would be if `modelyard` were installed there: no folder of ours comes
on the path, which would bring our libraries' neighbours and names like `values` along; only the
name `modelyard` is mapped, and of it only the modules listed here. They need the standard library
and marshmallow 3 or 4.

Python 3.8, and no newer form before the check below, so that an older one can say what it is.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes 5 ms
_PACKAGE = os.path.dirname(_FOLDER)  # noqa: PTH120
_RUN = __name__ == "__main__"
# A process that multiprocessing spawns runs the parent's main script under this name, and then
# imports what it is to call: that may import modelyard too.
_SPAWNED = __name__ == "__mp_main__"

if _RUN and sys.hexversion < 0x03080000:
    sys.exit("Python {}.{} is too old: 3.8 is the oldest that works.".format(*sys.version_info[:2]))

if _RUN and sys.path and os.path.abspath(sys.path[0]) == _FOLDER:  # noqa: PTH100
    del sys.path[0]  # before anything else is imported; with PYTHONSAFEPATH it is not there

import importlib.util  # noqa: E402
import runpy  # noqa: E402
from importlib.machinery import ModuleSpec  # noqa: E402
from typing import Any, Optional  # noqa: E402

KIT = (
    "modelyard",
    "modelyard.addresses",
    "modelyard.clearing",
    "modelyard.digest",
    "modelyard.errors",
    "modelyard.members",
    "modelyard.models_plugin",
    "modelyard.models_plugin.accept",
    "modelyard.models_plugin.aftercare",
    "modelyard.models_plugin.answers",
    "modelyard.models_plugin.arguments",
    "modelyard.models_plugin.checking",
    "modelyard.models_plugin.checking.arguments",
    "modelyard.models_plugin.checking.findings",
    "modelyard.models_plugin.checking.importing",
    "modelyard.models_plugin.checking.module",
    "modelyard.models_plugin.checking.process",
    "modelyard.models_plugin.checking.sources",
    "modelyard.models_plugin.checking.written",
    "modelyard.models_plugin.command",
    "modelyard.models_plugin.command.logs",
    "modelyard.models_plugin.command.options",
    "modelyard.models_plugin.command.order",
    "modelyard.models_plugin.command.outcome",
    "modelyard.models_plugin.command.process",
    "modelyard.models_plugin.command.run",
    "modelyard.models_plugin.contract",
    "modelyard.models_plugin.dataset_reading",
    "modelyard.models_plugin.deepaas",
    "modelyard.models_plugin.deepaas.adapter",
    "modelyard.models_plugin.deepaas.arguments",
    "modelyard.models_plugin.deepaas.base",
    "modelyard.models_plugin.deepaas.copies",
    "modelyard.models_plugin.deepaas.distributions",
    "modelyard.models_plugin.deepaas.event_folders",
    "modelyard.models_plugin.deepaas.evidence",
    "modelyard.models_plugin.deepaas.files",
    "modelyard.models_plugin.deepaas.hearing",
    "modelyard.models_plugin.deepaas.hooks",
    "modelyard.models_plugin.deepaas.model_files",
    "modelyard.models_plugin.deepaas.native_writers",
    "modelyard.models_plugin.deepaas.oldstyle",
    "modelyard.models_plugin.deepaas.oslo",
    "modelyard.models_plugin.deepaas.preparing",
    "modelyard.models_plugin.deepaas.results",
    "modelyard.models_plugin.deepaas.stand_ins",
    "modelyard.models_plugin.deepaas.supplied",
    "modelyard.models_plugin.deepaas.training",
    "modelyard.models_plugin.deepaas.web_exceptions",
    "modelyard.models_plugin.device",
    "modelyard.models_plugin.entry_points",
    "modelyard.models_plugin.fetching",
    "modelyard.models_plugin.inference",
    "modelyard.models_plugin.loading",
    "modelyard.models_plugin.memory",
    "modelyard.models_plugin.native",
    "modelyard.models_plugin.npy",
    "modelyard.models_plugin.originals",
    "modelyard.models_plugin.plain",
    "modelyard.models_plugin.plugin",
    "modelyard.models_plugin.redaction",
    "modelyard.models_plugin.refusals",
    "modelyard.models_plugin.scratch",
    "modelyard.models_plugin.stored_weights",
    "modelyard.models_plugin.tasks",
    "modelyard.models_plugin.torch_files",
    "modelyard.models_plugin.tracing",
    "modelyard.models_plugin.values",
    "modelyard.schemas",
    "modelyard.schemas.arrays",
    "modelyard.schemas.checking",
    "modelyard.schemas.constraints",
    "modelyard.schemas.description",
    "modelyard.schemas.exactjson",
    "modelyard.schemas.fields",
    "modelyard.schemas.introspect",
    "modelyard.schemas.jsonform",
    "modelyard.schemas.kinds",
    "modelyard.schemas.secrecy",
    "modelyard.schemas.states",
    "modelyard.schemas.tensors",
    "modelyard.schemas.transport",
    "modelyard.serving",
    "modelyard.serving.failures",
    "modelyard.serving.frames",
    "modelyard.serving.messages",
    "modelyard.serving.surroundings",
    "modelyard.serving.sweep",
    "modelyard.serving.task_process",
    "modelyard.serving.temporary",
    "modelyard.serving.worker",
    "modelyard.training",
    "modelyard.training.checkpoints",
    "modelyard.training.context",
    "modelyard.training.data",
    "modelyard.training.elapsed",
    "modelyard.training.events",
    "modelyard.training.failures",
    "modelyard.training.finish",
    "modelyard.training.lineage",
    "modelyard.training.messages",
    "modelyard.training.metrics",
    "modelyard.training.paths",
    "modelyard.training.process",
    "modelyard.training.reporting",
    "modelyard.training.watching",
)
"""All that the modules run here import, themselves included; tests/house/test_kit.py compares."""


class KitFinder:
    """Finds the kit's modules in our folder, before anything else that is called modelyard."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:  # noqa: UP045
        if name.partition(".")[0] != "modelyard":
            return None
        if name not in KIT:
            # No ModuleNotFoundError, which `from modelyard import api` would hide.
            raise ImportError(
                f"{name} is not part of what Modelyard puts into a model's own environment: it has "
                "modelyard.models_plugin, modelyard.schemas.fields, and what these need.",
                name=name,
            )
        base = os.path.join(_PACKAGE, *name.split(".")[1:])  # noqa: PTH118
        init = os.path.join(base, "__init__.py")  # noqa: PTH118
        if os.path.exists(init):  # noqa: PTH110
            return importlib.util.spec_from_file_location(
                name, init, submodule_search_locations=[base]
            )
        return importlib.util.spec_from_file_location(name, f"{base}.py")


if _RUN or _SPAWNED:
    sys.meta_path.insert(0, KitFinder())

if _SPAWNED and os.environ.get("MODELYARD_DEEPAAS_MODULE"):
    from modelyard.models_plugin.deepaas.preparing import ready_spawned_child

    ready_spawned_child()  # before what it is to call is imported

if _RUN:
    sys.argv[:] = sys.argv[1:]
    # This file stays sys.modules["__main__"], so that processes that are spawned run it (above).
    runpy.run_module(sys.argv[0], run_name="__main__")
