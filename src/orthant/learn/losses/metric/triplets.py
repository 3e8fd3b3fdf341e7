"""Losses over an anchor, a row that belongs to it, and rows that do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import (
    DISTANCES,
    MetricLoss,
    as_chosen,
    check_number,
    class_labels,
    mean_of_positive,
    pairwise_distances,
    unit,
)
from orthant.learn.losses.metric.tuples import Pairs, Triplets, masks, triplets_of
from orthant.learn.losses.protocol import LossOutput, check_positive
from orthant.validate import check_choice

__all__ = ["NPairLoss", "TripletLoss"]

_MINING = ("all", "hard", "semi-hard")


class TripletLoss(MetricLoss):
    """A row belongs nearer to its positive than to its negative, by a margin.

    Asks for an order only, not for distances, so classes may keep an inner structure. Most triplets are met after a
    while: watch the part ``active`` and mine again, or mine within the batch, once it is near zero.

    Parameters
    ----------
    margin : float, default 0.2
        Above 0, or 0 when ``soft``. For cosine distances 0.2 to 0.5. Too small and the loss is met at once, too large
        and it never is.
    mining : {"all", "hard", "semi-hard"}, default "all"
        Which triplets of the batch count: all; for each anchor its farthest positive and nearest negative; or for each
        positive pair the nearest negative that is farther than the positive (the farthest, where none is). Hardest ones
        early in a training can collapse the embeddings: start with semi-hard. Triplets that are given count as they
        are.
    soft : bool, default False
        ``log(1 + e^x)`` in place of ``max(0, x)``: no triplet is ever quite done.
    average : {"active", "all"}, default "active"
        Mean over the triplets that cost something, or over all of them.
    distance : {"cosine", "euclidean", "squared-euclidean"}, default "cosine"
        Between rows as they are; the cosine does not depend on their norms.

    Notes
    -----
    ``max(0, d(a, p) - d(a, n) + margin)``. Anchors without a positive or a negative take no part.

    References
    ----------
    Schroff, Kalenichenko, Philbin: FaceNet. arXiv 1503.03832, CVPR 2015, section 3.
    Hermans, Beyer, Leibe: In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737, section 2.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> chosen = Triplets(torch.tensor([[0, 1, 2]]))
    >>> round(float(TripletLoss(margin=0.8)(rows, pairs=chosen).loss), 4)
    0.2
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        mining: str = "all",
        soft: bool = False,
        average: str = "active",
        distance: str = "cosine",
    ) -> None:
        super().__init__()
        self.margin = check_number(margin, name="margin", low=0.0) if soft else check_positive(margin, name="margin")
        self.mining = check_choice(mining, _MINING, name="mining")
        self.soft = soft
        self.average = check_choice(average, ("active", "all"), name="average")
        self.distance = check_choice(distance, DISTANCES, name="distance")

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        classes, chosen = class_labels(labels, embeddings), as_chosen(pairs)
        found = pairwise_distances(embeddings, embeddings, distance=self.distance)
        if self.mining == "all" or isinstance(chosen, Triplets):
            rows = triplets_of(len(embeddings), classes, chosen)
            near, far = found[rows[:, 0], rows[:, 1]], found[rows[:, 0], rows[:, 2]]
        else:
            positive, negative = masks(len(embeddings), classes, chosen)
            choose = hardest if self.mining == "hard" else semi_hard
            near, far = choose(found, positive, negative)
        if near.numel() == 0:
            return LossOutput(embeddings.sum() * 0.0, {"active": 0.0})
        gaps = near - far + self.margin
        terms = nn.functional.softplus(gaps) if self.soft else torch.relu(gaps)
        loss = mean_of_positive(terms) if self.average == "active" else terms.mean()
        return LossOutput(loss, {"active": float((gaps.detach() > 0).double().mean())})


def hardest(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest distance to a positive and the smallest to a negative.

    Parameters
    ----------
    distances : Tensor of shape (B, B)
        Between all rows.
    positive, negative : Tensor of shape (B, B), bool
        Pairs of each kind.

    Returns
    -------
    tuple of Tensor, each of shape (A,)
        For the A anchors that have both.
    """
    both = positive.any(dim=1) & negative.any(dim=1)
    near = distances.masked_fill(~positive, -torch.inf)[both].amax(dim=1)
    far = distances.masked_fill(~negative, torch.inf)[both].amin(dim=1)
    return near, far


def semi_hard(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each positive pair and that of its semi-hard negative.

    Parameters
    ----------
    distances : Tensor of shape (B, B)
        Between all rows.
    positive, negative : Tensor of shape (B, B), bool
        Pairs of each kind.

    Returns
    -------
    tuple of Tensor, each of shape (P,)
        For the P positive pairs whose anchor has a negative: the nearest negative beyond the positive, or the farthest.
    """
    anchors, others = (positive & negative.any(dim=1)[:, None]).nonzero(as_tuple=True)
    near = distances[anchors, others]
    candidates = negative[anchors]
    beyond = candidates & (distances.detach()[anchors] > near.detach()[:, None])
    nearest = distances[anchors].masked_fill(~beyond, torch.inf).amin(dim=1)
    farthest = distances[anchors].masked_fill(~candidates, -torch.inf).amax(dim=1)
    return near, torch.where(beyond.any(dim=1), nearest, farthest)


class NPairLoss(MetricLoss):
    """Find each class's second row among the second rows of all classes in the batch.

    One pair per class: the first positive pair of each in the order of the rows. The embeddings are not normalised, as
    in the paper; add a norm penalty, or pass ``normalise=True`` with a scale.

    Parameters
    ----------
    scale : float, default 1.0
        Above 0: factor of the similarities. For cosines 10 to 30; at 1 their softmax is nearly flat.
    normalise : bool, default False
        Cosines in place of inner products.

    Notes
    -----
    ``mean_c log(1 + sum_{c' != c} e^(scale (a_c p_c' - a_c p_c)))`` with anchor a_c and positive p_c of class c.

    References
    ----------
    Sohn: Improved Deep Metric Learning with Multi-class N-pair Loss Objective. NIPS 2016, equation 7.

    Examples
    --------
    >>> import torch
    >>> rows = torch.eye(2)[[0, 0, 1, 1]]
    >>> round(float(NPairLoss()(rows, torch.tensor([0, 0, 1, 1])).loss), 4)
    0.3133
    """

    def __init__(self, *, scale: float = 1.0, normalise: bool = False) -> None:
        super().__init__()
        self.scale = check_positive(scale, name="scale")
        self.normalise = normalise

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        classes = class_labels(labels, embeddings)
        if classes is None:
            raise InputError(message("no labels", "the class of each row", "pass labels, with pairs or without"))
        positive, _ = masks(len(embeddings), classes, as_chosen(pairs))
        anchors, others = _first_of_each_class(positive, classes)
        if len(anchors) == 0:
            return LossOutput(embeddings.sum() * 0.0, {})
        rows = unit(embeddings) if self.normalise else embeddings
        logits = self.scale * rows[anchors] @ rows[others].T
        targets = torch.arange(len(anchors), device=logits.device)
        hits = (logits.detach().argmax(dim=1) == targets).double().mean()
        return LossOutput(nn.functional.cross_entropy(logits, targets), {"accuracy": float(hits)})


def _first_of_each_class(positive: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    anchors, others = positive.nonzero(as_tuple=True)
    kinds, which = torch.unique(classes[anchors], return_inverse=True)
    places = torch.arange(len(anchors), device=anchors.device)
    first = places.new_full((len(kinds),), len(anchors)).scatter_reduce(0, which, places, "amin")
    return anchors[first], others[first]
