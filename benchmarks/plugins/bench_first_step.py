"""A torch model that tells when its first optimizer step was done."""

import time

import torch
from torch import nn

from modelyard.models_plugin import Model


class FirstStep(Model):
    def train(self, run):
        torch.set_num_threads(run.threads)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        )
        optimizer = torch.optim.AdamW(model.parameters())
        images, labels = torch.zeros(16, 3, 32, 32), torch.zeros(16, dtype=torch.long)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        done = time.time()
        run.report(1, loss=0.0)
        return {"first_step": done}
