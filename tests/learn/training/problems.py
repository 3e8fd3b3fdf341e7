"""Small trainings that several test modules share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from orthant.learn.training import Stage


@dataclass
class Terms:
    """A loss with named terms, as the losses of the package return it."""

    loss: torch.Tensor
    parts: dict[str, float] = field(default_factory=dict)


class Squared(torch.nn.Module):
    """Squared error with a learned scale: the loss has a weight of its own, and a random number in every step."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch):
        error = self.scale * self.model(batch["x"]) - batch["y"]
        loss = error.pow(2).mean()
        return Terms(loss, {"absolute": float(error.detach().abs().mean())})


def table(rows=64, *, width=6, seed=0):
    """Rows of a noisy linear map."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    y = x @ rng.normal(size=(width, 2)).astype(np.float32)
    return {"x": x, "y": y}


def network(seed=0, *, width=6, dropout=0.2):
    """Two layers with dropout and a batch normalisation: weights, random numbers and buffers."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(width, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(8, 2),
    )


def stage(name="fit", **changes):
    """A stage of 20 steps."""
    settings = {"data": table(), "loss": Squared, "steps": 20, "batch_size": 8, "learning_rate": 0.01, **changes}
    if "epochs" in changes:
        settings.pop("steps")
    return Stage(name, settings.pop("data"), settings.pop("loss"), **settings)


def same_weights(one, other):
    """Whether two models are equal to the last bit."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
