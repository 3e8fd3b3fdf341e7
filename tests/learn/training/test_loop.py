"""The thin loop, against a loop written out by hand, and what may vary in it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import Squared, network, same_weights, stage, table  # noqa: E402
from orthant.learn.samplers import Sequential  # noqa: E402
from orthant.learn.training import Callback, Curriculum, Stage, TorchLoop  # noqa: E402


class Plain(Squared):
    def forward(self, batch):
        return (self.scale * self.model(batch["x"]) - batch["y"]).pow(2).mean()


def _by_hand(model, *, steps, batch_size, rate, warmup, decay, clip):
    """The same training with nothing of the package."""
    data = table()
    loss = Plain(model)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in [*model.parameters(), loss.scale] if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}], lr=rate
    )
    losses, start = [], 0
    model.train()
    for step in range(steps):
        rows = slice(start, start + batch_size)
        start = (start + batch_size) % len(data["x"])
        share = step / warmup if step < warmup else (steps - step) / (steps - warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        value = loss({name: torch.as_tensor(array[rows]) for name, array in data.items()})
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), loss.scale], clip)
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


def test_equals_a_loop_by_hand():
    ours, theirs = network(1, dropout=0.0), network(1, dropout=0.0)
    for model in (ours, theirs):
        # Behind a normalisation a bias has a gradient of pure rounding, which Adam blows up.
        model[1] = torch.nn.Identity()
    settings = stage(loss=Plain, steps=20, warmup=0.2, learning_rate=0.02, sampler=Sequential(), max_grad_norm=0.5)
    history = Curriculum([settings]).run(ours)
    expected = _by_hand(theirs, steps=20, batch_size=8, rate=0.02, warmup=4, decay=0.0, clip=0.5)
    np.testing.assert_allclose(history.column("loss"), expected, rtol=1e-6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_adamw_in_float64():
    """One weight, four steps, against the update written out."""

    class Line(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, batch):
            return (self.model(batch["x"]) - batch["y"]).pow(2).mean()

    x = np.array([[1.0], [2.0], [-1.0], [0.5]])
    y = 2 * x
    model = torch.nn.Linear(1, 1, bias=False).double()
    w = float(model.weight.detach())
    data = {"x": torch.as_tensor(x), "y": torch.as_tensor(y)}
    settings = Stage(
        "line",
        data,
        Line,
        steps=4,
        batch_size=4,
        learning_rate=0.1,
        warmup=0.0,
        schedule="constant",
        weight_decay=0.01,
        max_grad_norm=0.0,
        sampler=Sequential(),
    )
    TorchLoop(model, settings).run()
    m = v = 0.0
    for t in range(1, 5):
        g = float(np.mean(2 * (w * x - y) * x))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w * (1 - 0.1 * 0.01)
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert float(model.weight.detach()) == pytest.approx(w, abs=1e-12)


def test_accumulated_batches_equal_one_large_batch():
    large, small = network(1, dropout=0.0), network(1, dropout=0.0)
    for model in (large, small):
        model[1] = torch.nn.Identity()
    one = Curriculum([stage(steps=6, batch_size=16, sampler=Sequential())]).run(large)
    two = Curriculum([stage(steps=6, batch_size=4, accumulate=4, sampler=Sequential())]).run(small)
    np.testing.assert_allclose(one.column("loss"), two.column("loss"), rtol=1e-5)
    for mine, other in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_same_seed_same_bits_and_callers_numbers_untouched():
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = (random.random(), np.random.random(), float(torch.rand(())))
    runs = []
    for seed in (3, 3, 4):
        model = network(1)
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)
        history = Curriculum([stage()], seed=seed).run(model)
        assert (random.random(), np.random.random(), float(torch.rand(()))) == expected
        runs.append((history.column("loss"), model))
    assert runs[0][0] == runs[1][0]
    assert same_weights(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]


def test_epochs_become_steps():
    history = Curriculum([stage(epochs=1.5)]).run(network())
    assert len(history) == 12
    assert len(Curriculum([stage(epochs=1, accumulate=3)]).run(network())) == 3


def test_parts_of_the_loss_stand_in_the_history():
    history = Curriculum([stage(steps=3)]).run(network())
    assert len(history.column("absolute")) == 3


def test_a_torch_dataset_trains_like_its_arrays():
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, row):
            return {name: torch.as_tensor(array[row]) for name, array in table().items()}

    one, two = network(1), network(1)
    first = Curriculum([stage(steps=4)]).run(one)
    second = Curriculum([stage(steps=4, data=Rows())]).run(two)
    assert first.column("loss") == second.column("loss")
    assert same_weights(one, two)


def test_several_tables_with_a_loss_each():
    seen = []

    class Noted(Plain):
        def forward(self, batch):
            seen.append(float(batch["y"][0, 0]) > 50)
            return super().forward(batch)

    far = {"x": table()["x"], "y": table()["y"] + 100}
    data = {"near": table(), "far": far}
    history = Curriculum([stage(data=data, loss={"near": Plain, "far": Noted}, steps=16)]).run(network())
    assert seen
    assert all(seen)
    assert len(seen) < 16
    assert len(history) == 16


def test_stages_follow_each_other_and_frozen_parts_stay():
    model = network(1)
    first, last = model[0].weight.detach().clone(), model[4].weight.detach().clone()
    notes = []

    class Notes(Callback):
        def on_start(self, run):
            notes.append(("start", run.stage.name, run.steps))

        def on_stage_end(self, run):
            notes.append(
                ("end", run.stage.name, torch.equal(model[0].weight, first), torch.equal(model[4].weight, last))
            )

        def on_end(self, run):
            notes.append("over")

    stages = [stage("head", freeze=["0.*", "1.*"], steps=3), stage("all", steps=3, freeze=["4.*"])]
    history = Curriculum(stages).run(model, callbacks=[Notes()])
    assert notes[:2] == [("start", "head", 3), ("end", "head", True, False)]
    assert notes[2] == ("start", "all", 3)
    assert notes[-1] == "over"
    assert not torch.equal(model[0].weight, first)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert history.column("stage") == ["head"] * 3 + ["all"] * 3


def test_stop_ends_the_run():
    class StopAt(Callback):
        def on_step(self, run):
            if run.step == 3:
                run.stop("enough")

    history = Curriculum([stage("a"), stage("b")]).run(network(), callbacks=[StopAt()])
    assert (len(history), history.stopped) == (3, "enough")


def test_threads_are_set_and_put_back():
    before = torch.get_num_threads()
    inside = []

    class Look(Callback):
        def on_step(self, run):
            inside.append(torch.get_num_threads())

    Curriculum([stage(steps=1)], threads=before + 1).run(network(), callbacks=[Look()])
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_progress_is_shown_on_stderr_only(capfd):
    TorchLoop(network(), stage(steps=2)).run(progress=True)
    out, err = capfd.readouterr()
    assert not out
    assert "fit" in err


def test_seeds_and_settings_are_recorded():
    history = Curriculum([stage(steps=1)], seed=11).run(network())
    assert history.context["seed"] == 11
    assert history.context["stages"]["fit"]["batch_size"] == 8
    assert history.context["threads"] == torch.get_num_threads()
