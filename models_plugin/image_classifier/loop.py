"""The training loop: optimizer steps, validation, checkpoints. Runs in the run process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contract import Checkpoint, Run
from .arguments import TrainSettings
from .augmentation import Augmentation
from .evaluation import Evaluation, evaluate
from .network import Network, scaled
from .pixels import Pixels
from .schedule import Schedule
from .state_file import Position, load_state, save_state

_EVALUATION_BATCH = 256  # pictures


@dataclass(frozen=True)
class Outcome:
    """`ended`: "completed", "early_stopping" or "stopped" (asked to). `best_epoch` is 0 and the
    numbers are None without validation. After the loop the network has the best weights."""

    ended: str
    epochs: int
    steps: int
    best_epoch: int
    val_loss: float | None
    val_accuracy: float | None


class Training:
    """One training of one network.

    `save_weights(folder)` writes the network as it is; `class_weights` is float32 (classes,).
    """

    def __init__(
        self,
        run: Run,
        settings: TrainSettings,
        network: Network,
        train: Pixels,
        val: Pixels | None,
        class_weights: Tensor | None,
        seed: int,
        device: str,
        save_weights: Callable[[Path], None],
    ) -> None:
        self._run, self._settings, self._device = run, settings, device
        self._network, self._train, self._val = network, train, val
        self._class_weights = None if class_weights is None else class_weights.to(device)
        self._save_weights = save_weights
        self._augment = Augmentation.of(settings)
        self._sizes = batch_sizes(len(train), settings.batch_size)
        self._schedule = Schedule.of(settings, len(self._sizes))
        self._optimizer = _optimizer(network, settings)
        self._position = Position(seed)
        self._best: dict[str, Tensor] | None = None
        self._saved_step = 0

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on where `checkpoint` was made; the network has its weights already."""
        self._position, self._best = load_state(checkpoint.state, self._optimizer)
        self._saved_step = self._position.step
        self._run.log(f"resumed after step {self._position.step}")

    def run(self) -> Outcome:
        """Trains to the end, or until the run is to stop. At the end a checkpoint holds the result.

        Raises FloatingPointError if the loss is no number any more.
        """
        ended = "completed"
        while not self._exhausted() and self._position.epoch < self._settings.epochs:
            if not self._epoch():
                ended = "stopped"
                break
            self._end_epoch()
        if ended != "stopped" and self._exhausted():
            patience = self._settings.early_stopping
            self._run.log(f"no better validation loss in {patience} epochs: ended early")
            ended = "early_stopping"
        if self._saved_step != self._position.step:
            self._checkpoint(None, {})
        return self._outcome(ended)

    def _exhausted(self) -> bool:
        """True once the validation loss has not become better for long enough."""
        patience = self._settings.early_stopping
        return bool(patience) and self._val is not None and self._position.stale >= patience

    # -- one epoch ----------------------------------------------------------------------------

    def _epoch(self) -> bool:
        """Makes the steps that this epoch still needs; False if the run is to stop."""
        self._network.train()
        position = self._position
        order = torch.randperm(
            len(self._train), generator=_generator(position.seed, 2 * position.epoch)
        )
        made = position.step - position.epoch * len(self._sizes)
        for pictures, labels in self._train.batches(order.split(self._sizes)[made:]):
            if self._run.should_stop:
                return False
            self._step(pictures, labels)
        return True

    def _step(self, pictures: Tensor, labels: Tensor) -> None:
        position = self._position
        rate = self._schedule.rate(position.step + 1)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        generator = _generator(position.seed, 2 * position.step + 1)
        varied = self._augment(scaled(pictures.to(self._device)), generator)
        labels = labels.to(self._device)
        logits = self._network(varied)
        loss = F.cross_entropy(
            logits, labels, self._class_weights, label_smoothing=self._settings.label_smoothing
        )
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        position.step += 1
        self._note(float(loss.detach()), int((logits.argmax(1) == labels).sum()), len(labels), rate)

    def _note(self, loss: float, hits: int, count: int, rate: float) -> None:
        position = self._position
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} after step {position.step}: try a smaller learning_rate"
            )
        position.seen += count
        position.loss_sum += loss * count
        position.hits += hits
        self._run.report(position.step, loss=loss, learning_rate=rate)
        self._run.progress(
            position.step,
            self._schedule.total,
            f"epoch {position.epoch + 1}/{self._settings.epochs}, loss {loss:.3f},"
            f" accuracy {position.hits / position.seen:.1%}",
        )

    def _end_epoch(self) -> None:
        position = self._position
        position.epoch += 1
        metrics = {
            "epoch": float(position.epoch),
            "train_loss": position.loss_sum / position.seen,
            "train_accuracy": position.hits / position.seen,
        }
        position.seen, position.loss_sum, position.hits = 0, 0.0, 0
        better, metric = False, None
        if self._val is not None:
            evaluation = evaluate(self._network, self._val, _EVALUATION_BATCH, self._device)
            better, metric = self._compare(evaluation), evaluation.loss
            metrics["val_loss"] = evaluation.loss
            metrics["val_accuracy"] = evaluation.accuracy
        self._run.report(position.step, **metrics)
        self._run.log(_line(position.epoch, self._settings.epochs, metrics))
        last = position.epoch == self._settings.epochs
        if better or last or position.epoch % self._settings.save_every == 0:
            self._checkpoint(metric, metrics)

    def _compare(self, evaluation: Evaluation) -> bool:
        position = self._position
        if not evaluation.loss < position.best_loss:
            position.stale += 1
            return False
        position.stale = 0
        position.best_epoch, position.best_step = position.epoch, position.step
        position.best_loss, position.best_accuracy = evaluation.loss, evaluation.accuracy
        self._best = {
            name: tensor.detach().cpu().clone()
            for name, tensor in self._network.state_dict().items()
        }
        return True

    # -- results ------------------------------------------------------------------------------

    def _checkpoint(self, metric: float | None, metrics: dict[str, float]) -> None:
        position = self._position
        saving = self._run.checkpoint(
            position.step, metric, higher_is_better=False, metrics=metrics
        )
        with saving as checkpoint:
            self._save_weights(checkpoint.weights)
            save_state(checkpoint.state, self._optimizer, position, self._best)
        self._saved_step = position.step

    def _outcome(self, ended: str) -> Outcome:
        position = self._position
        known = position.best_epoch > 0
        if ended != "stopped" and self._best is not None:
            self._network.load_state_dict(self._best)
        return Outcome(
            ended,
            position.epoch,
            position.step,
            position.best_epoch,
            position.best_loss if known else None,
            position.best_accuracy if known else None,
        )


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """How an epoch of `count` pictures is cut. A single one that is left over joins the batch
    before it, since a batch norm cannot train on one picture of one pixel."""
    sizes = [batch_size] * (count // batch_size)
    rest = count % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def _optimizer(network: Network, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other one-dimensional parameters are not decayed.

    fused: one kernel for all parameters, on the CPU too; there it also is the fastest first step.
    """
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def _generator(seed: int, number: int) -> torch.Generator:
    """A stream of its own for each (seed, number): a resumed training draws what an unbroken one
    would, from any step."""
    # splitmix64's constant spreads neighbours apart (Steele et al., 2014).
    mixed = (seed + (number + 1) * 0x9E3779B97F4A7C15) % 2**63
    return torch.Generator().manual_seed(mixed)


def _line(epoch: int, epochs: int, metrics: dict[str, float]) -> str:
    parts = [f"{name} {value:.4f}" for name, value in metrics.items() if name != "epoch"]
    return f"epoch {epoch}/{epochs}: {', '.join(parts)}"
