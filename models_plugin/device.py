"""Which device `auto` means, in the process that will use it. Python 3.8 syntax."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import PluginFailed


def resolve_device(setting: str) -> str:
    """`cuda` if the plugin brought torch and torch sees a GPU, else `cpu`; others as they are.

    torch is looked for among what is imported: a model without torch must not pay for it. Raises
    PluginFailed for a GPU that torch does not see: what torch says itself, when weights are moved
    there at last, names neither the setting nor what there is.
    """
    torch = sys.modules.get("torch")
    if setting == "auto":
        return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
    if torch is not None and setting.startswith("cuda"):
        _refuse_missing(setting, torch)
    return setting


def _refuse_missing(setting: str, torch: Any) -> None:
    number = int(setting.partition(":")[2] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number < count:
        return
    if count:
        seen = f"torch sees {count} (cuda:0 to cuda:{count - 1})" if count > 1 else "torch sees one"
    elif torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        seen = f"this torch ({torch.__version__}) was built without GPUs"
    else:
        seen = "torch sees none"
    raise PluginFailed(
        f"device = {setting}: there is no such GPU here, {seen}. Set device to one that is there, "
        "to auto or to cpu (--device, or in [models.NAME])."
    )
