"""A training that kills itself: ``killed.py FOLDER STEP during|after``. Run by the tests in a process of its own."""

from __future__ import annotations

import os
import signal
import sys

import torch

from learn.training.problems import Squared, network, stage, table
from orthant.learn.training import Callback, Curriculum


def stages():
    """Two stages, the second with an average of weights; dropout, buffers and a loss with a weight."""
    second = stage("second", data={"a": table(seed=1), "b": table(40, seed=2)}, loss=Squared, steps=9, ema=0.8)
    return [stage("first", steps=11, weight_decay=0.1), second]


def train(folder, callbacks=()):
    """The training; returns history and model."""
    model = network(1)
    history = Curriculum(stages(), seed=7, checkpoint_every=3).run(model, folder, callbacks=callbacks)
    return history, model


class KillAt(Callback):
    """Ends the process as ``kill -9`` does."""

    def __init__(self, name, step):
        self.where = (name, step)

    def on_step(self, run):
        if (run.stage.name, run.step) == self.where:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Train until the kill."""
    folder, name, step, moment = sys.argv[1:]
    torch.set_num_threads(1)
    callbacks = [KillAt(name, int(step))]
    if moment == "during":
        # Half of a checkpoint: the weights are written, the settings are not.
        place = "000" if name == "first" else "001"

        def killing(path, data):
            if path.name == "config.json" and f"checkpoint-{place}-{int(step):08d}." in str(path):
                os.kill(os.getpid(), signal.SIGKILL)
            with open(path, "wb") as handle:
                handle.write(data)

        import orthant.artifact

        orthant.artifact.write_bytes_atomically = killing
        callbacks = []
    train(folder, callbacks)


if __name__ == "__main__":
    main()
