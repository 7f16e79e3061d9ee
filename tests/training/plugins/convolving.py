"""A small convolutional network and AdamW: what a warm start is measured with."""

from __future__ import annotations

import time

from marshmallow import fields

from modelyard.models_plugin.contract import Model


class Convolving(Model):
    train_arguments = {"steps": fields.Integer(load_default=1)}

    def train(self, run, steps):
        import torch
        from torch import nn

        began = time.time()
        torch.manual_seed(run.seed)
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
        )
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        images, labels = torch.randn(32, 1, 16, 16), torch.randint(0, 10, (32,))
        marks = []
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            marks.append(time.time())
            run.report(step, loss=loss.item())
        told = {"began": began, "first_step": marks[0], "last_step": marks[-1]}
        return {**told, "threads": torch.get_num_threads()}
