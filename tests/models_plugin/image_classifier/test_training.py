"""A training from data to weights, in a real run folder."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modelyard.models_plugin.contract import Checkpoint
from modelyard.models_plugin.image_classifier import trainer
from modelyard.models_plugin.image_classifier.weights_file import read_description
from modelyard.models_plugin.values import InvalidData, UploadedFile
from modelyard.training.paths import read_json

Train = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Any]
QUICK: dict[str, Any] = {"dataset": "stripes", "epochs": 2, "batch_size": 8}


def tensors(run: Any) -> dict[str, torch.Tensor]:
    return load_file(run.published_weights / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.slow
def test_digits_are_learned_to_97_percent_within_a_minute(
    make_run: MakeRun, train: Train, digits: Path
) -> None:
    started = time.process_time()  # one thread: a minute of an idle machine, whatever else it does
    run = make_run(threads=1, data_root=str(digits.parent))
    result = train(run, dataset="digits")
    assert result["evaluation"]["split"] == "test"
    assert result["evaluation"]["accuracy"] >= 0.97
    assert result["pictures"] == {"train": 1259, "val": 179, "test": 359}
    assert (result["image_size"], result["channels"], result["architecture"]) == (8, 1, "small")
    assert time.process_time() - started < 60


def test_the_same_seed_gives_the_same_weights_to_the_bit(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    made = []
    for seed in (5, 5, 6):
        run = make_run(threads=1, data_root=str(data), seed=seed)
        train(run, **QUICK, erasing=0.5)
        made.append(tensors(run))
    assert same(made[0], made[1]) and not same(made[0], made[2])


def test_the_seed_argument_wins_over_the_runs(make_run: MakeRun, train: Train, data: Path) -> None:
    made = []
    for seed in (1, 2):
        run = make_run(threads=1, data_root=str(data), seed=seed)
        assert train(run, **QUICK, seed=9)["seed"] == 9
        made.append(tensors(run))
    assert same(*made)


def test_the_run_is_told_of_every_step_and_epoch(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data))
    result = train(run, **QUICK)
    steps = 2 * 4
    assert result["steps"] == steps and result["ended"] == "completed"
    assert len(run.values("loss")) == len(run.values("learning_rate")) == steps
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch"):
        assert len(run.values(name)) == 2, name
    assert len(run.values("test_accuracy")) == 1
    run.reporter.flush()
    status = read_json(run.paths.status)
    assert status is not None
    assert (status["phase"], status["done"], status["total"]) == ("evaluating", steps, steps)
    assert "epoch 2/2" in run.log_text()


def test_best_is_by_validation_and_last_is_the_last(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data))
    result = train(run, **{**QUICK, "epochs": 6})
    losses = run.values("val_loss")
    best = losses.index(min(losses)) + 1
    assert (result["best_epoch"], result["val_loss"]) == (best, min(losses))
    assert (run.index.best, run.index.last) == (best * 4, 24)
    item = run.index.item(run.index.best)
    assert item.metric == min(losses) and item.metrics["val_accuracy"] == result["val_accuracy"]


def test_what_is_evaluated_is_the_best(make_run: MakeRun, train: Train, data: Path) -> None:
    shutil.copytree(data / "stripes/val", data / "other/val")
    shutil.copytree(data / "stripes/train", data / "other/train")
    run = make_run(data_root=str(data))
    # Without a test split the evaluation is on val, so it must find the best epoch's numbers.
    result = train(run, **{**QUICK, "dataset": "other", "epochs": 5, "learning_rate": 0.05})
    assert result["evaluation"]["split"] == "val"
    assert result["evaluation"]["loss"] == pytest.approx(result["val_loss"])


def test_the_evaluation_has_precision_recall_and_confusion(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data))
    evaluation = train(run, **{**QUICK, "epochs": 8})["evaluation"]
    matrix = evaluation["confusion_matrix"]
    assert [sum(row) for row in matrix] == [4, 4]
    assert evaluation["accuracy"] == (matrix[0][0] + matrix[1][1]) / 8
    down = evaluation["per_class"]["down"]
    assert down["support"] == 4 and down["recall"] == matrix[1][1] / 4
    predicted = matrix[0][1] + matrix[1][1]
    assert down["precision"] == (matrix[1][1] / predicted if predicted else None)
    assert read_json(run.folder / "evaluation.json") == evaluation


def test_the_weights_are_on_disk_before_the_evaluation(
    make_run: MakeRun, train: Train, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pictures of the test split vanish during training, and are not in memory.
    monkeypatch.setattr(trainer, "CACHE_BYTES", 0)
    pictures = data / "stripes/test"
    run = make_run(data_root=str(data), on_step=lambda step: shutil.rmtree(pictures, True))
    with pytest.raises(InvalidData, match="no such file"):
        train(run, **QUICK)
    assert run.index.last == 8
    assert read_description(run.published_weights).classes == ("across", "down")


def test_pictures_too_many_for_the_memory_train_to_the_same_weights(
    make_run: MakeRun, train: Train, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for limit in (trainer.CACHE_BYTES, 0):
        monkeypatch.setattr(trainer, "CACHE_BYTES", limit)
        run = make_run(threads=1, data_root=str(data))
        train(run, **QUICK)
        made.append(tensors(run))
    assert same(*made)


def test_an_uploaded_archive_is_trained_from_and_removed(
    make_run: MakeRun, train: Train, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (data / "stripes").rglob("*.png"):
            archive.write(file, file.relative_to(data))
    upload = UploadedFile("archive", str(path), "application/zip", "mine.zip", path.stat().st_size)
    by_name = make_run(threads=1, data_root=str(data))
    train(by_name, **QUICK)
    for field in ("archive", "dataset"):
        run = make_run(threads=1)
        train(run, **{**QUICK, "dataset": None, field: upload})
        assert same(tensors(run), tensors(by_name))
        assert [entry.name for entry in run.folder.iterdir()] == ["evaluation.json"]
        assert field not in read_description(run.published_weights).arguments


def test_a_fifo_among_the_pictures_ends_the_run_at_once(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    os.mkfifo(data / "stripes/train/down/odd.png")
    with pytest.raises(InvalidData, match=r"^train/down/odd.png: .* FIFO"):
        train(make_run(data_root=str(data)), **QUICK)


@pytest.mark.parametrize("name", ["../root/stripes", "stripes/", "strips", ".hidden", "/etc"])
def test_a_data_set_is_looked_up_and_never_joined(
    make_run: MakeRun, train: Train, data: Path, name: str
) -> None:
    (data / ".hidden").mkdir()
    with pytest.raises(InvalidData, match=r"no folder named .*stripes"):
        train(make_run(data_root=str(data)), dataset=name)


def test_without_a_data_root_the_upload_is_proposed(make_run: MakeRun, train: Train) -> None:
    with pytest.raises(InvalidData, match="upload an archive"):
        train(make_run(), dataset="stripes")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_unreadable_picture_ends_the_run_before_its_first_step(
    make_run: MakeRun, train: Train, data: Path, split: str
) -> None:
    bad = sorted((data / "stripes" / split / "down").iterdir())[-1]
    bad.write_bytes(bad.read_bytes()[:60])
    run = make_run(data_root=str(data))
    with pytest.raises(InvalidData) as caught:
        train(run, **QUICK)
    assert caught.value.file == f"{split}/down/{bad.name}"
    assert run.points == [] and run.index.last is None


def test_validation_is_taken_from_train_if_there_is_none(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    shutil.rmtree(data / "stripes/val")
    result = train(make_run(data_root=str(data)), **QUICK, validation_fraction=0.25)
    assert result["pictures"] == {"train": 24, "val": 8, "test": 8}


def test_without_validation_the_last_weights_are_chosen_and_save_every_counts(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    shutil.rmtree(data / "stripes/val")
    run = make_run(data_root=str(data))
    quick = {**QUICK, "epochs": 5, "validation_fraction": 0, "early_stopping": 1}
    result = train(run, **quick, save_every=2)
    assert run.saved == [8, 16, 20]
    assert (result["best_epoch"], run.index.best, run.index.last) == (None, None, 20)
    assert "early_stopping has no effect" in run.log_text()


def test_early_stopping_ends_after_so_many_epochs_without_a_better_one(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data))
    result = train(
        run, **{**QUICK, "epochs": 60}, early_stopping=2, learning_rate=0.1, save_every=50
    )
    assert result["ended"] == "early_stopping"
    assert result["epochs"] == result["best_epoch"] + 2 < 60
    assert run.index.last == result["steps"]


def test_a_stopped_run_keeps_a_checkpoint_and_returns_at_once(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data), stop_at=6)
    result = train(run, **QUICK)
    assert (result["ended"], result["steps"], result["evaluation"]) == ("stopped", 6, None)
    assert run.index.last == 6


def test_a_run_stopped_while_reading_makes_no_step(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    run = make_run(data_root=str(data))
    run.stop()
    assert train(run, **QUICK)["steps"] == 0
    assert run.points == []


@pytest.mark.parametrize("stop_at", [4, 6])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    make_run: MakeRun,
    train: Train,
    data: Path,
    stop_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = {**QUICK, "epochs": 3, "save_every": 50}
    unbroken = make_run(threads=1, data_root=str(data))
    expected = train(unbroken, **arguments)
    broken = make_run(threads=1, data_root=str(data), stop_at=stop_at)
    train(broken, **arguments)
    folder = broken.paths.checkpoint(broken.index.last)
    resumed = make_run(threads=1, data_root=str(data))
    checkpoint = Checkpoint(folder / "weights", folder / "state")
    monkeypatch.setattr(type(resumed), "resume_from", checkpoint)  # of another run's folder
    result = train(resumed, **arguments)
    assert resumed.points[0].step == stop_at + 1
    assert same(tensors(resumed), tensors(unbroken))
    for name in ("steps", "best_epoch", "val_loss", "evaluation"):
        assert result[name] == expected[name], name
    assert (
        resumed.values("train_loss")
        == unbroken.values("train_loss")[-len(resumed.values("train_loss")) :]
    )


def test_fine_tuning_carries_the_weights_forward_and_tells_contradictions(
    make_run: MakeRun, train: Train, data: Path, publish: Any
) -> None:
    first = make_run(data_root=str(data))
    told = train(first, **{**QUICK, "epochs": 6}, image_size=16)
    run = make_run(data_root=str(data), **publish(first))
    result = train(
        run, **{**QUICK, "epochs": 1}, from_weights="latest", learning_rate=1e-6,
        image_size=32, channels=3, architecture="large",
    )  # fmt: skip
    for name in ("image_size", "channels", "architecture", "classes", "normalisation"):
        assert result[name] == told[name], name
    assert len(result["contradictions"]) == 3
    for asked in ("image_size=32", "channels=3", "architecture=large"):
        assert any(asked in line for line in result["contradictions"])
        assert asked in run.log_text()
    # It goes on from there: hardly moved, it does as well as before.
    assert result["val_accuracy"] == pytest.approx(told["val_accuracy"], abs=0.13)


def test_fine_tuning_with_other_classes_keeps_the_old_ones_and_adds_the_new(
    make_run: MakeRun, train: Train, data: Path, publish: Any
) -> None:
    first = make_run(data_root=str(data))
    train(first, **QUICK)
    for split in ("train", "val", "test"):
        shutil.rmtree(data / "stripes" / split / "across")
        folder = data / "stripes" / split / "blank"
        folder.mkdir()
        for number, value in enumerate({"train": range(0, 99, 9)}.get(split, (ord(split[0]),))):
            Image.new("L", (8, 8), value).save(folder / f"{number}.png")
    run = make_run(data_root=str(data), **publish(first))
    result = train(run, **QUICK, from_weights="latest")
    assert result["classes"] == ["across", "down", "blank"]
    assert any("were added: blank" in line for line in result["contradictions"])
    assert any("were kept: across" in line for line in result["contradictions"])
    assert len(result["evaluation"]["confusion_matrix"]) == 3
    assert tensors(run)["head.weight"].shape[0] == 3


def test_weights_that_are_not_there_end_the_run_as_invalid_data(
    make_run: MakeRun, train: Train, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidData):
        train(make_run(data_root=str(data)), **QUICK, from_weights="cd" * 16)


def test_colour_and_size_are_taken_from_the_data(
    make_run: MakeRun, train: Train, data: Path
) -> None:
    path = sorted((data / "stripes/train/down").iterdir())[0]
    Image.new("RGB", (200, 50), "red").save(path)
    result = train(make_run(data_root=str(data)), **{**QUICK, "epochs": 1})
    assert (result["channels"], result["image_size"]) == (3, 8)
    assert len(result["normalisation"]["mean"]) == 3


@pytest.fixture(scope="module")
def usual() -> list[float]:
    """The losses without any change: of the first who asks, and the same for all (see the seed)."""
    return []


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.001},
        {"schedule": "constant"},
        {"decay_factor": 0.5},
        {"warmup_epochs": 0},
        {"weight_decay": 1.0},
        {"label_smoothing": 0.5},
        {"class_weights": "balanced"},
        {"augmentation": False},
        {"rotation": 0},
        {"batch_size": 16},
        {"image_size": 16},
        {"channels": 3},
        {"architecture": "medium"},
    ],
    ids=str,
)
def test_each_argument_has_an_effect(
    make_run: MakeRun, train: Train, data: Path, changed: dict[str, Any], usual: list[float]
) -> None:
    for path in sorted((data / "stripes/train/down").iterdir())[:6]:
        path.unlink()  # unequal classes
    losses = []
    for arguments in ([] if usual else [QUICK]) + [{**QUICK, **changed}]:
        run = make_run(threads=1, data_root=str(data))
        train(run, **arguments)
        losses.append(run.values("loss"))
    usual[:] = usual or losses[0]
    assert losses[-1] != usual


def test_a_training_that_diverges_says_what_to_do(
    make_run: MakeRun, train: Train, data: Path, publish: Any
) -> None:
    first = make_run(data_root=str(data))
    train(first, **QUICK)
    values = tensors(first)
    values["head.bias"][:] = float("inf")
    save_file(values, first.published_weights / "model.safetensors")
    with pytest.raises(FloatingPointError, match="smaller learning_rate"):
        train(make_run(data_root=str(data), **publish(first)), **QUICK, from_weights="latest")
