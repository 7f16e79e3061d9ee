"""The built-in image classifier as the native contract sees it. Entry point `image-classifier`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..contract import Model, Run
from .arguments import (
    EXPORT_FORMATS,
    PredictArguments,
    PredictResponse,
    TrainArguments,
    TrainSettings,
)
from .predicting import Predictor
from .reading import read_dataset
from .trainer import train


class ImageClassifier(Model):
    """Trains on folders of pictures, tells the class of new ones."""

    predict_arguments = PredictArguments
    predict_response = PredictResponse
    train_arguments = TrainArguments
    export_formats = EXPORT_FORMATS
    max_batch = 64

    def __init__(self) -> None:
        self._predictor: Predictor | None = None

    def metadata(self) -> dict[str, Any]:
        """With weights also what they can tell apart."""
        told: dict[str, Any] = {
            "summary": "Trains on labelled pictures and tells the class of new ones.",
            "description": "A small residual network in three sizes. Upload an archive of pictures"
            " (train/CLASS/*.png, with val and test if you have them) to train it.",
            "author": "Modelyard",
            "license": "Apache-2.0",
        }
        if self._predictor is not None:
            description = self._predictor.description.to_data()
            names = ("classes", "info", "image_size", "channels", "architecture", "normalisation")
            told["weights"] = {name: description[name] for name in names}
        return told

    def load(self, weights: Path | None, device: str) -> None:
        """Raises BadWeights if `weights` holds none of this model."""
        self._predictor = None if weights is None else Predictor(weights, device)

    def warm(self) -> None:
        if self._predictor is not None:
            self._predictor.warm()

    def predict(self, **arguments: Any) -> dict[str, Any]:
        return self.predict_batch([arguments])[0]

    def predict_batch(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """A file that is no picture fails the whole batch; the pool then tries each call alone."""
        if self._predictor is None:
            raise RuntimeError("predict was called before any weights were loaded")
        return self._predictor.predict(calls)

    def export(self, format: str, folder: Path) -> dict[str, Any]:
        """Raises NotSupported with the remedy if a library is missing, and WrongExport."""
        if self._predictor is None:
            raise RuntimeError("export was called before any weights were loaded")
        return self._predictor.export(format, folder)

    def train(self, run: Run, **arguments: Any) -> dict[str, Any]:
        return train(run, TrainSettings(**arguments))

    def read_dataset(self, folder: Path) -> dict[str, Any]:
        """Raises InvalidData if there is nothing that it could train on."""
        return read_dataset(folder)
