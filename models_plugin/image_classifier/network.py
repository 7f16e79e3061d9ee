"""A small residual network of our own in three sizes, with the input's normalisation inside.

After He et al., Deep Residual Learning (2015), section 4.2, the CIFAR form: a 3x3 stem and three
stages that double the width and halve the side, each block of two 3x3 convolutions; then the mean
over the picture and one linear layer. The last norm of each block starts at zero, so that a block
starts as the identity (Goyal et al., 2017, section 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .normalisation import Normalisation


@dataclass(frozen=True)
class Size:
    """`width`: channels of the first stage; `blocks`: of each stage."""

    width: int
    blocks: int


SIZES = {"small": Size(16, 1), "medium": Size(32, 2), "large": Size(64, 3)}
"""About 77 thousand, 0.7 million and 4.3 million parameters."""


class Block(nn.Module):
    """Two convolutions and a way around. (n, inner, h, w) -> (n, outer, h/stride, w/stride)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.around = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.around(x))


class Network(nn.Module):
    """Pictures to logits: float32 (n, channels, size, size) in [0, 1] -> float32 (n, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        size = SIZES[architecture]
        # A large picture is made smaller before the stages: their cost stays near that of 32x32.
        stride = 1 if image_size <= 48 else 2 if image_size <= 96 else 4
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        self.stem = nn.Conv2d(channels, size.width, 2 * stride + 1, stride, stride, bias=False)
        self.norm = nn.BatchNorm2d(size.width)
        widths = [size.width, size.width * 2, size.width * 4]
        blocks: list[nn.Module] = []
        inner = size.width
        for stage, outer in enumerate(widths):
            for number in range(size.blocks):
                blocks.append(Block(inner, outer, 2 if stage and not number else 1))
                inner = outer
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Linear(inner, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        x = (pictures - self.mean) / self.std
        x = self.stages(F.relu(self.norm(self.stem(x))))  # (n, 4 width, size/4, size/4)
        return self.head(x.mean((2, 3)))

    def normalise(self, normalisation: Normalisation) -> None:
        """Folds `normalisation` in; it is saved and loaded with the weights."""
        self.mean.copy_(torch.tensor(normalisation.mean).view_as(self.mean))
        self.std.copy_(torch.tensor(normalisation.std).view_as(self.std))

    def start(self, seed: int) -> None:
        """Draws all weights, the same for the same seed, whatever was drawn before."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu", generator=generator
                )
            elif isinstance(module, Block):
                nn.init.zeros_(module.norm2.weight)
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.head.bias)


def scaled(pictures: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [0, 1], of the same shape."""
    return pictures.float().div_(255)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
