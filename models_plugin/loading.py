"""Imports a plugin and puts the right adapter before it. Runs in workers and run processes only."""

from __future__ import annotations

import importlib
from typing import Any, cast

from ..errors import PluginFailed
from .plugin import DEEPAAS_GROUP, NATIVE_GROUP, Plugin, PluginSource
from .refusals import plugin_code


def open_plugin(source: PluginSource) -> Plugin:
    """The plugin behind an entry point, its contract checked.

    Raises PluginFailed, which names the plugin, what is wrong and the remedy.
    """
    if source.problem:
        raise PluginFailed(source.problem)
    plugin = _opened(source)
    if source.urls == "any":
        return plugin
    from .fetching import UrlGuarded

    return cast(Plugin, UrlGuarded(plugin, source.name, source.urls))


def _opened(source: PluginSource) -> Plugin:
    # Each contract's own imports only: a worker is small, and its environment may lack the other's.
    if source.group == DEEPAAS_GROUP:
        from .deepaas.adapter import DeepaasPlugin
        from .deepaas.preparing import prepare

        prepare(source.name)
        return DeepaasPlugin(source, _import(source))
    if source.group == NATIVE_GROUP:
        from .native import NativePlugin

        return NativePlugin(source, _import(source))
    raise PluginFailed(
        f"Model {source.name!r}: no adapter for entry points of the group {source.group!r}."
    )


def _import(source: PluginSource) -> Any:
    with plugin_code(f"importing the model {source.name!r} ({source.value})"):
        return target_of(source)


def target_of(source: PluginSource) -> Any:
    """The object that the entry point names; raises whatever its import raises."""
    module_name, _, attribute = source.value.partition(":")
    target: Any = importlib.import_module(module_name)
    for part in filter(None, attribute.split(".")):
        target = getattr(target, part)
    return _instance(target, source) if isinstance(target, type) else target


def _instance(cls: Any, source: PluginSource) -> Any:
    try:
        return cls()
    except TypeError:
        # DEEPaaS calls the functions on the class itself: a class of static methods need not be
        # one that can be made without arguments.
        if source.group != DEEPAAS_GROUP:
            raise
        return cls
