"""Networks whose weights become codes: what is chosen, trained and exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from orthant.errors import InputError
from orthant.learn.compression import LowRankVQ, LowRankWeight, compress, error_curves, suggest_rank


def _network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))


def _step(rate, steps=30):
    def train(model):
        X = torch.randn(128, 32, generator=torch.Generator().manual_seed(1))
        y = X[:, :4] * 2
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
        losses = []
        for _ in range(steps):
            loss = functional.mse_loss(model(X), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        train.losses = losses

    return train


def test_exported_matrices_are_the_weights_that_the_network_uses():
    model = _network()
    made = compress(model, {"0": LowRankVQ(k=16, block=8, rank=5), "2": LowRankVQ(k=32, block=4, scaled=True)})
    found = made.matrices()
    for name in ("0", "2"):
        weight = model.get_submodule(name).weight.detach().numpy()
        np.testing.assert_allclose(found[f"{name}.weight"].decode(), weight, atol=3e-3)
    assert set(made.others()) == {"0.bias", "2.bias", "4.weight", "4.bias"}
    assert made.nbytes == sum(one.nbytes for one in found.values())


def test_restored_network_has_plain_weights_of_the_same_values():
    model = _network()
    made = compress(model, {"0": LowRankVQ(k=16, block=8)})
    matrix = made.matrices()["0.weight"].decode()
    restored = made.restore()
    assert not hasattr(restored[0], "parametrizations")
    np.testing.assert_array_equal(restored[0].weight.detach().numpy(), matrix)


def test_factors_hold_the_leading_directions_before_there_are_codes():
    seen = {}

    def look(model):
        seen["weight"] = model[0].weight.detach().clone()

    model = _network()
    first = model[0].weight.detach().clone()
    compress(model, {"0": LowRankVQ(k=16, block=8, rank=3)}, train=look)
    left = np.linalg.svd(first.reshape(-1, 8).numpy(), compute_uv=False)
    lost = float((seen["weight"] - first).square().sum())
    assert lost == pytest.approx(float((left[3:] ** 2).sum()), rel=1e-4)


def test_training_moves_codewords_and_map_and_leaves_codes():
    codes, moved = {}, {}

    def tune(model):
        part = model[0].parametrizations.weight[0]
        codes["before"], book, lift = part.codes.clone(), part.codebook.detach().clone(), part.lift.detach().clone()
        step = _step(1e-2)
        step(model)
        moved["book"] = float((part.codebook.detach() - book).abs().max())
        moved["lift"] = float((part.lift.detach() - lift).abs().max())
        moved["losses"] = step.losses
        codes["after"] = part.codes

    compress(_network(), {"0": LowRankVQ(k=16, block=8, rank=4)}, tune=tune)
    assert torch.equal(codes["before"], codes["after"])
    assert moved["book"] > 1e-3
    assert moved["lift"] > 1e-3
    assert moved["losses"][-1] < 0.8 * moved["losses"][0]


def test_gradient_of_a_codeword_is_the_sum_over_its_blocks():
    layer = nn.Linear(8, 32, bias=False)
    compress(nn.Sequential(layer), LowRankVQ(k=8, block=4))
    part = layer.parametrizations.weight[0]
    slope = torch.randn(32, 8)
    (layer.weight * slope).sum().backward()
    wanted = torch.zeros(8, 4).index_add_(0, part.codes, slope.reshape(-1, 4) @ part.lift.detach())
    torch.testing.assert_close(part.codebook.grad, wanted)


def test_following_factors_change_codes():
    moved = []

    def tune(model):
        _step(3e-2)(model)
        inner = model[0].parametrizations.weight
        moved.append(inner[0].assign_again(inner.original))

    compress(_network(), {"0": LowRankVQ(k=16, block=8)}, tune=tune, follow=True)
    assert 0 < moved[0] < 1


def test_map_is_orthonormal_when_codes_are_chosen():
    model = _network()

    def stretch(network):
        with torch.no_grad():
            network[0].parametrizations.weight[0].lift.mul_(torch.tensor([100.0, 1.0]))

    compress(model, {"0": LowRankVQ(k=16, block=8, rank=2)}, train=stretch)
    lift = model[0].parametrizations.weight[0].lift.detach()
    torch.testing.assert_close(lift.T @ lift, torch.eye(2), atol=1e-5, rtol=0)


def test_observed_inputs_make_outputs_closer():
    X = torch.randn(400, 4) @ torch.randn(4, 32)
    losses = {}
    for name, observe in (("blind", None), ("observed", lambda model: model(X))):
        model = _network()
        wanted = model[0](X).detach()
        compress(model, {"0": LowRankVQ(k=16, block=8)}, observe=observe)
        losses[name] = float((model[0](X).detach() - wanted).square().mean())
    assert losses["observed"] < 0.7 * losses["blind"]


def test_tables_and_convolutions_are_coded_by_row():
    model = nn.ModuleDict({"table": nn.Embedding(40, 16), "conv": nn.Conv2d(4, 16, 3)})
    made = compress(model, LowRankVQ(k=16, block=4, rank=3))
    assert {name: one.shape for name, one in made.matrices().items()} == {
        "table.weight": (40, 16),
        "conv.weight": (16, 36),
    }
    assert model["conv"](torch.zeros(1, 4, 5, 5)).shape == (1, 16, 3, 3)
    found = made.matrices()["table.weight"].lookup([7])
    np.testing.assert_allclose(model["table"](torch.tensor([7])).detach().numpy(), found, atol=3e-3)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (LowRankVQ(block=3, k=4), "blocks of 3"),
        ({"4": LowRankVQ(block=16, k=256)}, "256 codewords for the 8 blocks"),
        ({"9": LowRankVQ()}, "no layer has"),
        ({"*": None}, "chooses no layer"),
    ],
)
def test_policies_that_do_not_fit_are_refused_before_anything_changes(policy, said):
    model = _network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=said):
        compress(model, policy)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_shared_and_coded_weights_are_refused():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    model[1].weight = model[0].weight
    with pytest.raises(InputError, match="share"):
        compress(model, LowRankVQ(k=8, block=4))
    compress(model, {"0": LowRankVQ(k=8, block=4)})
    with pytest.raises(InputError, match="parametrised already"):
        compress(model, {"0": LowRankVQ(k=8, block=4)})
    with pytest.raises(InputError, match="rank"):
        LowRankVQ(block=4, rank=5)
    with pytest.raises(InputError, match="without codes"):
        LowRankWeight(torch.randn(16, 16), LowRankVQ(k=8, block=4)).matrix()


def test_curves_run_apart_and_the_suggestion_follows_what_training_wins_back():
    W = np.random.default_rng(0).standard_normal((128, 64)).astype(np.float32)
    curves = error_curves(W, block=8, codebook_size=32, ranks=(1, 2, 4, 8))
    assert list(curves.low_rank) == sorted(curves.low_rank, reverse=True)
    assert curves.low_rank[-1] < 1e-6
    assert list(curves.clustering) == sorted(curves.clustering)
    chosen = [suggest_rank(W, block=8, codebook_size=32, trained=share, ranks=(1, 2, 4, 8)) for share in (0, 0.7, 1)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == 8
    assert chosen[2] == 1
