"""How well a network does on a split. Runs in the run process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .network import Network, scaled
from .pixels import Pixels

_SHOWN_CLASSES = 200
"""Classes up to which the confusion matrix stands in the run's record."""


@dataclass(frozen=True)
class Evaluation:
    """`loss`: mean cross-entropy, unsmoothed and unweighted. `confusion`: int64 (classes, classes),
    rows are the true classes, columns the predicted ones."""

    loss: float
    confusion: Tensor

    @property
    def accuracy(self) -> float:
        return float(self.confusion.trace()) / max(1, int(self.confusion.sum()))

    def to_data(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """JSON. A class that was never predicted has no precision (null), one without pictures no
        recall."""
        hits = self.confusion.diagonal()
        predicted, support = self.confusion.sum(0), self.confusion.sum(1)
        per_class = {
            name: {
                "precision": _share(hits[index], predicted[index]),
                "recall": _share(hits[index], support[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(classes)
        }
        data = {"accuracy": self.accuracy, "loss": self.loss, "per_class": per_class}
        if len(classes) <= _SHOWN_CLASSES:
            data["confusion_matrix"] = self.confusion.tolist()
        return data


@torch.inference_mode()
def evaluate(network: Network, pixels: Pixels, batch_size: int, device: str) -> Evaluation:
    """Leaves the network in evaluation mode."""
    network.eval()
    classes = network.head.out_features
    confusion = torch.zeros(classes * classes, dtype=torch.int64)
    loss = 0.0
    for pictures, labels in pixels.batches(torch.arange(len(pixels)).split(batch_size)):
        logits = network(scaled(pictures.to(device))).cpu()
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        confusion += torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2)
    return Evaluation(loss / max(1, len(pixels)), confusion.view(classes, classes))


def _share(part: Tensor, whole: Tensor) -> float | None:
    return float(part) / float(whole) if whole else None
