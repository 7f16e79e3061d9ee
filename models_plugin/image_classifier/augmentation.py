"""Varies a batch of training pictures. Runs in the run process, on the training's device.

All chance comes from a generator on the CPU, so that every device draws the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from .arguments import TrainSettings


@dataclass(frozen=True)
class Augmentation:
    """Strengths; see TrainArguments for their units. All zero changes nothing."""

    rotation: float = 0
    translation: float = 0
    scaling: float = 0
    flip: float = 0
    brightness: float = 0
    contrast: float = 0
    erasing: float = 0

    @classmethod
    def of(cls, settings: TrainSettings) -> Augmentation:
        if not settings.augmentation:
            return cls()
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})

    def __call__(self, pictures: Tensor, generator: Generator) -> Tensor:
        """float32 (n, c, h, w) in [0, 1] -> the same shape and range."""
        # All is drawn whatever is used: a strength set to zero leaves the other draws as they are.
        chance = torch.rand((10, len(pictures)), generator=generator)
        if self.rotation or self.translation or self.scaling or self.flip:
            pictures = self._moved(pictures, chance[:5])
        if self.brightness or self.contrast:
            pictures = self._lit(pictures, chance[5:7])
        if self.erasing:
            pictures = self._erased(pictures, chance[7:10], generator)
        return pictures

    def _moved(self, pictures: Tensor, chance: Tensor) -> Tensor:
        """Turned, scaled, mirrored and shifted in one resampling; edges are stretched outwards."""
        angle = (chance[0] * 2 - 1) * math.radians(self.rotation)
        zoom = 1 + (chance[1] * 2 - 1) * self.scaling
        mirror = torch.where(chance[2] < self.flip, -1.0, 1.0)
        shift = (chance[3:5] * 2 - 1) * self.translation * 2  # affine_grid's side is 2
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        rows = torch.stack([cosine * mirror, -sine, shift[0], sine * mirror, cosine, shift[1]], 1)
        matrix = rows.view(-1, 2, 3).to(pictures.device)
        grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
        return F.grid_sample(
            pictures, grid, mode="bilinear", padding_mode="border", align_corners=False
        )

    def _lit(self, pictures: Tensor, chance: Tensor) -> Tensor:
        signed = (chance * 2 - 1).to(pictures.device)[:, :, None, None, None]
        mean = pictures.mean((1, 2, 3), keepdim=True)
        stretched = (pictures - mean) * (1 + signed[0] * self.contrast) + mean
        return (stretched + signed[1] * self.brightness).clamp_(0, 1)

    def _erased(self, pictures: Tensor, chance: Tensor, generator: Generator) -> Tensor:
        """Blanks a rectangle with sides of 10 to 50 % to the picture's mean, after Zhong et al.,
        Random Erasing (2017)."""
        height, width = pictures.shape[2:]
        size = torch.rand((2, len(pictures)), generator=generator) * 0.4 + 0.1
        top, left = chance[1] * (1 - size[0]), chance[2] * (1 - size[1])
        rows = (torch.arange(height) + 0.5) / height
        columns = (torch.arange(width) + 0.5) / width
        in_rows = (rows >= top[:, None]) & (rows < (top + size[0])[:, None])
        in_columns = (columns >= left[:, None]) & (columns < (left + size[1])[:, None])
        blank = in_rows[:, :, None] & in_columns[:, None, :]
        blank &= (chance[0] < self.erasing)[:, None, None]
        mean = pictures.mean((1, 2, 3), keepdim=True)
        return torch.where(blank[:, None].to(pictures.device), mean, pictures)
