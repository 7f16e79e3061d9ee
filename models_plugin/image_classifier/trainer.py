"""A training from its arguments to its result, in the order in which things happen.

Runs in the run process. Everything that can be wrong with the data is found before the first step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contract import Checkpoint, Run
from .arguments import TrainSettings
from .devices import bound_threads, choose_device
from .evaluation import evaluate
from .layout import SPLITS, TEST, TRAIN, VAL, Layout, read_layout
from .loop import Outcome, Training
from .network import Network, parameter_count
from .normalisation import Histogram, Normalisation
from .pixels import CACHE_BYTES, Pixels, read_headers
from .planning import Plan, plan_anew, plan_from_weights, with_classes
from .source import opened_dataset
from .splits import check_splits, count_by_class, with_validation
from .weights_file import WeightsDescription, read_tensors, save_weights


class _Interrupted(Exception):
    """The run is to stop while the data are being read."""


@dataclass(frozen=True)
class _Place:
    """Where the training runs: `pool` decodes pictures."""

    device: str
    threads: int
    seed: int
    pool: ThreadPoolExecutor


def train(run: Run, settings: TrainSettings) -> dict[str, Any]:
    """Trains, evaluates, and returns the result for the run's record.

    Raises InvalidData before the first step, ValueError if the device that the server assigned is
    not there, MemoryError if it is too small, FloatingPointError if the training diverges.
    """
    run.progress(0, 1, "opening the data set")  # said at once: silence is taken for training
    resume_from = run.resume_from  # asked for at once: whatever interrupts us now, we go on
    device = choose_device(settings.device, run.device)
    threads = bound_threads(run, settings.threads)
    seed = run.seed if settings.seed is None else settings.seed
    with (
        _out_of_memory_told(settings),
        opened_dataset(run, settings.dataset, settings.archive) as folder,
        ThreadPoolExecutor(threads, "decode") as pool,
    ):
        try:
            place = _Place(device, threads, seed, pool)
            return _train(run, settings, folder, place, resume_from)
        except _Interrupted:
            return {"ended": "stopped", "epochs": 0, "steps": 0}


def _train(
    run: Run,
    settings: TrainSettings,
    folder: Path,
    place: _Place,
    resume_from: Checkpoint | None,
) -> dict[str, Any]:
    started = time.monotonic()
    layout, plan = _plan(run, settings, folder, place)
    pixels, normalisation = _read(run, layout, plan, place)
    description = plan.describe(normalisation, settings, layout.info)
    network = plan.build(description, place.seed).to(place.device)
    training = Training(
        run, settings, network, pixels[TRAIN], pixels.get(VAL),
        _class_weights(settings, layout), place.seed, place.device,
        lambda target: save_weights(target, network, description),
    )  # fmt: skip
    if resume_from is not None:
        network.load_state_dict(read_tensors(resume_from.weights))
        training.resume(resume_from)
    run.log(
        f"{plan.architecture} network with {parameter_count(network)} parameters,"
        f" {plan.channels} x {plan.image_size} x {plan.image_size} pixels,"
        f" {len(plan.classes)} classes, on {place.device} with {place.threads} threads"
    )
    read_s = time.monotonic() - started
    run.phase("training")
    outcome = training.run()
    result = _result(layout, plan, description, outcome, place)
    result["seconds"] = {"reading": read_s, "training": time.monotonic() - started - read_s}
    if outcome.ended != "stopped":
        result["evaluation"] = _evaluate(run, network, pixels, plan, outcome, place)
    return result


def _plan(run: Run, settings: TrainSettings, folder: Path, place: _Place) -> tuple[Layout, Plan]:
    layout = read_layout(folder, run.data_root)
    check_splits(layout)
    had_validation = VAL in layout.splits
    layout = with_validation(layout, settings.validation_fraction, place.seed)
    if settings.from_weights is None:
        plan = plan_anew(settings, layout, lambda: read_headers(layout.splits[TRAIN], place.pool))
    else:
        plan = plan_from_weights(settings, layout, run.weights(settings.from_weights))
    sizes = {split: len(samples) for split, samples in layout.splits.items()}
    run.log(f"pictures: {', '.join(f'{count} {split}' for split, count in sizes.items())}")
    if not had_validation and VAL in layout.splits:
        run.log(f"{sizes[VAL]} validation pictures were taken from train, by class")
    if settings.early_stopping and VAL not in layout.splits:
        run.log("early_stopping has no effect: there is no validation split")
    for note in [*layout.notes, *plan.contradictions]:
        run.log(note)
    return with_classes(layout, plan.classes), plan


def _read(
    run: Run, layout: Layout, plan: Plan, place: _Place
) -> tuple[dict[str, Pixels], Normalisation]:
    pixels = {
        split: Pixels(layout.splits[split], plan.image_size, plan.channels, place.pool)
        for split in SPLITS
        if split in layout.splits
    }
    total = sum(len(split) for split in pixels.values())
    keep = sum(split.size_bytes for split in pixels.values()) <= CACHE_BYTES
    if not keep:
        run.log(f"the pictures take more than {CACHE_BYTES} bytes: read anew for each batch")
    histogram = Histogram(plan.channels) if plan.normalisation is None else None
    before = 0
    for name, split in pixels.items():
        split.read_all(keep, histogram if name == TRAIN else None, _telling(run, before, total))
        before += len(split)
    if plan.normalisation is not None:
        return pixels, plan.normalisation
    assert histogram is not None
    return pixels, histogram.normalisation()


def _telling(run: Run, before: int, total: int) -> Callable[[int], None]:
    def tell(read: int) -> None:
        if run.should_stop:
            raise _Interrupted
        run.progress(before + read, total, "reading pictures")

    return tell


def _class_weights(settings: TrainSettings, layout: Layout) -> Tensor | None:
    """Inverse to the number of training pictures, their mean over the pictures being 1."""
    if settings.class_weights == "none":
        return None
    counts = torch.tensor(count_by_class(layout.splits[TRAIN], len(layout.classes)))
    present = int((counts > 0).sum())
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp(min=1)), 0.0)


def _evaluate(
    run: Run,
    network: Network,
    pixels: dict[str, Pixels],
    plan: Plan,
    outcome: Outcome,
    place: _Place,
) -> dict[str, Any] | None:
    """On test, else on val, else None. Also kept as evaluation.json in the run's folder."""
    split = next((name for name in (TEST, VAL) if name in pixels), None)
    if split is None:
        return None
    run.phase("evaluating")
    evaluation = evaluate(network, pixels[split], 256, place.device)
    scalars = {f"{split}_loss": evaluation.loss, f"{split}_accuracy": evaluation.accuracy}
    if split == TEST:
        run.report(outcome.steps, **scalars)
    run.log(f"{split}: {evaluation.accuracy:.2%} of {len(pixels[split])} pictures are right")
    data = {"split": split, **evaluation.to_data(plan.classes)}
    (run.folder / "evaluation.json").write_text(json.dumps(data, ensure_ascii=False))
    return data


def _result(
    layout: Layout,
    plan: Plan,
    description: WeightsDescription,
    outcome: Outcome,
    place: _Place,
) -> dict[str, Any]:
    return {
        "ended": outcome.ended,
        "epochs": outcome.epochs,
        "steps": outcome.steps,
        "best_epoch": outcome.best_epoch or None,
        "val_loss": outcome.val_loss,
        "val_accuracy": outcome.val_accuracy,
        "evaluation": None,
        "classes": list(plan.classes),
        "pictures": {split: len(samples) for split, samples in layout.splits.items()},
        "image_size": plan.image_size,
        "channels": plan.channels,
        "architecture": plan.architecture,
        "normalisation": description.normalisation.to_data(),
        "contradictions": list(plan.contradictions),
        "notes": layout.notes,
        "seed": place.seed,
        "threads": place.threads,
        "device": place.device,
    }


@contextmanager
def _out_of_memory_told(settings: TrainSettings) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"the device has too little memory for batch_size={settings.batch_size}: take a smaller"
            f" batch_size, image_size or architecture ({error})"
        ) from error
