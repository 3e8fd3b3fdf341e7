"""Miners within a batch: which of its pairs or triplets a loss should look at."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import (
    DISTANCES,
    check_number,
    class_labels,
    pairwise_distances,
    unit,
)
from orthant.learn.losses.metric.tuples import Pairs, Triplets, masks, triplets_of
from orthant.learn.losses.protocol import check_finite, check_shape
from orthant.validate import check_choice

__all__ = ["DistanceWeightedMiner", "HardMiner", "MarginMiner", "MultiSimilarityMiner", "distance_weights"]


class HardMiner:
    """For each anchor its farthest positive and its nearest negative.

    The strongest signal of a batch, and the noisiest: wrong labels are always among the hardest.

    Parameters
    ----------
    distance : {"cosine", "euclidean", "squared-euclidean"}, default "cosine"
        Of rows as they are.

    References
    ----------
    Hermans, Beyer, Leibe: In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737, section 2.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.5, 0.5]])
    >>> HardMiner()(rows, torch.tensor([0, 0, 0, 1])).rows.tolist()
    [[0, 2, 3], [1, 2, 3], [2, 0, 3]]
    """

    def __init__(self, *, distance: str = "cosine") -> None:
        self.distance = check_choice(distance, DISTANCES, name="distance")

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor) -> Triplets:
        """Return the triplets of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d)
            Rows.
        labels : Tensor of shape (B,), integer
            Class of each; a negative one is unknown.

        Returns
        -------
        Triplets
            One for each anchor that has a positive and a negative.

        Raises
        ------
        InputError
            Labels without a positive or a negative pair.
        """
        positive, negative = _checked(embeddings, labels)
        found = pairwise_distances(embeddings, embeddings, distance=self.distance)
        anchors = (positive.any(dim=1) & negative.any(dim=1)).nonzero().flatten()
        far = found.masked_fill(~positive, -torch.inf)[anchors].argmax(dim=1)
        near = found.masked_fill(~negative, torch.inf)[anchors].argmin(dim=1)
        return Triplets(torch.stack([anchors, far, near], dim=1))


class MarginMiner:
    """All triplets that violate a margin, or the hard or the semi-hard ones of them.

    Parameters
    ----------
    margin : float, default 0.2
        At least 0. That of the loss, as a rule.
    kind : {"all", "hard", "semi-hard"}, default "all"
        All that violate it; those whose negative is nearer than the positive; or the others, which are safer early on.
    distance : {"cosine", "euclidean", "squared-euclidean"}, default "cosine"
        Of rows as they are.

    Notes
    -----
    With ``g = d(a, n) - d(a, p)``: all ``g <= margin``, hard ``g <= 0``, semi-hard ``0 < g <= margin``.

    References
    ----------
    Schroff, Kalenichenko, Philbin: FaceNet. arXiv 1503.03832, CVPR 2015, section 3.2.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    >>> MarginMiner(margin=0.3)(rows, torch.tensor([0, 0, 1])).rows.tolist()
    [[0, 1, 2], [1, 0, 2]]
    """

    def __init__(self, *, margin: float = 0.2, kind: str = "all", distance: str = "cosine") -> None:
        self.margin = check_number(margin, name="margin", low=0.0)
        self.kind = check_choice(kind, ("all", "hard", "semi-hard"), name="kind")
        self.distance = check_choice(distance, DISTANCES, name="distance")

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor) -> Triplets:
        """Return the triplets of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d)
            Rows.
        labels : Tensor of shape (B,), integer
            Class of each; a negative one is unknown.

        Returns
        -------
        Triplets
            Possibly none.

        Raises
        ------
        InputError
            Labels without a positive or a negative pair.
        """
        _checked(embeddings, labels)
        rows = triplets_of(len(embeddings), labels, None)
        found = pairwise_distances(embeddings, embeddings, distance=self.distance)
        gaps = found[rows[:, 0], rows[:, 2]] - found[rows[:, 0], rows[:, 1]]
        kept = gaps <= (0.0 if self.kind == "hard" else self.margin)
        if self.kind == "semi-hard":
            kept &= gaps > 0
        return Triplets(rows[kept])


class MultiSimilarityMiner:
    """Pairs that are hard relative to the other kind: positives beyond the nearest negative, and the other way round.

    Parameters
    ----------
    epsilon : float, default 0.1
        At least 0: cosine by which a pair may be easier and still count. Too small and few pairs are left, too large
        and nothing is mined.

    Notes
    -----
    Positives with ``s_ap - epsilon < max_n s_an``; negatives with ``s_an + epsilon > min_p s_ap``.

    References
    ----------
    Wang, Han, Huang, Dong, Scott: Multi-Similarity Loss. arXiv 1904.06627, CVPR 2019, equations 11 and 12.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]])
    >>> MultiSimilarityMiner()(rows, torch.tensor([0, 0, 1, 1])).positives.tolist()
    [[0, 1], [1, 0], [2, 3], [3, 2]]
    """

    def __init__(self, *, epsilon: float = 0.1) -> None:
        self.epsilon = check_number(epsilon, name="epsilon", low=0.0)

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor) -> Pairs:
        """Return the pairs of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d)
            Rows.
        labels : Tensor of shape (B,), integer
            Class of each; a negative one is unknown.

        Returns
        -------
        Pairs
            Possibly none.

        Raises
        ------
        InputError
            Labels without a positive or a negative pair.
        """
        positive, negative = _checked(embeddings, labels)
        rows = unit(embeddings)
        cosines = rows @ rows.T
        hardest_negative = cosines.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
        hardest_positive = cosines.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
        pulls = positive & (cosines - self.epsilon < hardest_negative)
        pushes = negative & (cosines + self.epsilon > hardest_positive)
        return Pairs(pulls.nonzero(), pushes.nonzero())


class DistanceWeightedMiner:
    """For each positive pair a negative drawn so that all distances are about equally likely.

    Uniform draws on a sphere of high dimension are nearly all orthogonal to the anchor and teach nothing; the hardest
    ones are noise. Draws come from torch's global generator, which checkpoints store.

    Parameters
    ----------
    cutoff : float, default 0.5
        Above 0 and below 2. Nearer negatives count as this near, so that the nearest do not take all draws.
    limit : float, default 1.4
        Distance from which a negative is never drawn, since it costs nothing.

    References
    ----------
    Wu, Manmatha, Smola, Krähenbühl: Sampling Matters in Deep Embedding Learning. arXiv 1706.07567, ICCV 2017, section
    4.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.6, 0.8, 0.0], [-1.0, 0.0, 0.0]])
    >>> mined = DistanceWeightedMiner()(rows, torch.tensor([0, 0, 1, 2]))
    >>> mined.rows[0].tolist()
    [0, 1, 2]
    """

    def __init__(self, *, cutoff: float = 0.5, limit: float = 1.4) -> None:
        self.cutoff = check_number(cutoff, name="cutoff", low=0.0)
        self.limit = check_number(limit, name="limit", low=0.0)
        if not 0 < self.cutoff < self.limit <= 2:
            raise InputError(
                message(
                    f"cutoff={cutoff}, limit={limit}", "0 < cutoff < limit <= 2", "distances of unit vectors end at 2"
                )
            )

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor) -> Triplets:
        """Return one triplet for each positive pair that has a negative in reach.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d)
            Rows, d at least 3.
        labels : Tensor of shape (B,), integer
            Class of each; a negative one is unknown.

        Returns
        -------
        Triplets
            Possibly none.

        Raises
        ------
        InputError
            Labels without a positive or a negative pair, or fewer than 3 dimensions.
        """
        positive, negative = _checked(embeddings, labels)
        weights = distance_weights(embeddings, negative, cutoff=self.cutoff, limit=self.limit)
        anchors, others = (positive & (weights.sum(dim=1) > 0)[:, None]).nonzero(as_tuple=True)
        if len(anchors) == 0:
            return Triplets(torch.zeros((0, 3), dtype=torch.int64, device=embeddings.device))
        drawn = torch.multinomial(weights[anchors], 1)[:, 0]
        return Triplets(torch.stack([anchors, others, drawn], dim=1))


def distance_weights(embeddings: Tensor, negative: Tensor, *, cutoff: float, limit: float) -> Tensor:
    """Return the chance with which each row is drawn as a negative of each other.

    Parameters
    ----------
    embeddings : Tensor of shape (B, d)
        Rows, d at least 3.
    negative : Tensor of shape (B, B), bool
        Negative pairs.
    cutoff : float
        Least distance.
    limit : float
        Distance from which the chance is zero.

    Returns
    -------
    Tensor of shape (B, B)
        Rows sum to one, or to zero where no negative is in reach.

    Raises
    ------
    InputError
        Fewer than 3 dimensions.

    Notes
    -----
    Distances of random points on a sphere have the density ``q(t) ~ t^(d-2) (1 - t^2/4)^((d-3)/2)``; the chance of a
    negative is proportional to ``1 / q(max(t, cutoff))``.
    """
    dim = embeddings.shape[1]
    if dim < 3:
        raise InputError(message(f"embeddings of dimension {dim}", "at least 3", "use MarginMiner in a plane"))
    rows = unit(embeddings.double())
    found = torch.cdist(rows, rows).clamp_min(cutoff)
    log_density = (dim - 2) * found.log() + (dim - 3) / 2 * (1 - found**2 / 4).clamp_min(1e-12).log()
    inverse = (-log_density).masked_fill(~negative | (found >= limit), -torch.inf)
    reachable = torch.isfinite(inverse).any(dim=1, keepdim=True)
    # In logarithms until here: for hundreds of dimensions the densities themselves underflow.
    return torch.where(reachable, torch.softmax(inverse.masked_fill(~reachable, 0.0), dim=1), 0.0)


def _checked(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    check_shape(embeddings, (None, None), name="embeddings")
    check_finite({"embeddings": embeddings})
    return masks(len(embeddings), class_labels(labels, embeddings), None)
