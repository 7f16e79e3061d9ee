"""What a resumed training needs beside its weights: checkpoint.state. No pickle.

state.safetensors   optimizer.N.NAME: AdamW's state of parameter N; best.NAME: the best weights
position.json       where the training stands
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_TENSORS, _POSITION = "state.safetensors", "position.json"


@dataclass
class Position:
    """Where a training stands. With `seed` it is the schedule's and the random state too: the order
    of an epoch is drawn from (seed, epoch), the variation of a batch from (seed, step).

    `epoch`: whole epochs made; `step`: optimizer steps made. `seen`, `loss_sum` and `hits` belong
    to the epoch that is under way. `stale`: epochs since the best one.
    """

    seed: int
    epoch: int = 0
    step: int = 0
    seen: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    best_epoch: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    best_accuracy: float = 0.0
    stale: int = 0


def save_state(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    position: Position,
    best: Mapping[str, Tensor] | None,
) -> None:
    tensors = {f"best.{name}": tensor for name, tensor in (best or {}).items()}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{number}.{name}"] = value.cpu().contiguous()
    save_file(tensors, folder / _TENSORS)
    (folder / _POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")


def load_state(
    folder: Path, optimizer: torch.optim.Optimizer
) -> tuple[Position, dict[str, Tensor] | None]:
    """Fills the optimizer; the position and the best weights.

    Raises OSError, ValueError or KeyError if the folder was not written by `save_state`.
    """
    position = Position(**json.loads((folder / _POSITION).read_text(encoding="utf-8")))
    best: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(folder / _TENSORS).items():
        kind, _, rest = name.partition(".")
        if kind == "best":
            best[rest] = tensor
        else:
            number, _, key = rest.partition(".")
            state.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return position, best or None
