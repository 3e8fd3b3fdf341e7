"""Terms on a batch as a cloud of points, against collapse without negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import check_number, unit
from orthant.learn.losses.protocol import check_positive
from orthant.learn.losses.regularisers.interface import Regulariser

__all__ = ["Brownian", "SingularValue", "VarianceCovariance"]


class VarianceCovariance(Regulariser):
    """Keep every dimension spread and all of them uncorrelated.

    The two terms of VICReg besides the distance of views. On embeddings as they are: normalised ones have a variance of
    about 1/d per dimension, so that ``target`` must then be ``1 / sqrt(d)``.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.
    variance : float, default 25.0
        Factor of the first term, at least 0.
    covariance : float, default 1.0
        Factor of the second term, at least 0.
    target : float, default 1.0
        Above 0: standard deviation below which a dimension costs.

    Notes
    -----
    ``variance mean_j relu(target - sqrt(Var_j + 1e-4)) + covariance sum_{i != j} C_ij^2 / d`` with the unbiased C.

    References
    ----------
    Bardes, Ponce, LeCun: VICReg. arXiv 2105.04906, ICLR 2022, equations 1 to 4.

    Examples
    --------
    >>> import torch
    >>> float(VarianceCovariance(variance=1.0)(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])))
    0.0
    """

    def __init__(
        self, *, weight: float = 1.0, variance: float = 25.0, covariance: float = 1.0, target: float = 1.0
    ) -> None:
        super().__init__(weight=weight)
        self.variance = check_number(variance, name="variance", low=0.0)
        self.covariance = check_number(covariance, name="covariance", low=0.0)
        self.target = check_positive(target, name="target")

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        centred, count = _centred(rows)
        deviations = torch.sqrt((centred**2).sum(dim=0) / (count - 1) + 1e-4)
        found = centred.T @ centred / (count - 1)
        outside = (found**2).sum() - (found.diagonal() ** 2).sum()
        spread = torch.relu(self.target - deviations).mean()
        return self.variance * spread + self.covariance * outside / rows.shape[1]


class SingularValue(Regulariser):
    """Flatten the spectrum of a batch on the unit sphere, at the full variance that the sphere allows.

    A force against collapse that acts on the whole batch: its off-diagonal part removes correlation, its diagonal part
    evens out the dimensions and keeps the scale.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum. Too small and embeddings may still collapse.

    Notes
    -----
    ``D ||S - I/D||_F^2 = D sum_k (s_k^2 - 1/D)^2`` with S the covariance of the centred unit rows and s_k^2 its
    eigenvalues. No decomposition is needed, whose gradient would be unstable at equal values. With fewer rows than
    dimensions the same number is computed from the Gram matrix.

    References
    ----------
    Moon et al.: An Embedding-Dynamic Approach to Self-supervised Learning. arXiv 2207.03552, WACV 2023 (singular value
    loss; the exact form is this project's).

    Examples
    --------
    >>> import torch
    >>> cross = torch.cat([torch.eye(3), -torch.eye(3)])
    >>> round(float(SingularValue()(cross)), 4)
    0.04
    """

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        if len(rows) < 4:
            raise InputError(message(f"{len(rows)} rows", "at least 4", "use larger batches: a spectrum needs rows"))
        centred, count = _centred(unit(rows))
        dim = rows.shape[1]
        wide = count <= dim
        small = (centred @ centred.T if wide else centred.T @ centred) / (count - 1)
        # ||S - I/D||^2 = ||S||^2 - 2 tr S / D + 1/D, and both come from the smaller of the two products.
        return dim * ((small**2).sum() - 2 * small.diagonal().sum() / dim) + 1


class Brownian(Regulariser):
    """Kick each unit row in a fresh random direction, so that weak links stretch more than strong ones.

    Its value says nothing, since its mean is zero; its gradient is the kick. What belongs together is brought back by
    the main loss, what does not drifts apart. Directions come from torch's global generator, which checkpoints store.

    Parameters
    ----------
    weight : float, default 0.05
        Factor in the sum. Too large and noise dominates late in the training: let it decay.

    Notes
    -----
    ``mean_i <x_i, u_i>`` with u_i uniform on the sphere, drawn anew in every call.

    References
    ----------
    Moon et al.: An Embedding-Dynamic Approach to Self-supervised Learning. arXiv 2207.03552, WACV 2023 (Brownian
    diffusive loss).

    Examples
    --------
    >>> import torch
    >>> term, rows = Brownian(), torch.eye(3)
    >>> float(term(rows)) != float(term(rows))
    True
    """

    def __init__(self, *, weight: float = 0.05) -> None:
        super().__init__(weight=weight)

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        return (unit(rows) * unit(torch.randn_like(rows.detach()))).sum(dim=1).mean()


def _centred(rows: Tensor) -> tuple[Tensor, int]:
    if len(rows) < 2:
        raise InputError(message(f"{len(rows)} row(s)", "at least 2", "use larger batches"))
    return rows - rows.mean(dim=0), len(rows)
