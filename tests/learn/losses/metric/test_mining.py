from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peers = pytest.importorskip("pytorch_metric_learning.miners")
peer_distances = pytest.importorskip("pytorch_metric_learning.distances")

from learn.losses.metric.batches import batch  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.losses.metric import (  # noqa: E402
    DistanceWeightedMiner,
    HardMiner,
    MarginMiner,
    MultiSimilarityMiner,
    TripletLoss,
)
from orthant.learn.losses.metric.mining import distance_weights  # noqa: E402
from orthant.learn.losses.metric.tuples import label_masks  # noqa: E402


def as_set(columns):
    return {tuple(row) for row in torch.stack(list(columns), dim=1).tolist()}


DISTANCES = {
    "cosine": peer_distances.CosineSimilarity(),
    "euclidean": peer_distances.LpDistance(normalize_embeddings=False),
}


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_hard_triplets_equal_the_library(distance, seed):
    embeddings, labels = batch(seed=seed)
    other = peers.BatchHardMiner(distance=DISTANCES[distance])
    mined = HardMiner(distance=distance)(embeddings, labels)
    assert as_set(mined.rows.T) == as_set(other(embeddings, labels))
    assert len(mined.rows) == 24


@pytest.mark.parametrize("kind", ["all", "hard", "semi-hard"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_triplets_by_margin_equal_the_library(distance, kind):
    embeddings, labels = batch()
    other = peers.TripletMarginMiner(margin=0.15, type_of_triplets=kind.replace("-", ""), distance=DISTANCES[distance])
    mined = MarginMiner(margin=0.15, kind=kind, distance=distance)(embeddings, labels)
    assert as_set(mined.rows.T) == as_set(other(embeddings, labels))
    assert len(mined.rows) > 10


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_multi_similarity_pairs_equal_the_library(epsilon):
    embeddings, labels = batch()
    mined = MultiSimilarityMiner(epsilon=epsilon)(embeddings, labels)
    a, p, b, n = peers.MultiSimilarityMiner(epsilon=epsilon)(embeddings, labels)
    assert as_set(mined.positives.T) == as_set((a, p))
    assert as_set(mined.negatives.T) == as_set((b, n))


def test_distance_weights_are_one_over_the_density():
    embeddings, labels = batch(dim=6)
    negative = label_masks(labels)[1]
    found = distance_weights(embeddings.detach(), negative, cutoff=0.5, limit=1.4).numpy()
    rows = embeddings.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for i in range(24):
        weights = np.zeros(24)
        for j in range(24):
            t = max(0.5, np.linalg.norm(rows[i] - rows[j]))
            if labels[i] != labels[j] and t < 1.4:
                weights[j] = 1 / (t**4 * (1 - t**2 / 4) ** 1.5)
        np.testing.assert_allclose(found[i], weights / weights.sum(), rtol=1e-9, atol=1e-12)


def test_negatives_are_drawn_by_their_weights():
    embeddings, labels = batch(dim=6)
    negative = label_masks(labels)[1]
    weights = distance_weights(embeddings.detach(), negative, cutoff=0.5, limit=1.4)
    torch.manual_seed(0)
    counts = torch.zeros(24, 24, dtype=torch.float64)
    for _ in range(200):
        rows = DistanceWeightedMiner()(embeddings, labels).rows
        counts.index_put_((rows[:, 0], rows[:, 2]), torch.ones(len(rows), dtype=torch.float64), accumulate=True)
        assert (labels[rows[:, 0]] == labels[rows[:, 1]]).all()
        assert (labels[rows[:, 0]] != labels[rows[:, 2]]).all()
    frequency = counts / counts.sum(dim=1, keepdim=True)
    assert (frequency - weights).abs().max() < 0.07
    torch.manual_seed(3)
    first = DistanceWeightedMiner()(embeddings, labels).rows
    torch.manual_seed(3)
    assert torch.equal(first, DistanceWeightedMiner()(embeddings, labels).rows)


def test_weights_stay_finite_in_many_dimensions():
    embeddings, labels = batch(dim=768, dtype=torch.float32)
    weights = distance_weights(embeddings.detach(), label_masks(labels)[1], cutoff=0.5, limit=1.4)
    assert torch.isfinite(weights).all()
    assert weights.sum(dim=1).numpy() == pytest.approx(1.0)


def test_no_negative_in_reach_gives_no_triplet():
    rows = torch.tensor([[1.0, 0, 0], [1.0, 0.1, 0], [-1.0, 0, 0]])
    assert len(DistanceWeightedMiner()(rows, torch.tensor([0, 0, 1])).rows) == 0


@pytest.mark.parametrize(
    "miner",
    [HardMiner(), MarginMiner(), MultiSimilarityMiner(), DistanceWeightedMiner()],
    ids=lambda m: type(m).__name__,
)
def test_miners_build_no_graph_skip_unknown_rows_and_refuse_one_class(miner):
    embeddings, labels = batch()
    hidden = torch.where(torch.arange(24) < 6, -1, labels)
    mined = miner(embeddings, hidden)
    rows = torch.cat([mined.rows.flatten()] if hasattr(mined, "rows") else [mined.positives, mined.negatives]).flatten()
    assert rows.min() >= 6
    loss = TripletLoss()(embeddings, labels, pairs=mined)
    loss.loss.backward()
    assert embeddings.grad[:6].abs().max() == 0
    with pytest.raises(InputError, match="no negative pair"):
        miner(embeddings, torch.zeros(24, dtype=torch.int64))


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match=r"cutoff=1\.5"):
        DistanceWeightedMiner(cutoff=1.5)
    with pytest.raises(InputError, match="margin=-1"):
        MarginMiner(margin=-1)
    with pytest.raises(InputError, match="kind='easy'"):
        MarginMiner(kind="easy")
    with pytest.raises(InputError, match="embeddings of dimension 2"):
        DistanceWeightedMiner()(torch.eye(2)[[0, 0, 1]], torch.tensor([0, 0, 1]))
