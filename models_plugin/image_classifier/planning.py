"""What the network will be: from the arguments, the data, and the weights it starts from.

Runs in the run process. Weights that are fine-tuned decide over the arguments: their normalisation,
channels, image size, architecture and classes are carried forward. What contradicts them is told.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..values import InvalidData
from .arguments import DEFAULT_ARCHITECTURE, TrainSettings
from .images import ImageHeader
from .layout import Layout
from .network import Network
from .normalisation import Normalisation
from .weights_file import (
    BadWeights,
    WeightsDescription,
    read_description,
    read_tensors,
)

_SMALLEST, _LARGEST = 8, 128  # pixels; of an image size that the data decide


@dataclass(frozen=True)
class Plan:
    """`normalisation` is None where the training split is yet to be measured; `source` is the
    folder of the weights to start from; `contradictions` are sentences for the record."""

    classes: tuple[str, ...]
    image_size: int
    channels: int
    architecture: str
    normalisation: Normalisation | None = None
    source: Path | None = None
    contradictions: tuple[str, ...] = ()

    def describe(
        self, normalisation: Normalisation, settings: TrainSettings, info: tuple[str, ...] | None
    ) -> WeightsDescription:
        return WeightsDescription(
            self.classes, normalisation, self.image_size, self.channels, self.architecture,
            settings.to_data(), info,
        )  # fmt: skip

    def build(self, description: WeightsDescription, seed: int) -> Network:
        """The network to train: drawn by `seed`, then filled from `source`. Raises InvalidData."""
        network = description.build()
        network.start(seed)
        if self.source is not None:
            try:
                _fill(network, self.source)
            except (BadWeights, RuntimeError) as error:
                raise InvalidData(f"the weights to fine-tune cannot be used: {error}") from error
        network.normalise(description.normalisation)
        return network


def plan_anew(
    settings: TrainSettings, layout: Layout, headers: Callable[[], Sequence[ImageHeader]]
) -> Plan:
    """`headers` reads those of the training pictures; called only if the data have to decide."""
    size, channels = settings.image_size, settings.channels
    if size is None or channels is None:
        read = headers()
        size = size or _size_of(read)
        channels = channels or (1 if all(header.grey for header in read) else 3)
    return Plan(layout.classes, size, channels, settings.architecture or DEFAULT_ARCHITECTURE)


def plan_from_weights(settings: TrainSettings, layout: Layout, folder: Path) -> Plan:
    """Classes of the data that the weights do not know are added behind theirs.

    Raises InvalidData if the folder holds no weights of this model.
    """
    try:
        known = read_description(folder)
    except BadWeights as error:
        raise InvalidData(f"the weights to fine-tune cannot be used: {error}") from error
    told = []
    for name in ("image_size", "channels", "architecture"):
        asked, given = getattr(settings, name), getattr(known, name)
        if asked not in (None, given):
            told.append(f"{name}={asked} was asked for; the weights have {given}, which is used")
    new = tuple(name for name in layout.classes if name not in known.classes)
    absent = [name for name in known.classes if name not in layout.classes]
    if new:
        told.append(f"classes that the weights do not know were added: {_listed(new)}")
    if absent:
        told.append(
            f"classes of the weights that the data do not have were kept: {_listed(absent)}"
        )
    return Plan(
        known.classes + new, known.image_size, known.channels, known.architecture,
        known.normalisation, folder, tuple(told),
    )  # fmt: skip


def with_classes(layout: Layout, classes: tuple[str, ...]) -> Layout:
    """`layout` with its labels counted along `classes`, which has all of its own."""
    if classes == layout.classes:
        return layout
    label_of = [classes.index(name) for name in layout.classes]
    splits = {
        split: [replace(sample, label=label_of[sample.label]) for sample in samples]
        for split, samples in layout.splits.items()
    }
    # Texts of the classes do not reach over the classes of the weights.
    return replace(layout, classes=classes, splits=splits, info=None)


def _fill(network: Network, folder: Path) -> None:
    """Copies the weights; rows of the last layer for added classes stay as they were drawn."""
    tensors = read_tensors(folder)
    own = network.state_dict()
    with torch.no_grad():
        for name in ("head.weight", "head.bias"):
            rows = tensors[name].shape[0]
            tensors[name] = torch.cat([tensors[name], own[name][rows:]])
    network.load_state_dict(tensors)


def _size_of(headers: Sequence[ImageHeader]) -> int:
    """The median of the longer sides, as a multiple of 8."""
    median = statistics.median(max(header.width, header.height) for header in headers)
    return min(max(round(median / 8) * 8, _SMALLEST), _LARGEST)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
