"""A model whose training damages what the server keeps of it, as its argument tells."""

from __future__ import annotations

import contextlib
import os
import shutil

from marshmallow import fields

from modelyard.models_plugin.contract import Model


class Damaging(Model):
    train_arguments = {"how": fields.String(load_default="")}

    def train(self, run, how):
        self.root = run.folder.parent
        return getattr(self, "_" + how)(run)

    def _save(self, run, step, metric=None):
        with run.checkpoint(step, metric=metric) as checkpoint:
            (checkpoint.weights / "weights.txt").write_text("trained")

    def _whole_folder(self, run):
        self._save(run, 1)
        shutil.rmtree(self.root)

    def _whole_folder_then_save(self, run):
        shutil.rmtree(self.root)
        self._save(run, 1)

    def _checkpoints(self, run):
        self._save(run, 1)
        shutil.rmtree(self.root / "checkpoints")

    def _checkpoints_then_save(self, run):
        shutil.rmtree(self.root / "checkpoints")
        self._save(run, 1)

    def _best_then_save(self, run):
        self._save(run, 1, 0.9)
        shutil.rmtree(self.root / "checkpoints")
        self._save(run, 2, 0.1)

    def _best_emptied(self, run):
        self._save(run, 1)
        shutil.rmtree(self.root / "checkpoints" / "0000000001" / "weights")

    def _checkpoints_are_a_file(self, run):
        shutil.rmtree(self.root / "checkpoints")
        (self.root / "checkpoints").write_text("mine")
        self._save(run, 1)

    def _checkpoint_within(self, run):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "weights.txt").write_text("trained")
            shutil.rmtree(checkpoint.weights.parent)

    def _weights_within(self, run):
        with run.checkpoint(1) as checkpoint:
            shutil.rmtree(checkpoint.weights)

    def _state_within(self, run):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "weights.txt").write_text("trained")
            shutil.rmtree(checkpoint.state)

    def _nested(self, run):
        with run.checkpoint(1) as outer:
            (outer.weights / "weights.txt").write_text("trained")
            self._save(run, 2)

    def _nested_same(self, run):
        with run.checkpoint(1) as outer:
            (outer.weights / "weights.txt").write_text("trained")
            self._save(run, 1)

    def _subfolder(self, run):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "layers" / "first.txt").write_text("trained")

    def _index_spoilt(self, run):
        self._save(run, 1)
        (self.root / "checkpoints" / "index.json").write_text("[]")

    def _index_spoilt_then_save(self, run):
        self._save(run, 1)
        (self.root / "checkpoints" / "index.json").write_text("[]")
        self._save(run, 2)

    def _run_json(self, run):
        self._save(run, 1)
        (self.root / "run.json").unlink()

    def _run_json_spoilt(self, run):
        self._save(run, 1)
        (self.root / "run.json").write_text("{}")

    def _lineage_spoilt(self, run):
        self._save(run, 1)
        (self.root / "lineage.json").write_text("[")

    def _lineage(self, run):
        self._save(run, 1)
        (self.root / "lineage.json").unlink()

    def _epoch(self, run):
        self._save(run, 1)
        (self.root / "epoch").unlink()

    def _epoch_other(self, run):
        self._save(run, 1)
        (self.root / "epoch").write_text("7")

    def _supervisor_json(self, run):
        self._save(run, 1)
        (self.root / "supervisor.json").unlink()

    def _supervisor_spoilt(self, run):
        self._save(run, 1)
        (self.root / "supervisor.json").write_text("[]")

    def _stop(self, run):
        self._save(run, 1)
        (self.root / "stop").unlink()

    def _result_forged(self, run):
        self._save(run, 1)
        (self.root / "result.json").write_text("[]")

    def _exit_forged(self, run):
        self._save(run, 1)
        (self.root / "exit.json").write_text("[]")

    def _control_forged(self, run):
        self._save(run, 1)
        (self.root / "control.json").write_text("[")

    def _trained_forged(self, run):
        self._save(run, 1)
        (self.root / "trained.json").mkdir()

    def _status_folder(self, run):
        status = self.root / "status.json"
        while not status.is_dir():  # it is written all the time
            status.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                status.mkdir()
        self._save(run, 1)
        run.report(1, loss=1.0)

    def _metrics_gone(self, run):
        run.report(1, loss=1.0)
        self._save(run, 1)
        (self.root / "metrics.jsonl").unlink()
        run.report(2, loss=1.0)

    def _pipes(self, run):
        """Who opens one to read, or to write, waits for somebody who does the other."""
        self._save(run, 1)
        run.report(1, loss=1.0)
        for name in ("status.json", "metrics.jsonl", "result.json", "log.txt"):
            os.mkfifo(self.root / "mine")  # in its place at once: others write there all the time
            (self.root / "mine").replace(self.root / name)

    def _links(self, run):
        """To what has no end."""
        self._save(run, 1)
        for name in ("status.json", "result.json", "control.json"):
            (self.root / "mine").symlink_to("/dev/zero")
            (self.root / "mine").replace(self.root / name)

    def _reads_another(self, run):
        with run.checkpoint(1):
            (run.folder / "no such data").read_text()

    def _own_folder(self, run):
        self._save(run, 1)
        shutil.rmtree(run.folder)

    def _events(self, run):
        run.report(1, loss=1.0)
        self._save(run, 1)
        shutil.rmtree(self.root / "events")
        run.report(2, loss=1.0)
        self._save(run, 2)
