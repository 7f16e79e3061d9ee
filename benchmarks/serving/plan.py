"""What was asked for: which scenes, how long, where the environments are, and where it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from load import Generator


@dataclass(frozen=True)
class Plan:
    """`folder` is for homes and logs; `environments` has one environment for each peer."""

    peers: tuple[str, ...]
    seconds: float
    rounds: int
    swaps: int
    predicts: int
    overload_s: float
    folder: Path
    environments: Path
    generator: Generator

    def say(self, line: str) -> None:
        print(line, flush=True)
