"""Trainings of a tiny text model, in a process of their own: ``text_trial.py MODEL FOLDER [KILL_STEP]``."""

from __future__ import annotations

import json
import os
import signal
import sys

import torch

from learn.training.texts import pairs, tiny_encoder
from orthant.learn.training import Callback, Curriculum, Stage


class KillAt(Callback):
    """Ends the process as ``kill -9`` does."""

    def __init__(self, step):
        self.step = step

    def on_step(self, run):
        if run.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def ranking(model):
    """In-batch negatives, gathered from all processes."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    return MultipleNegativesRankingLoss(model, gather_across_devices=True)


def train(model, folder=None, callbacks=(), **changes):
    """Ten steps over 40 pairs."""
    settings = {"data": pairs(), "loss": ranking, "steps": 10, "batch_size": 8, "learning_rate": 1e-3, **changes}
    stage = Stage("pairs", settings.pop("data"), settings.pop("loss"), **settings)
    return Curriculum([stage], seed=3, checkpoint_every=3).run(model, folder, callbacks=callbacks)


def main():
    """Train, perhaps die, and print losses and weights."""
    model_folder, folder, *kill = sys.argv[1:]
    torch.set_num_threads(1)
    model = tiny_encoder(model_folder)
    history = train(model, None if folder == "-" else folder, [KillAt(int(step)) for step in kill])
    if history.context["rank"] == 0:
        weights = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
        print(json.dumps({"losses": history.column("loss"), "weights": weights}))


if __name__ == "__main__":
    main()
