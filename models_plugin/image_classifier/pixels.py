"""The pictures of one split as batches of pixels: kept in memory, or read anew for each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from torch import Tensor

from .images import BadImage, ImageHeader, decode, read_header
from .layout import Sample
from .normalisation import Histogram

CACHE_BYTES = 2 << 30
"""Bytes of decoded pictures, all splits together, up to which they stay in memory."""

_READ_TOGETHER = 256  # pictures


def read_headers(samples: Sequence[Sample], pool: Executor) -> list[ImageHeader]:
    """Sizes and kinds of all pictures. Raises InvalidData naming the first that is unreadable."""

    def read(sample: Sample) -> ImageHeader:
        try:
            return read_header(sample.path)
        except BadImage as error:
            raise sample.fault(str(error)) from error

    return list(pool.map(read, samples, chunksize=64))


class Pixels:
    """One split. `labels` is int64 (n,). Reading a picture raises InvalidData if it cannot be."""

    def __init__(self, samples: Sequence[Sample], size: int, channels: int, pool: Executor) -> None:
        self.labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        self._samples = samples
        self._shape = (channels, size, size)
        self._pool = pool
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def size_bytes(self) -> int:
        """What all of them take once decoded."""
        return len(self) * int(np.prod(self._shape))

    def read_all(
        self, keep: bool, histogram: Histogram | None, each: Callable[[int], None]
    ) -> None:
        """Decodes every picture once, so that a bad one is found before the first step.

        With `keep` they stay in memory. Adds them to `histogram`; calls `each` with how many are
        read; whatever it raises ends the reading.
        """
        kept = torch.empty((len(self), *self._shape), dtype=torch.uint8) if keep else None
        for start in range(0, len(self), _READ_TOGETHER):
            part = self._decode(range(start, min(start + _READ_TOGETHER, len(self))))
            if histogram is not None:
                histogram.add(part)
            if kept is not None:
                kept[start : start + len(part)] = part
            each(start + len(part))
        self._kept = kept

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 (len(indices), channels, size, size)."""
        if self._kept is not None:
            return self._kept[indices]
        return self._decode(indices.tolist())

    def batches(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures and labels for each tensor of indices; where it must read, one batch ahead."""
        if self._kept is not None:
            for indices in orders:
                yield self._kept[indices], self.labels[indices]
            return
        waiting: tuple[list[object], Tensor] | None = None
        for indices in orders:
            started = [self._pool.submit(self._one, index) for index in indices.tolist()]
            if waiting is not None:
                yield _stacked(waiting[0]), self.labels[waiting[1]]
            waiting = (list(started), indices)
        if waiting is not None:
            yield _stacked(waiting[0]), self.labels[waiting[1]]

    def _decode(self, indices: Iterable[int]) -> Tensor:
        return torch.from_numpy(np.stack(list(self._pool.map(self._one, indices))))

    def _one(self, index: int) -> np.ndarray:
        sample = self._samples[index]
        try:
            return decode(sample.path, self._shape[1], self._shape[0])
        except BadImage as error:
            raise sample.fault(str(error)) from error


def _stacked(futures: list) -> Tensor:
    return torch.from_numpy(np.stack([future.result() for future in futures]))
