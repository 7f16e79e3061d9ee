"""Which device `auto` means, in the process that will use it. Python 3.8 syntax."""

from __future__ import annotations

import sys


def resolve_device(setting: str) -> str:
    """`cuda` if the plugin brought torch and torch sees a GPU, else `cpu`; others as they are.

    torch is looked for among what is imported: a model without torch must not pay for it.
    """
    if setting != "auto":
        return setting
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
