"""Where a training runs: its threads, and a GPU that is there or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.models_plugin.values import InvalidData

Train = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Any]
QUICK: dict[str, Any] = {"dataset": "stripes", "epochs": 2, "batch_size": 8}


def test_threads_are_at_most_those_of_the_run(make_run: MakeRun, train: Train, data: Path) -> None:
    run = make_run(threads=1, data_root=str(data))
    assert train(run, **QUICK, threads=64)["threads"] == 1 == torch.get_num_threads()
    assert "may use 1" in run.log_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(make_run: MakeRun, train: Train, data: Path) -> None:
    with pytest.raises(InvalidData, match=r"^device=cuda was asked for, but no GPU can be used"):
        train(make_run(data_root=str(data)), **{**QUICK, "dataset": "none"}, device="cuda")
    with pytest.raises(ValueError, match="assigned cuda:1, but no GPU"):
        train(make_run(data_root=str(data), device="cuda:1"), **QUICK)
    run = make_run(data_root=str(data), device="cuda")
    assert train(run, **QUICK, device="cpu")["device"] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_used_where_there_is_one(make_run: MakeRun, train: Train, data: Path) -> None:
    run = make_run(data_root=str(data), device="cuda")
    assert train(run, **QUICK)["device"] == "cuda"
    with pytest.raises(MemoryError, match="batch_size"):
        train(
            make_run(data_root=str(data), device="cuda"),
            **{**QUICK, "batch_size": 4096}, image_size=1024, architecture="large",
        )  # fmt: skip
