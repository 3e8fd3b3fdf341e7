from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from learn.losses.metric.batches import batch  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.losses.metric import BinomialDevianceLoss, CoSENTLoss, HardMiner, ProxyNCALoss, TripletLoss  # noqa: E402
from orthant.learn.losses.regularisers import (  # noqa: E402
    EnergyConfusion,
    KoLeo,
    RowNorm,
    SpreadOut,
    Uniformity,
    WithRegularisers,
)


def network():
    torch.manual_seed(0)
    backbone = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Tanh()).double()
    head = torch.nn.Linear(6, 4).double()
    return backbone, head


def gradients(loss, modules):
    for module in modules:
        module.zero_grad()
    loss.backward()
    return [p.grad.clone() for module in modules for p in module.parameters()]


def test_the_sum_is_the_weighted_sum_and_parts_are_named():
    embeddings, labels = batch()
    loss = WithRegularisers(TripletLoss(), [KoLeo(weight=0.3), Uniformity(weight=2.0)])
    output = loss(embeddings, labels)
    base, koleo, spread = TripletLoss()(embeddings, labels).loss, KoLeo()(embeddings), Uniformity()(embeddings)
    assert output.loss.item() == pytest.approx((base + 0.3 * koleo + 2 * spread).item(), rel=1e-12)
    assert output.parts["KoLeo"] == pytest.approx(koleo.item())
    assert output.parts["TripletLoss"] == base.item()


def test_pairs_reach_the_loss():
    embeddings, labels = batch()
    pairs = HardMiner()(embeddings, labels)
    loss = WithRegularisers(TripletLoss(), [KoLeo(weight=0.0)])
    assert (
        loss(embeddings, labels, pairs=pairs).loss.item() == TripletLoss()(embeddings, labels, pairs=pairs).loss.item()
    )


def test_energy_confusion_reaches_the_head_alone():
    backbone, head = network()
    rows, labels = batch()
    torch.manual_seed(1)
    plain = gradients(BinomialDevianceLoss()(head(backbone(rows)), labels).loss, [backbone, head])
    loss = WithRegularisers(BinomialDevianceLoss(), [EnergyConfusion(weight=0.13, pairs_per_anchor=None)], head=head)
    both = gradients(loss(backbone(rows), labels).loss, [backbone, head])
    for a, b in zip(plain[:2], both[:2], strict=True):
        assert torch.equal(a, b)
    assert not torch.allclose(plain[2], both[2])
    # The difference at the head is the gradient of 0.13 log E of detached features.
    energy = EnergyConfusion(pairs_per_anchor=None)(head(backbone(rows).detach()), labels)
    head.zero_grad()
    (0.13 * energy).backward()
    torch.testing.assert_close(both[2] - plain[2], head.weight.grad, rtol=1e-9, atol=1e-12)
    # The bias shifts all rows alike and leaves distances as they are.
    torch.testing.assert_close(both[3], plain[3])


def test_without_detaching_the_gradient_runs_on():
    backbone, head = network()
    rows, labels = batch()
    plain = gradients(BinomialDevianceLoss()(head(backbone(rows)), labels).loss, [backbone])
    term = EnergyConfusion(pairs_per_anchor=None, detach_features=False)
    loss = WithRegularisers(BinomialDevianceLoss(), [term], head=head)
    assert not torch.allclose(plain[0], gradients(loss(backbone(rows), labels).loss, [backbone])[0])


def test_energy_confusion_works_against_the_loss():
    backbone, head = network()
    rows, labels = batch()
    features = backbone(rows).detach()
    before = EnergyConfusion(pairs_per_anchor=None, log=False)(head(features), labels).item()
    loss = WithRegularisers(
        BinomialDevianceLoss(), [EnergyConfusion(weight=5.0, pairs_per_anchor=None), RowNorm()], head=head
    )
    optimiser = torch.optim.SGD(head.parameters(), lr=0.01)
    for _ in range(20):
        optimiser.zero_grad()
        loss(features, labels).loss.backward()
        optimiser.step()
    assert EnergyConfusion(pairs_per_anchor=None, log=False)(head(features), labels).item() < before


def test_row_norm_sees_the_head():
    backbone, head = network()
    rows, labels = batch()
    loss = WithRegularisers(BinomialDevianceLoss(), [RowNorm(weight=0.5)], head=head)
    output = loss(backbone(rows), labels)
    wanted = (((head.weight**2).sum(dim=1) - 1) ** 2).mean().item()
    assert output.parts["RowNorm"] == pytest.approx(wanted)
    assert {name for name, _ in loss.named_parameters()} == {"head.weight", "head.bias"}


def test_weight_zero_switches_a_term_off():
    backbone, head = network()
    rows, labels = batch()
    off = WithRegularisers(
        BinomialDevianceLoss(), [EnergyConfusion(weight=0.0), KoLeo(weight=0.0), RowNorm(weight=0.0)], head=head
    )
    output = off(backbone(rows), labels)
    plain = BinomialDevianceLoss()(head(backbone(rows)), labels)
    assert output.loss.item() == plain.loss.item()
    assert set(output.parts) == {*plain.parts, "BinomialDevianceLoss"}
    # Not computed at all: no random numbers are drawn.
    torch.manual_seed(0)
    state = torch.get_rng_state()
    off(backbone(rows), labels)
    assert torch.equal(state, torch.get_rng_state())


def test_scores_of_pairs_are_no_classes():
    embeddings, _ = batch(rows=12)
    scores = torch.linspace(0, 1, 6, dtype=torch.float64)
    output = WithRegularisers(CoSENTLoss(), [SpreadOut()])(embeddings, scores)
    wanted = CoSENTLoss()(embeddings, scores).loss + SpreadOut()(embeddings)
    assert output.loss.item() == pytest.approx(wanted.item(), rel=1e-12)


def test_proxies_stay_parameters_of_the_whole():
    loss = WithRegularisers(ProxyNCALoss(3, 8), [SpreadOut()])
    assert [name for name, _ in loss.named_parameters()] == ["loss.proxies"]


def test_what_cannot_be_put_together_is_refused():
    with pytest.raises(InputError, match="EnergyConfusion with detach_features and no head"):
        WithRegularisers(TripletLoss(), [EnergyConfusion()])
    with pytest.raises(InputError, match="RowNorm without a head that has a weight"):
        WithRegularisers(TripletLoss(), [RowNorm()])
    with pytest.raises(InputError, match="each of them once"):
        WithRegularisers(TripletLoss(), [KoLeo(), KoLeo()])
    with pytest.raises(InputError, match="no negative pair"):
        WithRegularisers(TripletLoss(), [KoLeo()])(torch.eye(3), torch.zeros(3, dtype=torch.int64))
