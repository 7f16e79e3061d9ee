"""Imports the module to check, and says in plain words why that fails. Python 3.8 syntax."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

from ..deepaas.supplied import VERSION
from ..loading import target_of
from ..plugin import DEEPAAS_GROUP, NATIVE_GROUP, PluginSource
from .findings import FAULT, NOTE, Report

_SLOW_S = 3.0
_PIP_NAMES = {
    "bs4": "beautifulsoup4", "Crypto": "pycryptodome", "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil", "dotenv": "python-dotenv", "fitz": "PyMuPDF", "git": "GitPython",
    "mpl_toolkits": "matplotlib", "osgeo": "GDAL", "PIL": "pillow", "serial": "pyserial",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "PyYAML",
}  # fmt: skip
_OLD = ("get_predict_args", "get_train_args", "deepaas")
_NEW = ("predict_arguments", "train_arguments", "modelyard")


def guess_group(value: str) -> str:
    """The contract that a module's text looks like; nothing is imported."""
    text = _text_of(value.partition(":")[0])
    if not any(word in text for word in _OLD) and any(word in text for word in _NEW):
        return NATIVE_GROUP
    return DEEPAAS_GROUP


def _text_of(name: str) -> str:
    path: Any = None
    spec: Any = None
    for part in _prefixes(name):
        spec = None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(part, path) if find is not None else None
            if spec is not None:
                break
        if spec is None:
            return ""
        path = spec.submodule_search_locations
    try:
        with open(spec.origin, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except (OSError, TypeError):
        return ""


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def import_it(source: PluginSource, report: Report) -> Any:
    """The object behind the entry point, or None with a fault in the report."""
    report.doing(f"importing {source.value}")
    begun = time.monotonic()
    try:
        target = target_of(source)
    except (Exception, SystemExit) as error:
        _tell(error, source, report)
        return None
    took = time.monotonic() - begun
    if took > _SLOW_S:
        report.add(
            NOTE, "slow-import",
            f"Importing it takes {took:.1f} s. Each worker and each training imports it once; the "
            "server itself answers meanwhile.",
            source.value,
            "Import heavy libraries inside the functions that use them, if that matters.",
        )  # fmt: skip
    return target


def _tell(error: BaseException, source: PluginSource, report: Report) -> None:
    where = place_of(error)
    name = str(getattr(error, "name", None) or "")
    top = source.value.partition(":")[0].partition(".")[0]
    if isinstance(error, ImportError) and name.partition(".")[0] == "deepaas":
        what = f"It imports what is not supplied in the place of DEEPaaS {VERSION}: {error}."
        remedy = "Take that import out, or install DEEPaaS itself beside the module."
        report.add(FAULT, "deepaas-name", what, where, remedy)
    elif isinstance(error, ModuleNotFoundError) and name.partition(".")[0] == top:
        what = f"It cannot be imported: there is no {name!r} in this environment."
        remedy = "Install the module's package here (pip install -e .), with all its folders in it."
        report.add(FAULT, "import", what, where, remedy)
    elif isinstance(error, ModuleNotFoundError) and name:
        missing = name.partition(".")[0]
        what = f"It cannot be imported: the package {missing!r} is not installed."
        pip = _PIP_NAMES.get(missing, missing.replace("_", "-"))
        remedy = f"{source.python or 'python'} -m pip install {pip}"
        report.add(FAULT, "missing-package", what, where, remedy)
    elif isinstance(error, AttributeError) and not where:
        attribute = source.value.partition(":")[2]
        what = f"The module has no {attribute!r}."
        report.add(FAULT, "import", what, source.value, "Mend the entry point's value.")
    elif isinstance(error, SystemExit):
        what = f"It ends the process while it is imported (exit code {error.code})."
        remedy = "Let a module never call exit(): keep that under `if __name__ == '__main__'`."
        report.add(FAULT, "import", what, where, remedy)
    else:
        what = f"It cannot be imported: {type(error).__name__}: {error}."
        report.add(FAULT, "import", what, where, "Mend it, or what it needs at its import.")


def place_of(error: BaseException) -> str:
    """file:line of the innermost code that is neither Python's nor ours; empty if there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "<frozen" not in frame.filename and frame.filename not in _OURS:
            return f"{frame.filename}:{frame.lineno}"
    return ""


_OURS = {
    __file__,
    target_of.__code__.co_filename,
    sys.modules["importlib"].__file__,
}
