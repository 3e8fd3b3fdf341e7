"""A training with in-batch negatives, alone or as one of several processes: ``distributed_trial.py FOLDER``."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as group

from learn.training.problems import Terms, stage, table
from orthant.learn.training import Callback, Curriculum, Validation


class Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of a process's rows is the sum of what all make of them."""

    @staticmethod
    def forward(ctx, rows):
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(group.get_world_size())]
        group.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        group.all_reduce(gradient)
        start = group.get_rank() * ctx.count
        return gradient[start : start + ctx.count]


class Contrast(torch.nn.Module):
    """Cross-entropy of each row among the others of the whole batch, with a learned scale."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.log_scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, batch):
        queries, items = self.model(batch["x"]), self.model(batch["z"])
        first = 0
        if group.is_initialized():
            first = group.get_rank() * len(items)
            items = Gathered.apply(items)
        scores = self.log_scale.exp() * torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(items).T
        target = torch.arange(first, first + len(queries))
        return Terms(torch.nn.functional.cross_entropy(scores, target), {"scale": float(self.log_scale.detach())})


class Unused(torch.nn.Module):
    """A network with a part that is never used: its weights must not decay in any process."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.used = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8))
        self.unused = torch.nn.Linear(3, 3)

    def forward(self, x):
        return self.used(x)


def train(folder=None, callbacks=()):
    """Twelve steps of 8 rows out of 43: the last batch of an epoch is odd."""
    torch.manual_seed(5)
    x = table(44)["x"]
    data = {"x": x, "z": x + 0.3 * table(44, seed=9)["x"]}
    model = Unused()
    if group.is_available() and group.is_initialized() and group.get_rank():
        # Other processes start elsewhere; the first one's weights must reach them.
        model.used[0].weight.data.zero_()
    rules = Validation(lambda model: {"norm": float(model.used[0].weight.norm())}, metrics=["norm"], every=5)
    settings = stage(data=data, loss=Contrast, steps=12, batch_size=8, weight_decay=0.1)
    history = Curriculum([settings], checkpoint_every=5).run(model, folder, validate=rules, callbacks=callbacks)
    return history, model


def main():
    """Train and let the first process print what came out."""
    torch.set_num_threads(1)
    group.init_process_group("gloo")
    folder = sys.argv[1]

    class Stop(Callback):
        def on_step(self, run):
            if run.step == 7:
                run.stop("here")

    train(folder, [Stop()])
    history, model = train(folder)
    if group.get_rank() == 0:
        weights = [parameter.detach().flatten().tolist() for parameter in model.parameters()]
        print(json.dumps({"rows": history.rows, "weights": weights, "context": history.context}))
    group.destroy_process_group()


if __name__ == "__main__":
    main()
