"""Checks one plugin in a process of its own, which it may end, block or crash. By hand:

    python -m modelyard.models_plugin.checking.process '{"source": ..., "report": PATH}'

Also runs in the interpreter of a model's own environment. Python 3.8 syntax.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...errors import ModelyardError, PluginFailed
from ..deepaas.adapter import DeepaasPlugin
from ..deepaas.preparing import prepare
from ..loading import open_plugin
from ..plugin import DEEPAAS_GROUP, PluginSource
from ..scratch import use_temporary_folder
from .findings import FAULT, NOTE, Report
from .importing import guess_group, import_it
from .module import check_module
from .sources import check_sources
from .written import listen

_PR_SET_PDEATHSIG = 1  # prctl(2)


def check(source: PluginSource, report: Report) -> None:
    """Whatever can be found is in the report afterwards."""
    if source.problem:
        report.add(FAULT, "entry-point", source.problem, source.value)
        return
    if not source.group:
        source = replace(source, group=guess_group(source.value))
    report.contract(source.group)
    if source.group == DEEPAAS_GROUP:
        _check_old(source, report)
    else:
        _check_native(source, report)


def _check_old(source: PluginSource, report: Report) -> None:
    prepare(source.name)
    listen()
    target = import_it(source, report)
    if target is None:
        return
    check_module(target, report)
    _tell_marshmallow(report)
    report.doing("reading its source")
    check_sources(source.value.partition(":")[0].partition(".")[0], report)
    if not report.has_faults:  # what nothing above has found
        report.doing("describing it")
        _must_work(lambda: DeepaasPlugin(source, target).describe(), report)


def _check_native(source: PluginSource, report: Report) -> None:
    if import_it(source, report) is not None:
        report.doing("describing it")
        _must_work(lambda: open_plugin(source).describe(), report)
        _tell_marshmallow(report)


def _must_work(action: Any, report: Report) -> None:
    try:
        action()
    except ModelyardError as error:
        cause = error.original_type if isinstance(error, PluginFailed) else type(error).__name__
        report.add(
            FAULT, "contract", error.message, "", _REMEDY if cause != "ContractFault" else ""
        )


_REMEDY = "Mend it: the server refuses the model for the same reason."


def _tell_marshmallow(report: Report) -> None:
    try:
        release = version("marshmallow")
    except PackageNotFoundError:
        return
    if not release.startswith("4"):
        report.add(
            NOTE, "marshmallow",
            f"Its environment has marshmallow {release}: that is used as it is.",
            sys.executable, "Nothing.",
        )  # fmt: skip


def _end_with(parent: int) -> None:
    """The module may hang: then nothing else would end this process when the command is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)


def main(order: Mapping[str, Any]) -> None:
    """Never raises for what a module does; SystemExit and crashes are seen by the parent."""
    if order.get("parent"):
        _end_with(int(order["parent"]))
    use_temporary_folder()
    faulthandler.enable()
    if order.get("folder"):
        # Behind all others: a module that is not installed yet is found where the user stands.
        sys.path.append(str(order["folder"]))
    report = Report(Path(order["report"]))
    check(PluginSource.from_data(order["source"]), report)
    report.end()
    sys.stdout.flush()
    os._exit(0)  # threads that the module has started would keep the process


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
