"""Losses over the positive and negative pairs of a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from orthant.learn.losses.metric.interface import (
    DISTANCES,
    PairMaskLoss,
    check_number,
    mean_of_positive,
    pairwise_distances,
    unit,
)
from orthant.learn.losses.protocol import LossOutput, check_positive
from orthant.validate import check_choice

__all__ = [
    "BinomialDevianceLoss",
    "CircleLoss",
    "LiftedStructureLoss",
    "MarginContrastiveLoss",
    "MultiSimilarityLoss",
]


class MarginContrastiveLoss(PairMaskLoss):
    """Pull positive pairs within one margin and push negative pairs beyond another.

    The oldest of the family and the easiest to read: distances have a meaning after training. It treats each pair
    alone, so that the scale of the margins has to suit the data; losses that compare pairs within a batch are usually
    better.

    Parameters
    ----------
    positive_margin : float, default 0.0
        At least 0. Positive pairs within it cost nothing; above 0 it leaves room within a class.
    negative_margin : float, default 1.0
        Above 0. Negative pairs beyond it cost nothing. Too small and classes overlap, too large and the loss never
        rests.
    distance : {"cosine", "euclidean", "squared-euclidean"}, default "euclidean"
        On unit rows, whichever is chosen.

    Notes
    -----
    ``mean+ relu(d_ap - m_p) + mean+ relu(m_n - d_an)`` with means over the pairs that cost something.

    References
    ----------
    Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping. CVPR 2006, section 2.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> output = MarginContrastiveLoss()(rows, torch.tensor([0, 0, 1]))
    >>> round(output.parts["positive"], 4), output.parts["negative"]
    (1.4142, 0.0)
    """

    def __init__(
        self, *, positive_margin: float = 0.0, negative_margin: float = 1.0, distance: str = "euclidean"
    ) -> None:
        super().__init__()
        self.positive_margin = check_number(positive_margin, name="positive_margin", low=0.0)
        self.negative_margin = check_positive(negative_margin, name="negative_margin")
        self.distance = check_choice(distance, DISTANCES, name="distance")

    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        rows = unit(embeddings)
        found = pairwise_distances(rows, rows, distance=self.distance)
        pulled = mean_of_positive(torch.relu(found[positive] - self.positive_margin))
        pushed = mean_of_positive(torch.relu(self.negative_margin - found[negative]))
        return LossOutput(pulled + pushed, {"positive": float(pulled.detach()), "negative": float(pushed.detach())})


class BinomialDevianceLoss(PairMaskLoss):
    """Logistic loss of each pair's cosine, with negative pairs weighing more.

    Smooth and without dead pairs. The usual companion of energy confusion.

    Parameters
    ----------
    alpha : float, default 2.0
        Above 0: steepness.
    beta : float, default 0.5
        Cosine at which a pair is undecided, from -1 to 1.
    negative_cost : float, default 25.0
        Above 0: factor of the steepness for negative pairs. Too small and easy negatives drown the hard ones.

    Notes
    -----
    ``mean_pos log(1 + e^(-alpha (s - beta))) + mean_neg log(1 + e^(alpha c_n (s - beta)))``, s the cosine.

    References
    ----------
    Ustinova, Lempitsky: Learning Deep Embeddings with Histogram Loss. arXiv 1611.00822, NIPS 2016, section 4
    (baseline). Chen, Deng: Energy Confused Adversarial Metric Learning. arXiv 1901.07169, AAAI 2019, section 3.

    Examples
    --------
    >>> import torch
    >>> output = BinomialDevianceLoss()(torch.eye(3), torch.tensor([0, 0, 1]))
    >>> round(output.parts["positive"], 4)
    1.3133
    """

    def __init__(self, *, alpha: float = 2.0, beta: float = 0.5, negative_cost: float = 25.0) -> None:
        super().__init__()
        self.alpha = check_positive(alpha, name="alpha")
        self.beta = check_number(beta, name="beta")
        self.negative_cost = check_positive(negative_cost, name="negative_cost")

    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        rows = unit(embeddings)
        shifted = rows @ rows.T - self.beta
        softplus = torch.nn.functional.softplus
        pulled = _mean(softplus(-self.alpha * shifted[positive]))
        pushed = _mean(softplus(self.alpha * self.negative_cost * shifted[negative]))
        return LossOutput(pulled + pushed, {"positive": float(pulled.detach()), "negative": float(pushed.detach())})


class MultiSimilarityLoss(PairMaskLoss):
    """Soft maximum over each row's positives and negatives, weighted by their own and their relative similarity.

    A strong default for labelled data, best with `MultiSimilarityMiner`.

    Parameters
    ----------
    alpha : float, default 2.0
        Above 0: sharpness over positives.
    beta : float, default 50.0
        Above 0: sharpness over negatives. Too large and only the hardest negative counts.
    base : float, default 0.5
        Cosine at which a pair is undecided.

    Notes
    -----
    ``mean_i [log(1 + sum_p e^(-alpha (s_ip - base))) / alpha + log(1 + sum_n e^(beta (s_in - base))) / beta]``.

    References
    ----------
    Wang, Han, Huang, Dong, Scott: Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning.
    arXiv 1904.06627, CVPR 2019, equation 15.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(MultiSimilarityLoss()(rows, torch.tensor([0, 0, 1, 1])).loss), 4)
    0.1566
    """

    def __init__(self, *, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__()
        self.alpha = check_positive(alpha, name="alpha")
        self.beta = check_positive(beta, name="beta")
        self.base = check_number(base, name="base")

    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        rows = unit(embeddings)
        shifted = rows @ rows.T - self.base
        pulled = (_log_one_plus_sum(-self.alpha * shifted, positive) / self.alpha).mean()
        pushed = (_log_one_plus_sum(self.beta * shifted, negative) / self.beta).mean()
        return LossOutput(pulled + pushed, {"positive": float(pulled.detach()), "negative": float(pushed.detach())})


class LiftedStructureLoss(PairMaskLoss):
    """Compare each positive pair with all negatives of both its rows.

    Parameters
    ----------
    positive_margin : float, default 0.0
        Distance that a positive pair is allowed.
    negative_margin : float, default 1.0
        Distance at which a negative starts to count fully. Too small and negatives stop pushing early.
    distance : {"cosine", "euclidean", "squared-euclidean"}, default "euclidean"
        On unit rows, whichever is chosen.

    Notes
    -----
    ``J_ap = log sum_{n of a or p} e^(m_n - d_n) + d_ap - m_p`` and ``mean relu(J)^2 / 2`` over positive pairs.

    References
    ----------
    Oh Song, Xiang, Jegelka, Savarese: Deep Metric Learning via Lifted Structured Feature Embedding. arXiv 1511.06452,
    CVPR 2016, equation 4.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(LiftedStructureLoss()(rows, torch.tensor([0, 0, 1, 1])).loss), 4)
    0.0746
    """

    def __init__(
        self, *, positive_margin: float = 0.0, negative_margin: float = 1.0, distance: str = "euclidean"
    ) -> None:
        super().__init__()
        self.positive_margin = check_number(positive_margin, name="positive_margin")
        self.negative_margin = check_number(negative_margin, name="negative_margin")
        self.distance = check_choice(distance, DISTANCES, name="distance")

    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        rows = unit(embeddings)
        found = pairwise_distances(rows, rows, distance=self.distance)
        anchors, others = positive.nonzero(as_tuple=True)
        near = negative.any(dim=1)
        kept = near[anchors] | near[others]
        anchors, others = anchors[kept], others[kept]
        if len(anchors) == 0:
            return LossOutput(embeddings.sum() * 0.0, {})
        pushes = _log_sum(self.negative_margin - found, negative)
        terms = torch.logaddexp(pushes[anchors], pushes[others]) + found[anchors, others] - self.positive_margin
        loss = (torch.relu(terms) ** 2 / 2).mean()
        return LossOutput(loss, {"active": float((terms.detach() > 0).double().mean())})


class CircleLoss(PairMaskLoss):
    """Weigh each pair by how far it is from where it should be, so that solved pairs stop pulling.

    Parameters
    ----------
    margin : float, default 0.4
        From 0 to below 1: positive pairs aim at a cosine of 1 - margin, negative ones at margin. Too small is strict,
        too large gives up early.
    scale : float, default 80.0
        Above 0. Too small blurs the pairs of a row into one, too large looks at the hardest only.

    Notes
    -----
    ``log(1 + sum_p e^(-g relu(1 + m - s_p)(s_p - 1 + m)) sum_n e^(g relu(s_n + m)(s_n - m)))`` with the weights in relu
    detached, as the mean over rows with pairs of both kinds.

    References
    ----------
    Sun et al.: Circle Loss: A Unified Perspective of Pair Similarity Optimization. arXiv 2002.10857, CVPR 2020,
    equation 6.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> float(CircleLoss()(rows, torch.tensor([0, 0, 1, 1])).loss) < 1e-4
    True
    """

    def __init__(self, *, margin: float = 0.4, scale: float = 80.0) -> None:
        super().__init__()
        self.margin = check_number(margin, name="margin", low=0.0)
        self.scale = check_positive(scale, name="scale")

    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        rows = unit(embeddings)
        cosines = rows @ rows.T
        fixed = cosines.detach()
        pulls = -self.scale * torch.relu(1 + self.margin - fixed) * (cosines - (1 - self.margin))
        pushes = self.scale * torch.relu(fixed + self.margin) * (cosines - self.margin)
        both = positive.any(dim=1) & negative.any(dim=1)
        if not both.any():
            return LossOutput(embeddings.sum() * 0.0, {})
        terms = torch.nn.functional.softplus(
            _log_sum(pulls[both], positive[both]) + _log_sum(pushes[both], negative[both])
        )
        return LossOutput(mean_of_positive(terms), {"active": float((terms.detach() > 0).double().mean())})


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.sum()


def _log_sum(values: Tensor, keep: Tensor) -> Tensor:
    """Return log sum exp along rows over the entries kept; very small, but finite, where a row keeps none.

    Minus infinity would be exact, but its gradient is not a number.
    """
    least = torch.finfo(values.dtype).min / 4
    return torch.logsumexp(values.masked_fill(~keep, least), dim=1)


def _log_one_plus_sum(values: Tensor, keep: Tensor) -> Tensor:
    masked = values.masked_fill(~keep, -math.inf)
    return torch.logsumexp(torch.cat([masked, values.new_zeros(len(values), 1)], dim=1), dim=1)
