"""The two models that every server of the comparison serves, and the payloads sent to them.

Weights and payloads come from numpy's generator, so that all environments have the same ones
without any file between them. Needs torch, numpy and pillow only: the peers import it in
environments without modelyard.
"""

from __future__ import annotations

import io
import os

import numpy as np
import torch
from PIL import Image
from torch import nn

FEATURES, HIDDEN, CLASSES = 64, 256, 10
WIDTH, SIDE = 32, 84
"""The first convolution's channels, and the pictures' pixels a side (about 20 KB as PNG)."""
PAYLOADS = 16
"""Different payloads, sent in turn."""

torch.set_num_threads(1)
if torch.get_num_interop_threads() != 1:
    torch.set_num_interop_threads(1)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def cnn() -> nn.Module:
    def stage(taken: int, given: int) -> list[nn.Module]:
        return [nn.Conv2d(taken, given, 3, padding=1), nn.ReLU()]

    return nn.Sequential(
        *stage(3, WIDTH),
        nn.MaxPool2d(2),
        *stage(WIDTH, 2 * WIDTH),
        nn.MaxPool2d(2),
        *stage(2 * WIDTH, 4 * WIDTH),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * WIDTH, CLASSES),
    )


class Network:
    """One of the models, `perceptron` or `cnn`, with the weights of a seed.

    BENCH_CHANNELS_LAST=1 in the environment keeps the CNN in that memory format, for everybody.
    """

    def __init__(self, kind: str, seed: int = 0) -> None:
        self.kind = kind
        self._last = os.environ.get("BENCH_CHANNELS_LAST") == "1" and kind == "cnn"
        module = perceptron() if kind == "perceptron" else cnn()
        generator = np.random.default_rng(seed)
        for parameter in module.parameters():
            scale = 1.0 / max(1.0, float(np.sqrt(parameter[0].numel())))
            drawn = generator.standard_normal(tuple(parameter.shape)) * scale
            parameter.data = torch.from_numpy(drawn.astype(np.float32))
        self.load(module)

    def load(self, module: nn.Module) -> None:
        module.eval()
        self.module = module.to(memory_format=torch.channels_last) if self._last else module

    def predict(self, inputs: list[np.ndarray]) -> np.ndarray:
        """float32 (n, 10) for n rows float32 (64,), or n pictures uint8 (84, 84, 3)."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(inputs))
            if self.kind == "cnn":
                batch = batch.permute(0, 3, 1, 2)
                if not self._last:
                    batch = batch.contiguous()
                batch = batch.float().div_(255)
            return self.module(batch).numpy()


def decode(png: bytes) -> np.ndarray:
    """uint8 (84, 84, 3)."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def rows() -> np.ndarray:
    """float32 (PAYLOADS, 64), of three decimals: as text they have the length of real values."""
    drawn = np.random.default_rng(1).standard_normal((PAYLOADS, FEATURES))
    return drawn.round(3).astype(np.float32)


def pictures() -> list[bytes]:
    """PNG files of about 20 KB: noise, which no filter makes smaller."""
    drawn = np.random.default_rng(2).integers(0, 240, (PAYLOADS, SIDE, SIDE, 3), dtype=np.uint8)
    files = []
    for pixels in drawn:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png", compress_level=6)
        files.append(file.getvalue())
    return files


def expected(kind: str) -> np.ndarray:
    """float32 (PAYLOADS, 10): what each payload has to be answered with."""
    network = Network(kind)
    inputs = list(rows()) if kind == "perceptron" else [decode(png) for png in pictures()]
    return np.concatenate([network.predict([one]) for one in inputs])
