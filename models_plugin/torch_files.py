"""State dicts in torch's own files (.pt, .pth): pickles, read only where the operator allows it.

Even so by torch's reader of weights alone, which makes tensors and plain values and calls nothing
that a file names; there is no other way if it refuses. Runs in the worker and in the run process;
torch is imported at the first use. Python 3.8 syntax.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import NotPermitted, PluginFailed

ALLOWED = "MODELYARD_TORCH_FILES"
"""Set to 1 in a model's processes by `[models.NAME] torch_files`; the server's own stays there."""
_SAFE_SINCE = (2, 6)
"""Before it `weights_only` could be got round: CVE-2025-32434."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_torch_state(file: Path | str, device: str = "cpu") -> dict[str, Any]:
    """The tensors by name of a state dict that `torch.save` wrote; also one level down, under
    `state_dict`, `model_state_dict` or `model`.

    Raises NotPermitted unless the operator has set `[models.NAME] torch_files`, FileNotFoundError,
    and PluginFailed for a file that holds more than tensors and plain values (nothing of it has
    been run), and for a torch that cannot tell them apart.
    """
    name = Path(file).name
    if os.environ.get(ALLOWED) != "1":
        raise NotPermitted(
            f"{name} is a pickle, which can hold code, and is not read. Write its tensors with "
            "safetensors.torch.save_file; or the operator allows such files for this model: "
            "[models.NAME] torch_files = true."
        )
    try:
        import torch
    except ImportError:
        raise PluginFailed(f"{name} is not read: this model's environment has no torch.") from None

    release = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if release < _SAFE_SINCE:
        raise PluginFailed(
            f"{name} is not read: torch {torch.__version__} can be made to run code by such files. "
            "Install torch 2.6 or newer where this model runs."
        )
    with Path(file).open("rb") as stream:
        try:
            found = torch.load(stream, map_location=device, weights_only=True)
        except Exception as error:  # pickle's, zip's and torch's own, for files of any content
            raise PluginFailed(
                f"{name} is not read: it is no file of torch.save, or holds more than tensors and "
                f"plain values. {str(error).splitlines()[0][:300] if str(error) else ''}".rstrip()
            ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    ):
        raise PluginFailed(f"{name} holds no state dict: tensors by their names.")
    return dict(found)
