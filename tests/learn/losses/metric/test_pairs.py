from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peers = pytest.importorskip("pytorch_metric_learning.losses")
peer_distances = pytest.importorskip("pytorch_metric_learning.distances")

from learn.losses.metric.batches import assert_same, batch, value_and_gradients  # noqa: E402
from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.losses.metric import (  # noqa: E402
    BinomialDevianceLoss,
    CircleLoss,
    LiftedStructureLoss,
    MarginContrastiveLoss,
    MultiSimilarityLoss,
    MultiSimilarityMiner,
    Pairs,
    Triplets,
)
from orthant.learn.losses.metric.tuples import label_masks  # noqa: E402

ORACLES = {
    "contrastive": (
        MarginContrastiveLoss(positive_margin=0.2, negative_margin=1.1),
        peers.ContrastiveLoss(pos_margin=0.2, neg_margin=1.1),
    ),
    "contrastive, squared": (
        MarginContrastiveLoss(distance="squared-euclidean"),
        peers.ContrastiveLoss(distance=peer_distances.LpDistance(power=2)),
    ),
    "multi-similarity": (MultiSimilarityLoss(), peers.MultiSimilarityLoss()),
    "multi-similarity, set": (
        MultiSimilarityLoss(alpha=3.0, beta=20.0, base=0.3),
        peers.MultiSimilarityLoss(alpha=3, beta=20, base=0.3),
    ),
    "lifted": (LiftedStructureLoss(), peers.LiftedStructureLoss()),
    "lifted, set": (
        LiftedStructureLoss(positive_margin=0.1, negative_margin=1.5),
        peers.LiftedStructureLoss(pos_margin=0.1, neg_margin=1.5),
    ),
    "circle": (CircleLoss(), peers.CircleLoss()),
    "circle, set": (CircleLoss(margin=0.25, scale=10.0), peers.CircleLoss(m=0.25, gamma=10)),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", [0, 1])
def test_w59_values_and_gradients_equal_the_library(name, seed):
    mine, other = ORACLES[name]
    embeddings, labels = batch(seed=seed)
    assert_same(lambda: mine(embeddings, labels), lambda: other(embeddings, labels), embeddings)


@pytest.mark.parametrize("name", ORACLES)
def test_single_precision_is_good_enough(name):
    mine, other = ORACLES[name]
    embeddings, labels = batch(seed=2, dtype=torch.float32)
    double = embeddings.detach().double().requires_grad_()
    value, (gradient,) = value_and_gradients(lambda: mine(embeddings, labels), embeddings)
    wanted, (expected,) = value_and_gradients(lambda: other(double, labels), double)
    assert value == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ORACLES)
def test_mined_pairs_equal_the_library(name):
    mine, other = ORACLES[name]
    embeddings, labels = batch(seed=3)
    pairs = MultiSimilarityMiner(epsilon=0.02)(embeddings, labels)
    assert 0 < len(pairs.positives) < len(label_masks(labels)[0].nonzero())
    given = (*pairs.positives.T, *pairs.negatives.T)
    assert_same(lambda: mine(embeddings, pairs=pairs), lambda: other(embeddings, labels, given), embeddings)


def test_w59_binomial_deviance_equals_the_formula():
    embeddings, labels = batch()
    output = BinomialDevianceLoss(alpha=1.5, beta=0.4, negative_cost=10.0)(embeddings, labels)
    rows = embeddings.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found, known = rows @ rows.T, labels.numpy()
    positive, negative = [], []
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j and known[i] == known[j]:
                positive.append(np.log1p(np.exp(-1.5 * (found[i, j] - 0.4))))
            elif i != j:
                negative.append(np.log1p(np.exp(15.0 * (found[i, j] - 0.4))))
    assert output.parts["positive"] == pytest.approx(np.mean(positive), rel=1e-12)
    assert output.parts["negative"] == pytest.approx(np.mean(negative), rel=1e-12)
    assert output.loss.item() == pytest.approx(np.mean(positive) + np.mean(negative), rel=1e-12)
    loss = BinomialDevianceLoss(beta=0.4)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels).loss, embeddings)


ALL = [MarginContrastiveLoss(), BinomialDevianceLoss(), MultiSimilarityLoss(), LiftedStructureLoss(), CircleLoss()]
every = pytest.mark.parametrize("loss", ALL, ids=lambda loss: type(loss).__name__)


@every
def test_rows_of_unknown_class_take_no_part(loss):
    embeddings, labels = batch()
    kept = torch.arange(24) % 3 > 0
    hidden = torch.where(kept, labels, -1)
    value, (gradient,) = value_and_gradients(lambda: loss(embeddings, hidden), embeddings)
    part = embeddings.detach()[kept].requires_grad_()
    wanted, (expected,) = value_and_gradients(lambda: loss(part, labels[kept]), part)
    # The multi-similarity loss is a mean over all rows of the batch, whether they have pairs or not.
    factor = 24 / 16 if isinstance(loss, MultiSimilarityLoss) else 1
    assert value * factor == pytest.approx(wanted, rel=1e-9)
    torch.testing.assert_close(gradient[kept] * factor, expected, rtol=1e-8, atol=1e-10)
    assert gradient[~kept].abs().max() == 0


@every
def test_gradients_are_finite_for_equal_and_zero_rows(loss):
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss(rows, torch.tensor([0, 0, 1, 1])).loss.backward()
    assert torch.isfinite(rows.grad).all()


@every
def test_a_miner_that_found_nothing_gives_zero(loss):
    embeddings, labels = batch()
    none = torch.zeros((0, 2), dtype=torch.int64)
    value, (gradient,) = value_and_gradients(lambda: loss(embeddings, labels, pairs=Pairs(none, none)), embeddings)
    assert value == 0
    assert gradient.abs().max() == 0


def test_the_weights_of_circle_loss_are_detached():
    # With weights that carry a gradient, finite differences of the loss would equal its gradient.
    embeddings, labels = batch(rows=6, classes=2)
    loss = CircleLoss(scale=4.0)
    assert not torch.autograd.gradcheck(lambda e: loss(e, labels).loss, embeddings, raise_exception=False)


@every
def test_bad_batches_are_refused(loss):
    rows = torch.eye(4)
    with pytest.raises(InputError, match="no negative pair"):
        loss(rows, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="no positive pair"):
        loss(rows, torch.arange(4))
    with pytest.raises(DimensionError, match="labels of shape"):
        loss(rows, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DtypeError, match="labels of dtype"):
        loss(rows, torch.zeros(4))
    with pytest.raises(InputError, match="neither labels nor pairs"):
        loss(rows)
    with pytest.raises(NonFiniteError, match="embeddings with NaN"):
        loss(rows * torch.nan, torch.tensor([0, 0, 1, 1]))
    with pytest.raises(DimensionError, match="embeddings of shape"):
        loss(rows[0], torch.tensor([0]))
    with pytest.raises(InputError, match="row 7 in pairs for a batch of 4"):
        loss(rows, pairs=Triplets(torch.tensor([[0, 1, 7]])))
    with pytest.raises(DtypeError, match="pairs of type Tensor"):
        loss(rows, pairs=torch.tensor([[0, 1]]))


def test_bad_pairs_are_refused():
    with pytest.raises(InputError, match="anchor and positive: the same row twice in entry 1"):
        Triplets(torch.tensor([[0, 1, 2], [3, 3, 1]]))
    with pytest.raises(InputError, match="anchor and negative"):
        Triplets(torch.tensor([[0, 1, 0]]))
    with pytest.raises(InputError, match="both others"):
        Triplets(torch.tensor([[0, 1, 1]]))
    with pytest.raises(DtypeError, match=r"triplets of dtype torch\.float32"):
        Triplets(torch.zeros(2, 3))
    with pytest.raises(InputError, match="positives: the same row twice"):
        Pairs(torch.tensor([[1, 1]]), torch.tensor([[1, 2]]))
    with pytest.raises(InputError, match="a negative row number in negatives"):
        Pairs(torch.tensor([[1, 0]]), torch.tensor([[1, -2]]))


def test_bad_settings_are_refused():
    for make in (
        lambda: MarginContrastiveLoss(negative_margin=0),
        lambda: MarginContrastiveLoss(positive_margin=-0.1),
        lambda: BinomialDevianceLoss(alpha=-1.0),
        lambda: MultiSimilarityLoss(beta=float("inf")),
        lambda: LiftedStructureLoss(negative_margin="big"),
        lambda: CircleLoss(scale=0.0),
        lambda: MarginContrastiveLoss(distance="manhattan"),
    ):
        with pytest.raises(InputError):
            make()
