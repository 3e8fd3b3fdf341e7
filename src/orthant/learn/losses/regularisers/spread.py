"""Terms on pairs of embeddings: near for what belongs together, evenly spread for the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import check_number, unit
from orthant.learn.losses.metric.tuples import label_masks
from orthant.learn.losses.protocol import check_positive
from orthant.learn.losses.regularisers.interface import Regulariser

__all__ = ["Alignment", "KoLeo", "SpreadOut", "Uniformity"]


class Uniformity(Regulariser):
    """Spread unit rows over the sphere, near pairs first.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.
    t : float, default 2.0
        Above 0. Too small and all pairs push alike, too large and only the nearest do.

    Notes
    -----
    ``log mean_{i<j} e^(-t ||x_i - x_j||^2)`` on unit rows.

    References
    ----------
    Wang, Isola: Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere.
    arXiv 2005.10242, ICML 2020, section 4.1.

    Examples
    --------
    >>> import torch
    >>> round(float(Uniformity()(torch.eye(2))), 4)
    -4.0
    """

    def __init__(self, *, weight: float = 1.0, t: float = 2.0) -> None:
        super().__init__(weight=weight)
        self.t = check_positive(t, name="t")

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        cosines = _cosines_above_diagonal(rows)
        squared = 2 - 2 * cosines
        return torch.logsumexp(-self.t * squared, dim=0) - torch.log(squared.new_tensor(float(len(squared))))


class Alignment(Regulariser):
    """Pull unit rows of the same class, or views of the same item, together.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.
    power : float, default 2.0
        Above 0: of the distance. 2 pulls far pairs most, 1 all alike.

    Notes
    -----
    ``mean ||x_i - x_j||^power`` over pairs with the same label, on unit rows.

    References
    ----------
    Wang, Isola: Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere.
    arXiv 2005.10242, ICML 2020, section 4.1.

    Examples
    --------
    >>> import torch
    >>> round(float(Alignment()(torch.eye(2), torch.tensor([0, 0]))), 4)
    2.0
    """

    needs_labels = True

    def __init__(self, *, weight: float = 1.0, power: float = 2.0) -> None:
        super().__init__(weight=weight)
        self.power = check_positive(power, name="power")

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        first, second = label_masks(labels)[0].triu(diagonal=1).nonzero(as_tuple=True)  # type: ignore[arg-type]
        if len(first) == 0:
            raise InputError(
                message(
                    "labels without a positive pair", "two rows of at least one class", "sample with PxK or ByLabel"
                )
            )
        points = unit(rows)
        squared = ((points[first] - points[second]) ** 2).sum(dim=1)
        # The root of a zero has no gradient; equal rows are aligned already.
        return torch.where(squared > 0, squared.clamp_min(1e-24) ** (self.power / 2), 0.0).mean()


class KoLeo(Regulariser):
    """Keep each unit row away from its nearest neighbour in the batch.

    Spreads locally, where `Uniformity` spreads all: good for quantization, since no two rows share a place.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.

    Notes
    -----
    ``-mean_i log min_{j != i} ||x_i - x_j||`` on unit rows: the differential entropy as Kozachenko and Leonenko
    estimate it, without constants.

    References
    ----------
    Sablayrolles, Douze, Schmid, Jégou: Spreading vectors for similarity search. arXiv 1806.03198, ICLR 2019, section
    3.1.

    Examples
    --------
    >>> import torch
    >>> round(float(KoLeo()(torch.eye(2))), 4)
    -0.3466
    """

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        _check_rows(rows)
        points = unit(rows)
        with torch.no_grad():
            cosines = (points @ points.T).fill_diagonal_(-torch.inf)
            nearest = cosines.argmax(dim=1)
        # From the difference itself: from the cosine, small distances would be lost in rounding.
        squared = ((points - points[nearest]) ** 2).sum(dim=1)
        return -(squared + 1e-16).log().mean() / 2


class SpreadOut(Regulariser):
    """Make cosines between rows that do not belong together look like those of random directions.

    Also known as global orthogonal regularisation.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.
    second_moment : float, default 1.0
        Factor of the second term, at least 0.

    Notes
    -----
    ``M1^2 + second_moment relu(M2 - 1/d)``: mean and mean square of the cosines of all pairs, or of pairs of different
    classes where labels are given. Random directions have 0 and 1/d.

    References
    ----------
    Zhang, Yu, Kumar, Chang: Learning Spread-out Local Feature Descriptors. arXiv 1708.06320, ICCV 2017, equation 6.

    Examples
    --------
    >>> import torch
    >>> float(SpreadOut()(torch.eye(4)))
    0.0
    """

    def __init__(self, *, weight: float = 1.0, second_moment: float = 1.0) -> None:
        super().__init__(weight=weight)
        self.second_moment = check_number(second_moment, name="second_moment", low=0.0)

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            cosines = _cosines_above_diagonal(rows)
        else:
            points = unit(rows)
            apart = label_masks(labels)[1].triu(diagonal=1)
            if not apart.any():
                raise InputError(message("a batch of one class", "rows of at least two", "sample with PxK"))
            cosines = (points @ points.T)[apart]
        return cosines.mean() ** 2 + self.second_moment * torch.relu((cosines**2).mean() - 1 / rows.shape[1])


def _check_rows(rows: Tensor) -> None:
    if len(rows) < 2:
        raise InputError(message(f"{len(rows)} row(s)", "at least 2", "use larger batches"))


def _cosines_above_diagonal(rows: Tensor) -> Tensor:
    _check_rows(rows)
    points = unit(rows)
    places = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    return (points @ points.T)[places[0], places[1]]
