"""A weights folder: model.safetensors, and description.json that says what it is. No pickle, but
a model.pt in the place of the tensors where the operator allows it (`torch_files`).

description.json  {"format": 1, "classes", "info", "normalisation": {"mean", "std"}, "image_size",
                   "channels", "architecture", "arguments"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import NotPermitted, PluginFailed
from ..torch_files import load_torch_state
from .network import SIZES, Network
from .normalisation import Normalisation

FORMAT = 1
_TENSORS, _DESCRIPTION = "model.safetensors", "description.json"
_PICKLED = "model.pt"


class BadWeights(Exception):
    """The folder holds no weights of this model."""


@dataclass(frozen=True)
class WeightsDescription:
    """What a network was trained to do. `classes` in the order of its outputs; `image_size` in
    pixels; `info`: a text for each class, if the data had one; `arguments`: of its training."""

    classes: tuple[str, ...]
    normalisation: Normalisation
    image_size: int
    channels: int
    architecture: str
    arguments: Mapping[str, Any]
    info: tuple[str, ...] | None = None

    def build(self) -> Network:
        """An untrained network of this description."""
        return Network(self.architecture, self.image_size, self.channels, len(self.classes))

    def to_data(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "info": None if self.info is None else list(self.info),
            "normalisation": self.normalisation.to_data(),
            "image_size": self.image_size,
            "channels": self.channels,
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> WeightsDescription:
        """Raises BadWeights if a newer release wrote it, KeyError and the like if nobody did."""
        if data["format"] != FORMAT:
            raise BadWeights(f"format {data['format']} of the weights is not known here")
        if data["architecture"] not in SIZES:
            raise BadWeights(f"the architecture {data['architecture']!r} is not known here")
        normal = data["normalisation"]
        return cls(
            tuple(data["classes"]),
            Normalisation(tuple(normal["mean"]), tuple(normal["std"])),
            int(data["image_size"]),
            int(data["channels"]),
            data["architecture"],
            dict(data["arguments"]),
            None if data.get("info") is None else tuple(data["info"]),
        )


def save_weights(folder: Path, network: Network, description: WeightsDescription) -> None:
    """Writes both files. Raises OSError."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / _TENSORS, metadata={"format": "pt"})
    text = json.dumps(description.to_data(), ensure_ascii=False, indent=1)
    (folder / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> WeightsDescription:
    """Raises BadWeights."""
    try:
        data = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        return WeightsDescription.from_data(data)
    except OSError as error:
        raise BadWeights(f"{_DESCRIPTION} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{_DESCRIPTION} is no description of weights: {error!r}") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors, mapped from the file. Raises BadWeights."""
    if not (folder / _TENSORS).exists() and (folder / _PICKLED).exists():
        try:
            return load_torch_state(folder / _PICKLED)
        except (NotPermitted, PluginFailed, OSError) as error:
            raise BadWeights(str(error)) from error
    try:
        return load_file(folder / _TENSORS)
    except (OSError, SafetensorError) as error:
        raise BadWeights(f"{_TENSORS} cannot be read: {error}") from error


def load_network(folder: Path, device: str) -> tuple[Network, WeightsDescription]:
    """The network ready to predict. Raises BadWeights.

    On the CPU its tensors stay mapped from the file: built on the meta device and assigned, so
    several workers share one copy in the page cache.
    """
    description = read_description(folder)
    with torch.device("meta"):
        network = description.build()
    try:
        network.load_state_dict(read_tensors(folder), assign=True)
    except RuntimeError as error:
        raise BadWeights(f"{_TENSORS} does not fit {_DESCRIPTION}: {error}") from error
    return network.eval().requires_grad_(False).to(device), description
