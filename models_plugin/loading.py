"""Imports a plugin and puts the right adapter before it. Runs in workers and run processes only."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import PluginFailed
from .native import NativePlugin
from .plugin import NATIVE_GROUP, Plugin, PluginSource
from .refusals import plugin_code


def open_plugin(source: PluginSource) -> Plugin:
    """The plugin behind an entry point, its contract checked.

    Raises PluginFailed, which names the plugin, what is wrong and the remedy.
    """
    if source.problem:
        raise PluginFailed(source.problem)
    if source.group != NATIVE_GROUP:
        raise PluginFailed(
            f"Model {source.name!r}: no adapter for entry points of the group {source.group!r}."
        )
    return NativePlugin(source, _import(source))


def _import(source: PluginSource) -> Any:
    module_name, _, attribute = source.value.partition(":")
    with plugin_code(f"importing the model {source.name!r} ({source.value})"):
        target: Any = importlib.import_module(module_name)
        for part in filter(None, attribute.split(".")):
            target = getattr(target, part)
        return target() if isinstance(target, type) else target
