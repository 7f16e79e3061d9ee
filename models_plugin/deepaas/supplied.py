"""The imports that DEEPaaS's modules make, for an environment without DEEPaaS.

`supply()` adds a finder behind all others, in the worker and in the run process of an old module
only: where DEEPaaS (or oslo.config, or pkg_resources) is installed, that is what the module gets.
Python 3.8 syntax.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import distributions, oslo
from .base import BaseModel
from .files import ReturnedFile, UploadedFile

VERSION = "2.6.0"
"""The DEEPaaS whose names are supplied."""


class ModuleNotFoundError(Exception):
    """`deepaas.exceptions.ModuleNotFoundError`."""


def supply(model_name: str = "") -> None:
    """Makes the imports possible in this process, once; `model_name` is in `CONF.model_name`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder(model_name))


def is_supplied(name: str) -> bool:
    """Whether the module of that name is among those supplied."""
    return name in _CONTENTS


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last, so only for what no installed package has."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _CONTENTS:
            return None
        parent = name.partition(".")[0]
        if parent != name and not isinstance(_loader(sys.modules.get(parent)), _Finder):
            return None  # the installed package has no such part: a mixture would be neither
        package = any(other.startswith(name + ".") for other in _CONTENTS)
        spec = importlib.machinery.ModuleSpec(name, self, origin="Modelyard", is_package=package)
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "Supplied by Modelyard in the place of DEEPaaS's own."
        _CONTENTS[module.__name__](module, self._model_name)


def _loader(module: Any) -> Any:
    return getattr(getattr(module, "__spec__", None), "loader", None)


def _fill(**names: Any) -> Callable[[ModuleType, str], None]:
    def fill(module: ModuleType, model_name: str) -> None:
        vars(module).update(names)

    return fill


def _config(module: ModuleType, model_name: str) -> None:
    cfg: Any = importlib.import_module("oslo_config.cfg")  # the installed one, or ours

    conf = cfg.CONF
    options = [
        cfg.StrOpt("model-name", default=model_name),
        cfg.StrOpt("listen-ip", default="127.0.0.1"),
        cfg.IntOpt("listen-port", default=5000),
        cfg.StrOpt("base-path", default=""),
        cfg.IntOpt("workers", default=1),
        cfg.IntOpt("client-max-size", default=0),
        cfg.BoolOpt("warm", default=True),
        cfg.BoolOpt("train-endpoint", default=True),
        cfg.BoolOpt("predict-endpoint", default=True),
        cfg.BoolOpt("doc-endpoint", default=True),
        cfg.BoolOpt("debug-endpoint", default=False),
        cfg.BoolOpt("debug", default=False),
    ]
    conf.register_opts(options)
    vars(module).update(
        CONF=conf,
        opts=options,
        cfg=cfg,
        prepare_logging=_nothing,
        parse_args=_nothing,
        config_and_logging=_nothing,
    )
    if hasattr(conf, "supplied"):
        return
    try:
        conf([], project="deepaas", default_config_files=[])
    except (
        Exception
    ) as error:  # the module may have registered options of its own that are required
        print(f"oslo.config could not be initialised: {error}", file=sys.stderr)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Logging and configuration are the server's business here."""


def _no_models(version: str = "v2") -> dict[str, Any]:
    return {}


_CONTENTS: dict[str, Callable[[ModuleType, str], None]] = {
    "deepaas": _fill(__version__=VERSION, extract_version=lambda: VERSION),
    "deepaas.config": _config,
    "deepaas.exceptions": _fill(ModuleNotFoundError=ModuleNotFoundError),
    "deepaas.log": _fill(
        getLogger=oslo.get_logger, setup=_nothing, register_options=_nothing, LOG=oslo.get_logger()
    ),
    "deepaas.model": _fill(V2_MODELS={}, register_v2_models=_nothing),
    "deepaas.model.loading": _fill(
        NAMESPACES={"v2": "deepaas.v2.model"},
        get_available_models=_no_models,
        get_available_model_names=lambda version="v2": frozenset(),
    ),
    "deepaas.model.v2": _fill(MODELS={}, MODELS_LOADED=True, register_models=_nothing),
    "deepaas.model.v2.base": _fill(BaseModel=BaseModel),
    "deepaas.model.v2.wrapper": _fill(UploadedFile=UploadedFile, ReturnedFile=ReturnedFile),
    "oslo_config": _fill(),
    "oslo_config.cfg": oslo.fill_config,
    "oslo_log": _fill(),
    "oslo_log.log": oslo.fill_log,
    "pkg_resources": distributions.fill,
}
