"""Tiny stand-ins for the parts that a trainer is handed: batches, a task, a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelwright.core.batch import Batch
from modelwright.core.randomness import derive
from modelwright.tasks.task import LossTask
from modelwright.training.config import TrainingConfig
from modelwright.training.resolution import build_rule
from modelwright.training.trainer import Trainer


class Classification(LossTask):
    """Cross-entropy as a sum and a count."""

    def loss(self, output, target):
        return nn.functional.cross_entropy(output, target, reduction="sum"), len(target)


class Network(nn.Module):
    """A small network with everything that has a state of its own: convolution, BatchNorm, dropout, matrices."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.3), nn.ReLU()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.backbone(inputs["image"]))


class Batches:
    """Three classes of noisy images; a batch is a function of (seed, step), with noise as augmentation; the last one is ragged."""

    def __init__(self, examples=44, batch_size=8, seed=0):
        draws = torch.Generator().manual_seed(1)
        self.target = torch.randint(0, 3, (examples,), generator=draws)
        self.image = torch.randn(examples, 1, 4, 4, generator=draws) + self.target.reshape(-1, 1, 1, 1)
        self.batch_size, self.seed, self.split = batch_size, seed, self.target
        self.steps_per_epoch = -(-examples // batch_size)

    def batch(self, step):
        epoch, place = divmod(step, self.steps_per_epoch)
        order = torch.randperm(len(self.target), generator=torch.Generator().manual_seed(derive(self.seed, epoch)))
        index = order[place * self.batch_size : (place + 1) * self.batch_size]
        noise = torch.randn(len(index), 1, 4, 4, generator=torch.Generator().manual_seed(derive(self.seed, "augmentation", step)))
        return Batch({"image": self.image[index] + 0.1 * noise}, self.target[index])


class Workshop:
    """Makes trainings of the stand-ins; every one starts from the same weights."""

    batches = Batches
    task = Classification()

    @staticmethod
    def network():
        torch.manual_seed(0)
        return Network()

    def config(self, **changes):
        settings = {"budget": "10 steps", "batch_size": 8, "precision": "float32", "memory_format": "contiguous", "compile": False}
        return TrainingConfig.model_validate({**settings, **changes})

    def rule(self, config, network=None, seed=0):
        return build_rule(config, network or self.network(), self.task, seed)

    def evaluate(self, network):
        data = self.batches()
        with torch.no_grad():
            output = network({"image": data.image})
        loss = nn.functional.cross_entropy(output, data.target).item()
        return {"accuracy": (output.argmax(1) == data.target).float().mean().item(), "log_loss": loss}

    def trainer(self, config, rule=None, **options):
        options = {"evaluate": self.evaluate, "primary": "log_loss", "higher_is_better": False, **options}
        return Trainer(config, rule or self.rule(config), self.batches(), **options)


@pytest.fixture
def workshop():
    return Workshop()


class FakeClock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return FakeClock()
