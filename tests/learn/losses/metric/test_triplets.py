from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peers = pytest.importorskip("pytorch_metric_learning.losses")
peer_distances = pytest.importorskip("pytorch_metric_learning.distances")

from learn.losses.metric.batches import assert_same, batch  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.losses.metric import NPairLoss, Pairs, TripletLoss, Triplets  # noqa: E402


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_w59_all_triplets_equal_the_library(distance, soft):
    other = peers.TripletMarginLoss(
        margin=0.3,
        smooth_loss=soft,
        # Cosines run the other way round, so the margin of similarities is that of the distances.
        distance=peer_distances.CosineSimilarity()
        if distance == "cosine"
        else peer_distances.LpDistance(normalize_embeddings=False),
    )
    mine = TripletLoss(margin=0.3, distance=distance, soft=soft)
    embeddings, labels = batch()
    assert_same(lambda: mine(embeddings, labels), lambda: other(embeddings, labels), embeddings)


@pytest.fixture(scope="module")
def text_losses():
    return pytest.importorskip("sentence_transformers.sentence_transformer.losses")


@pytest.mark.parametrize("mining", ["hard", "semi-hard", "hard, soft", "all"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_mining_within_the_loss_equals_sentence_transformers(text_losses, mining, distance):
    kinds = text_losses.BatchHardTripletLossDistanceFunction
    metric = kinds.cosine_distance if distance == "cosine" else kinds.euclidean_distance
    other = {
        "hard": lambda: text_losses.BatchHardTripletLoss(None, metric, margin=0.5),
        "semi-hard": lambda: text_losses.BatchSemiHardTripletLoss(None, metric, margin=0.5),
        "hard, soft": lambda: text_losses.BatchHardSoftMarginTripletLoss(None, metric),
        "all": lambda: text_losses.BatchAllTripletLoss(None, metric, margin=0.5),
    }[mining]()
    mine = TripletLoss(
        margin=0.0 if "soft" in mining else 0.5,
        mining=mining.split(",")[0],
        soft="soft" in mining,
        average="active" if mining == "all" else "all",
        distance=distance,
    )
    for seed in (0, 1):
        embeddings, labels = batch(seed=seed)
        assert_same(
            lambda: mine(embeddings, labels),  # noqa: B023
            lambda: other.compute_loss_from_embeddings([embeddings], labels),  # noqa: B023
            embeddings,
            tolerance=1e-7,
        )


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_given_triplets_equal_sentence_transformers(text_losses, distance):
    metric = getattr(text_losses.TripletDistanceMetric, distance.upper())
    other = text_losses.TripletLoss(None, metric, triplet_margin=0.4)
    mine = TripletLoss(margin=0.4, average="all", distance=distance)
    embeddings, _ = batch(rows=30)
    rows = torch.arange(30).reshape(3, 10).T
    assert_same(
        lambda: mine(embeddings, pairs=Triplets(rows)),
        lambda: other.compute_loss_from_embeddings([embeddings[rows[:, i]] for i in range(3)], None),
        embeddings,
        tolerance=1e-5,
    )


def test_w59_semi_hard_by_its_definition():
    embeddings, labels = batch(rows=18, classes=3, seed=5)
    rows = embeddings.detach().numpy()
    found = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    terms = []
    for a in range(18):
        negatives = [n for n in range(18) if labels[n] != labels[a]]
        for p in range(18):
            if p == a or labels[p] != labels[a]:
                continue
            beyond = [found[a, n] for n in negatives if found[a, n] > found[a, p]]
            chosen = min(beyond) if beyond else max(found[a, n] for n in negatives)
            terms.append(max(0.0, found[a, p] - chosen + 0.7))
    loss = TripletLoss(margin=0.7, mining="semi-hard", average="all", distance="euclidean")
    assert loss(embeddings, labels).loss.item() == pytest.approx(np.mean(terms), rel=1e-7)


def test_the_active_share_is_reported():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert TripletLoss(margin=0.5)(rows, labels).parts == {"active": 0.0}
    assert TripletLoss(margin=1.5)(rows, labels).parts == {"active": 1.0}


def test_mining_respects_given_pairs():
    embeddings, labels = batch()
    pairs = Pairs(torch.tensor([[0, 1], [0, 2]]), torch.tensor([[0, 3], [0, 4]]))
    rows = embeddings.detach().numpy()
    d = [1 - rows[0] @ rows[i] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[i]) for i in range(5)]
    hard = TripletLoss(margin=3.0, mining="hard")(embeddings, labels, pairs=pairs)
    assert hard.loss.item() == pytest.approx(max(d[1], d[2]) - min(d[3], d[4]) + 3)
    every = TripletLoss(margin=3.0)(embeddings, labels, pairs=pairs)
    assert every.loss.item() == pytest.approx(3 + (d[1] + d[2]) / 2 - (d[3] + d[4]) / 2)


def test_margins_are_checked():
    for margin in (0, -0.2, float("nan")):
        with pytest.raises(InputError, match="margin="):
            TripletLoss(margin=margin)
    assert TripletLoss(margin=0.0, soft=True).margin == 0
    with pytest.raises(InputError, match="mining='easy'"):
        TripletLoss(mining="easy")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_n_pairs_equal_the_library(seed):
    other = peers.NPairsLoss(distance=peer_distances.DotProductSimilarity(normalize_embeddings=False))
    embeddings, labels = batch(seed=seed)
    assert_same(lambda: NPairLoss()(embeddings, labels), lambda: other(embeddings, labels), embeddings)


def test_n_pairs_of_cosines_with_a_scale():
    embeddings, labels = batch(rows=6, classes=3)
    order = [int((labels == c).nonzero()[k]) for k in (0, 1) for c in range(3)]
    rows = embeddings.detach().numpy()[order]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    logits = 10 * rows[:3] @ rows[3:].T
    wanted = np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))
    loss = NPairLoss(scale=10.0, normalise=True)
    assert loss(embeddings, labels).loss.item() == pytest.approx(wanted, rel=1e-10)
    with pytest.raises(InputError, match="no labels"):
        loss(embeddings, pairs=Triplets(torch.tensor([[0, 1, 2]])))
