"""Does something to a module right after it was imported, whenever that is. Python 3.8 syntax."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def after_import(name: str, patch: Callable[[ModuleType], None]) -> None:
    """Calls `patch(module)` when the module `name` has been imported; now, if it has been."""
    module = sys.modules.get(name)
    if module is not None:
        patch(module)
        return
    finder = next((one for one in sys.meta_path if isinstance(one, _Watcher)), None)
    if finder is None:
        finder = _Watcher()
        sys.meta_path.insert(0, finder)
    finder.patches.setdefault(name, []).append(patch)


class _Watcher(importlib.abc.MetaPathFinder):
    """Finds as the other finders do, and has patches applied after the module's own code ran."""

    def __init__(self) -> None:
        self.patches: dict[str, list[Callable[[ModuleType], None]]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        patches = self.patches.pop(name, None)  # popped: the other finders are asked just below
        if patches is None:
            return None
        spec = None
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    break
        if spec is None or spec.loader is None:
            self.patches[name] = patches
            return None
        spec.loader = _Loader(spec.loader, patches)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, patches: list[Callable[[ModuleType], None]]) -> None:
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # importlib looks at these, and so do inspect and pkgutil.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)
