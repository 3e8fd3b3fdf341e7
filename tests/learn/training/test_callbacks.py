"""NaN stops, masks, averages: each fails when its mechanism is removed."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import Squared, network, same_weights, stage, table  # noqa: E402
from orthant.learn.training import Callback, Curriculum, EMATeacher  # noqa: E402
from orthant.learn.training.checkpoints import latest_checkpoint, list_checkpoints  # noqa: E402


class Breaking(Squared):
    """The loss, or one gradient, or the weights of the model become NaN at the seventh step."""

    what = "loss"

    def __init__(self, model):
        super().__init__(model)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, batch):
        self.calls += 1
        if self.calls == 7 and self.what == "gradient":
            self.model[4].weight.register_hook(lambda gradient: gradient * math.inf)
        if self.calls == 7 and self.what == "buffer":
            self.model[1].running_mean[0] = math.nan
        terms = super().forward(batch)
        if self.calls == 7 and self.what in ("loss", "buffer"):
            terms.loss = terms.loss * math.nan
        return terms


class Weights(Callback):
    """The weights after every step."""

    def __init__(self):
        self.kept = []

    def on_step(self, run):
        self.kept.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})


@pytest.mark.parametrize(
    ("what", "text"), [("loss", "the loss is nan"), ("gradient", r"gradient of 'model\.4\.weight'")]
)
def test_w83_nan_stops_the_run_and_keeps_the_last_good_state(tmp_path, what, text):
    model, seen = network(1), Weights()
    loss = type("Now", (Breaking,), {"what": what})
    plan = Curriculum([stage(loss=loss), stage("next")], checkpoint_every=4)
    with pytest.warns(RuntimeWarning, match=text):
        history = plan.run(model, tmp_path, callbacks=[seen])
    assert history.stopped.startswith("step 7 of stage 'fit'")
    assert len(history) == 6
    trained = dict(model.named_parameters())
    for name, tensor in seen.kept[-1].items():
        if name in trained:
            assert torch.equal(trained[name], tensor), name
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    kept = latest_checkpoint(tmp_path)
    assert (kept.stage, kept.step) == (0, 6)
    assert torch.equal(kept.part("model")["4.weight"], model[4].weight)


def test_w83_damaged_weights_go_back_to_the_last_good_ones(tmp_path):
    model, seen = network(1), Weights()
    loss = type("Now", (Breaking,), {"what": "buffer"})
    with pytest.warns(RuntimeWarning, match="the weights are those of step 4"):
        Curriculum([stage(loss=loss)], checkpoint_every=4).run(model, tmp_path, callbacks=[seen])
    for name, tensor in seen.kept[3].items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["4"]


def test_a_run_stopped_by_nan_can_go_on_with_a_mended_loss(tmp_path):
    with pytest.warns(RuntimeWarning):
        Curriculum([stage(loss=Breaking)], checkpoint_every=4).run(network(1), tmp_path)
    mended, whole = network(1), network(1)
    quiet = type("Quiet", (Breaking,), {"what": "nothing"})
    history = Curriculum([stage(loss=quiet)], checkpoint_every=4).run(mended, tmp_path)
    expected = Curriculum([stage(loss=quiet)]).run(whole)
    assert history.column("loss") == expected.column("loss")


def test_pruned_entries_stay_zero_and_do_not_leak_through_moments():
    model = network(1)
    mask = torch.from_numpy(np.random.default_rng(0).random((8, 6)) > 0.5)
    moments = []

    class Look(Callback):
        def on_step(self, run):
            state = run.optimizer.state[run.model[0].weight]
            moments.append((state["exp_avg"].clone(), state["exp_avg_sq"].clone()))
            assert not run.model[0].weight[~mask].any()

    other = network(1)
    settings = {"masks": {"0.weight": mask}, "weight_decay": 0.1}
    Curriculum([stage(**settings), stage("free", steps=3)]).run(model)
    Curriculum([stage(**settings)]).run(other, callbacks=[Look()])
    assert not other[0].weight[~mask].any()
    assert other[0].weight[mask].all()
    for first, second in moments:
        assert not first[~mask].any()
        assert not second[~mask].any()
    # The next stage has no mask, and no hook is left behind: pruned weights move again.
    assert model[0].weight[~mask].any()


def test_masks_hold_against_whatever_moves_weights():
    class Push(Callback):
        def on_gradients(self, run):
            run.model[0].weight.grad.fill_(1.0)

    model = network(1)
    mask = torch.rand(8, 6) > 0.5
    Curriculum([stage(steps=3, masks={"0.weight": mask})]).run(model, callbacks=[Push()])
    assert not model[0].weight[~mask].any()


def test_masked_gradients_do_not_count_in_the_norm():
    norms = {}

    class Look(Callback):
        def on_step(self, run):
            norms.setdefault(run.stage.masks is not None, run.gradient_norm)

    mask = torch.zeros(8, 6)
    Curriculum([stage(steps=1, masks={"0.weight": mask})]).run(network(1), callbacks=[Look()])
    model = network(1)
    model[0].weight.data.zero_()
    Curriculum([stage(steps=1, freeze=["0.weight"])]).run(model, callbacks=[Look()])
    assert norms[True] == pytest.approx(norms[False], rel=1e-5)


@pytest.mark.parametrize("on_disk", [True, False])
def test_stage_ends_with_the_mean_of_its_last_checkpoints(tmp_path, on_disk):
    model, seen = network(1), Weights()
    settings = stage(steps=14, average_last=3)
    Curriculum([settings], checkpoint_every=4).run(model, tmp_path if on_disk else None, callbacks=[seen])
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            # Checkpoints stand at 4, 8, 12 and at the end.
            wanted = torch.stack([seen.kept[step - 1][name].double() for step in (8, 12, 14)]).mean(0)
            torch.testing.assert_close(tensor.double(), wanted, rtol=0, atol=1e-7)
    assert not torch.equal(model[0].weight, seen.kept[-1]["0.weight"])


def test_stage_ends_with_the_moving_average():
    start, model, seen = network(1), network(1), Weights()
    Curriculum([stage(steps=6, ema=0.7)]).run(model, callbacks=[seen])
    for name, parameter in model.named_parameters():
        wanted = start.state_dict()[name].double() * 0.7**6
        for i, weights in enumerate(seen.kept):
            wanted = wanted + 0.3 * 0.7 ** (5 - i) * weights[name].double()
        torch.testing.assert_close(parameter.detach().double(), wanted, rtol=0, atol=1e-6)


class WithTeacher(Squared):
    def __init__(self, model):
        super().__init__(model)
        self.teacher = EMATeacher(model, momentum=0.5)

    def forward(self, batch):
        terms = super().forward(batch)
        terms.loss = terms.loss + (self.model(batch["x"]) - self.teacher(batch["x"])).pow(2).mean()
        return terms


def test_teachers_in_the_loss_follow_and_survive_a_stop(tmp_path):
    notes = []

    class Look(Callback):
        def on_step(self, run):
            notes.append((int(run.loss.teacher.updates), run.loss.teacher.teacher[0].weight.clone()))
            assert not any(name.startswith("loss.teacher") for name in run.trained)
            if run.step == stop:
                run.stop("here")

    stop = 0
    whole = network(1)
    Curriculum([stage(loss=WithTeacher, steps=8)]).run(whole, callbacks=[Look()])
    assert [count for count, _ in notes] == list(range(1, 9))
    last = notes[-1][1]
    stop = 5
    Curriculum([stage(loss=WithTeacher, steps=8)]).run(network(1), tmp_path, callbacks=[Look()])
    stop = 0
    model = network(1)
    Curriculum([stage(loss=WithTeacher, steps=8)]).run(model, tmp_path, callbacks=[Look()])
    assert same_weights(model, whole)
    assert torch.equal(notes[-1][1], last)


def test_gradients_can_be_seen_before_the_weights_move():
    class Look(Callback):
        def on_gradients(self, run):
            assert run.model[0].weight.grad is not None
            assert torch.equal(run.model[0].weight, before)
            for parameter in run.trained.values():
                parameter.grad.zero_()

    model = network(1)
    before = model[0].weight.detach().clone()
    Curriculum([stage(steps=1, data=table())]).run(model, callbacks=[Look()])
    assert torch.equal(model[0].weight, before)
