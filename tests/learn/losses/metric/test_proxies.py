from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peers = pytest.importorskip("pytorch_metric_learning.losses")

from learn.losses.metric.batches import assert_same, batch, value_and_gradients  # noqa: E402
from orthant.errors import DimensionError, InputError  # noqa: E402
from orthant.learn.losses.metric import (  # noqa: E402
    ArcFaceLoss,
    CosFaceLoss,
    NormFaceLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
    Triplets,
)

ORACLES = {
    "nca": (lambda: ProxyNCALoss(5, 8, scale=3.0), lambda: peers.ProxyNCALoss(5, 8, softmax_scale=3)),
    "anchor": (lambda: ProxyAnchorLoss(5, 8), lambda: peers.ProxyAnchorLoss(5, 8)),
    "arc": (
        lambda: ArcFaceLoss(5, 8, margin=float(np.radians(28.6))),
        lambda: peers.ArcFaceLoss(5, 8),
    ),
    "arc, wide": (
        lambda: ArcFaceLoss(5, 8, margin=2.0, scale=4.0),
        lambda: peers.ArcFaceLoss(5, 8, margin=float(np.degrees(2.0)), scale=4),
    ),
    "cos": (lambda: CosFaceLoss(5, 8), lambda: peers.CosFaceLoss(5, 8)),
    "norm": (lambda: NormFaceLoss(5, 8), lambda: peers.NormalizedSoftmaxLoss(5, 8)),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("classes_present", [5, 3])
def test_w59_values_and_gradients_equal_the_library(name, classes_present):
    embeddings, labels = batch(classes=classes_present)
    make, make_other = ORACLES[name]
    mine, other = make().double(), make_other().double()
    theirs = next(other.parameters())
    with torch.no_grad():
        theirs.copy_(mine.proxies if theirs.shape == mine.proxies.shape else mine.proxies.T)
    value, (rows, proxies) = value_and_gradients(lambda: mine(embeddings, labels), embeddings, mine.proxies)
    wanted, (their_rows, their_proxies) = value_and_gradients(lambda: other(embeddings, labels), embeddings, theirs)
    if theirs.shape != mine.proxies.shape:
        their_proxies = their_proxies.T
    assert value == pytest.approx(wanted, rel=1e-9)
    torch.testing.assert_close(rows, their_rows, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(proxies, their_proxies, rtol=1e-7, atol=1e-9)
    assert proxies.abs().max() > 0


def test_proxy_nca_without_its_own_proxy():
    embeddings, labels = batch(rows=7, classes=3)
    loss = ProxyNCALoss(3, 8, own_in_denominator=False).double()
    rows = embeddings.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    proxies = loss.proxies.detach().numpy()
    proxies = proxies / np.linalg.norm(proxies, axis=1, keepdims=True)
    squared = ((rows[:, None] - proxies[None]) ** 2).sum(axis=2)
    terms = [
        squared[i, y] + np.log(sum(np.exp(-squared[i, z]) for z in range(3) if z != y))
        for i, y in enumerate(labels.tolist())
    ]
    assert loss(embeddings, labels).loss.item() == pytest.approx(np.mean(terms), rel=1e-6)


ALL = [ProxyNCALoss, ProxyAnchorLoss, NormFaceLoss, CosFaceLoss, ArcFaceLoss]


@pytest.mark.parametrize("kind", ALL)
def test_rows_of_unknown_class_take_no_part(kind):
    embeddings, labels = batch()
    loss = kind(5, 8).double()
    kept = torch.arange(24) % 3 > 0
    assert_same(
        lambda: loss(embeddings, torch.where(kept, labels, -1)),
        lambda: loss(embeddings[kept], labels[kept]),
        embeddings,
        loss.proxies,
    )
    assert loss(embeddings, torch.full((24,), -1)).loss.item() == 0


@pytest.mark.parametrize("kind", ALL)
def test_gradients_are_finite_on_and_opposite_a_proxy(kind):
    loss = kind(2, 2, proxies=torch.eye(2))
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss(rows, torch.tensor([0, 0])).loss.backward()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("kind", ALL)
def test_proxies_can_be_given_and_fixed(kind):
    given = torch.randn(3, 4)
    loss = kind(3, 4, proxies=given, trainable=False)
    assert torch.equal(loss.proxies, given)
    assert not any(p.requires_grad for p in loss.parameters())
    assert not torch.equal(kind(3, 4, seed=0).proxies, kind(3, 4, seed=1).proxies)
    assert torch.equal(kind(3, 4, seed=1).proxies, kind(3, 4, seed=1).proxies)
    rows = torch.nn.functional.normalize(given) * 3
    assert loss(rows, torch.arange(3)).parts["accuracy"] == 1.0
    assert loss(rows, torch.tensor([1, 2, 0])).parts["accuracy"] == 0.0


@pytest.mark.parametrize("kind", ALL)
def test_bad_input_is_refused(kind):
    loss = kind(3, 4)
    with pytest.raises(InputError, match="label 3; expected labels below classes=3"):
        loss(torch.eye(4), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(DimensionError, match="embeddings of dimension 2; expected 4"):
        loss(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="no labels"):
        loss(torch.eye(4))
    with pytest.raises(InputError, match="pairs for a loss over proxies"):
        loss(torch.eye(4), torch.arange(4), pairs=Triplets(torch.tensor([[0, 1, 2]])))
    with pytest.raises(InputError, match="classes=1"):
        kind(1, 4)
    with pytest.raises(DimensionError, match="proxies of shape"):
        kind(3, 4, proxies=torch.eye(3))
    with pytest.raises(InputError, match="below pi"):
        ArcFaceLoss(3, 4, margin=28.6)
