"""Schedules, groups and clipping, against transformers and torch."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import network, stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training.optimization import (  # noqa: E402
    build_optimizer,
    build_schedule,
    frozen_names,
    gradient_norm,
    rate_multiplier,
    scale_gradients,
)


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.33, 1.0])
def test_schedule_is_that_of_transformers(name, warmup):
    optimization = pytest.importorskip("transformers.optimization")
    steps = 17
    model = torch.nn.Linear(2, 2)
    reference = torch.optim.AdamW(model.parameters(), lr=3e-4)
    kind = {"constant": "constant_with_warmup"}.get(name, name)
    theirs = optimization.get_scheduler(kind, reference, math.ceil(steps * warmup), steps)
    settings = stage(steps=steps, warmup=warmup, schedule=name, learning_rate=3e-4)
    optimizer = build_optimizer(dict(model.named_parameters()), model, settings)
    ours = build_schedule(optimizer, settings, steps=steps)
    for _ in range(steps + 1):
        assert optimizer.param_groups[0]["lr"] == reference.param_groups[0]["lr"]
        for optimiser, schedule in ((optimizer, ours), (reference, theirs)):
            optimiser.step()
            schedule.step()


def test_schedule_goes_on_where_it_stopped():
    model = torch.nn.Linear(2, 2)
    settings = stage(steps=10)
    optimizer = build_optimizer(dict(model.named_parameters()), model, settings)
    build_schedule(optimizer, settings, steps=10, done=6)
    expected = settings.learning_rate * rate_multiplier(6, steps=10, warmup=1, schedule="linear")
    assert optimizer.param_groups[0]["lr"] == expected


def test_groups_are_those_of_transformers():
    trainer = pytest.importorskip("transformers.trainer_pt_utils")
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20
    )
    model = transformers.BertModel(config)
    forbidden = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    decayed = set(trainer.get_parameter_names(model, [torch.nn.LayerNorm], forbidden))
    named = dict(model.named_parameters())
    optimizer = build_optimizer(named, model, stage(weight_decay=0.1))
    found = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert found == {id(named[name]) for name in decayed}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)


@pytest.mark.parametrize("maximum", [0.1, 1.0, 1e6])
def test_clipping_is_that_of_torch(maximum):
    torch.manual_seed(0)
    ours, theirs = network(1), network(1)
    for model in (ours, theirs):
        torch.manual_seed(3)
        (model(torch.randn(8, 6)).pow(2).sum() * 5).backward()
    norm = gradient_norm(ours.parameters())
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), maximum)
    scale_gradients(ours.parameters(), float(norm), maximum=maximum)
    assert float(norm) == pytest.approx(float(expected), rel=1e-6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, rtol=1e-6, atol=0)


def test_zero_leaves_gradients_alone():
    model = torch.nn.Linear(2, 1)
    (model(torch.ones(4, 2)).sum() * 100).backward()
    before = model.weight.grad.clone()
    scale_gradients(model.parameters(), float(gradient_norm(model.parameters())), maximum=0.0)
    assert torch.equal(before, model.weight.grad)


def test_patterns_must_match():
    assert frozen_names(["0.weight", "0.bias", "2.weight"], ["0.*"]) == {"0.weight", "0.bias"}
    with pytest.raises(InputError, match=r"freeze='1.*'.*0\.weight"):
        frozen_names(["0.weight"], ["1.*"])


def test_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="nothing to train"):
        build_optimizer({}, torch.nn.Linear(1, 1), stage())
