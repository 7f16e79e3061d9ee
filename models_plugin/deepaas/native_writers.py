"""The functions of libraries that open a file in C++, Rust or C: told which one.

No audit event tells of it, and a small file is written too quickly to be seen in /proc. For the
time of a training each stands behind one that tells the path first. Runs in the run process.
Python 3.8 syntax.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

# Looked up by their libraries at each call: the module, its name there, the path's argument.
_WRITERS = (
    ("torch._C", "PyTorchFileWriter", 0, "file_name"),  # torch.save
    ("torch.jit", "save", 1, "f"),
    ("h5py.h5f", "create", 0, "name"),  # h5py.File(path, "w"): Keras' .h5
    ("safetensors.torch", "serialize_file", 1, "filename"),
    ("safetensors.numpy", "serialize_file", 1, "filename"),
)


class NativeWriters:
    """Has `heard` called with each path, from `attach` to `detach`."""

    def __init__(self, heard: Callable[[Any], None]) -> None:
        self._heard = heard
        self._attached: dict[tuple[str, str], tuple[Any, Any]] = {}

    def attach(self) -> None:
        """To the libraries that are imported by now; again for those that come later."""
        for module_name, name, place, keyword in _WRITERS:
            module = sys.modules.get(module_name)
            function = getattr(module, name, None)
            if function is not None and (module_name, name) not in self._attached:
                told = _telling(function, place, keyword, self._heard)
                self._attached[module_name, name] = (function, told)
                setattr(module, name, told)

    def detach(self) -> None:
        for (module_name, name), (function, told) in self._attached.items():
            module = sys.modules.get(module_name)
            if getattr(module, name, None) is told:  # the training may have put its own there
                setattr(module, name, function)
        self._attached.clear()


def _telling(
    function: Callable[..., Any], place: int, keyword: str, heard: Callable[[Any], None]
) -> Callable[..., Any]:
    def told(*values: Any, **named: Any) -> Any:
        path = values[place] if len(values) > place else named.get(keyword)
        if path is not None:
            heard(path)
        return function(*values, **named)

    return told
