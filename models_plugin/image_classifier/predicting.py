"""Pictures to probabilities. Runs in the worker."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InvalidArguments
from ..values import UploadedFile
from .exporting import export_network
from .images import BadImage, decode
from .network import scaled
from .weights_file import WeightsDescription, load_network

_BATCH = 256  # pictures in one forward


class Predictor:
    """A trained network and what it knows. Raises BadWeights if the folder holds none."""

    def __init__(self, weights: Path, device: str) -> None:
        self._network, self.description = load_network(weights, device)
        self._device = device
        # torch's threads are what the server allows this process.
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), "decode")

    def warm(self) -> None:
        """A first forward: the second is several times faster."""
        size, channels = self.description.image_size, self.description.channels
        self._probabilities(np.zeros((1, channels, size, size), np.uint8))

    def predict(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answer of each call {"image": [files], "top_k": n}; all pictures in one forward.

        Raises InvalidArguments naming the first file that is no picture.
        """
        files = [file for call in calls for file in call["image"]]
        rows = iter(self._classify(files))
        return [
            {
                "predictions": [
                    _prediction(self.description, file, next(rows), call["top_k"])
                    for file in call["image"]
                ]
            }
            for call in calls
        ]

    def export(self, wanted: str, folder: Path) -> dict[str, Any]:
        """See `exporting.export_network`."""
        return export_network(self._network, self.description, wanted, folder)

    def _classify(self, files: Sequence[UploadedFile]) -> list[list[float]]:
        rows: list[list[float]] = []
        for start in range(0, len(files), _BATCH):
            part = files[start : start + _BATCH]
            # A single picture is not worth the way to another thread.
            decoded = (
                map(self._decode, part) if len(part) < 3 else self._pool.map(self._decode, part)
            )
            rows += self._probabilities(np.stack(list(decoded))).tolist()
        return rows

    def _decode(self, file: UploadedFile) -> np.ndarray[Any, Any]:
        try:
            with file.open() as stream:
                return decode(stream, self.description.image_size, self.description.channels)
        except BadImage as error:
            # A whole body has no name.
            where = f"{file.original_filename}: " if file.original_filename else ""
            raise InvalidArguments({"image": [f"{where}{error}"]}) from error

    @torch.inference_mode()
    def _probabilities(self, pictures: np.ndarray[Any, Any]) -> Tensor:
        """uint8 (n, channels, size, size) -> float32 (n, classes) on the CPU."""
        batch = scaled(torch.from_numpy(pictures).to(self._device))
        return self._network(batch).softmax(1).cpu()


def _prediction(
    description: WeightsDescription, file: UploadedFile, row: list[float], top_k: int
) -> dict[str, Any]:
    order = sorted(range(len(row)), key=lambda index: -row[index])[:top_k]
    top = [{"label": description.classes[index], "probability": row[index]} for index in order]
    return {
        "filename": file.original_filename,
        **top[0],
        "top": top,
        "probabilities": dict(zip(description.classes, row, strict=True)),
    }
