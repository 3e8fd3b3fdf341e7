"""Losses against one learned vector per class, which need no pairs within the batch."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.learn.losses.metric.interface import MetricLoss, check_number, class_labels, unit
from orthant.learn.losses.metric.tuples import Pairs, Triplets
from orthant.learn.losses.protocol import LossOutput, check_positive, check_shape
from orthant.validate import check_count

__all__ = ["ArcFaceLoss", "CosFaceLoss", "NormFaceLoss", "ProxyAnchorLoss", "ProxyLoss", "ProxyNCALoss"]


class ProxyLoss(MetricLoss):
    """A metric loss that owns one vector per class.

    The proxies are parameters of the loss: hand them to the optimiser with the model, usually at a larger learning
    rate.

    Parameters
    ----------
    classes : int
        Number of classes, at least 2. Labels run from 0 to classes - 1; a negative one is unknown and takes no part.
    dim : int
        Dimension of the embeddings.
    proxies : Tensor of shape (classes, dim), optional
        Values to start from, such as class means. Left out, random directions from ``seed``.
    trainable : bool, default True
        False keeps the proxies as they are, for fixed prototypes.
    seed : int, default 0
        Of the random directions.

    Examples
    --------
    >>> loss = NormFaceLoss(3, 8)
    >>> loss.proxies.shape
    torch.Size([3, 8])
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classes = check_count(classes, name="classes", minimum=2)
        self.dim = check_count(dim, name="dim")
        if proxies is None:
            random = torch.Generator().manual_seed(check_count(seed, name="seed", minimum=0))
            proxies = unit(torch.randn(self.classes, self.dim, generator=random))
        check_shape(proxies, (self.classes, self.dim), name="proxies")
        self.proxies = nn.Parameter(proxies.detach().clone(), requires_grad=trainable)

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        if pairs is not None:
            raise InputError(message("pairs for a loss over proxies", "labels alone", "leave the pairs out"))
        classes = class_labels(labels, embeddings)
        if classes is None:
            raise InputError(message("no labels", "the class of each row", "pass labels"))
        if embeddings.shape[1] != self.dim:
            raise DimensionError(
                message(f"embeddings of dimension {embeddings.shape[1]}", f"{self.dim}", "set dim to that of the model")
            )
        if int(classes.max()) >= self.classes:
            raise InputError(
                message(f"label {int(classes.max())}", f"labels below classes={self.classes}", "number classes from 0")
            )
        known = classes >= 0
        if not known.any():
            return LossOutput(embeddings.sum() * 0.0, {})
        return self._of_classes(embeddings[known], classes[known])

    @abstractmethod
    def _of_classes(self, embeddings: Tensor, classes: Tensor) -> LossOutput:
        """Compute the loss of rows whose class is known."""


class ProxyNCALoss(ProxyLoss):
    """Softmax over the squared distances to all proxies.

    Parameters
    ----------
    classes, dim, proxies, trainable, seed
        As for `ProxyLoss`.
    scale : float, default 1.0
        Above 0: factor of the distances. At 1 the softmax is flat, as in the paper; 8 to 32 trains faster.
    own_in_denominator : bool, default True
        Whether a row's own proxy counts in the denominator. False is the paper's form, whose loss can be negative.

    Notes
    -----
    ``-log(e^(-scale d^2(x, p_y)) / sum_z e^(-scale d^2(x, p_z)))`` on unit rows and unit proxies.

    References
    ----------
    Movshovitz-Attias et al.: No Fuss Distance Metric Learning using Proxies. arXiv 1703.07464, ICCV 2017, equation 4.
    Teh, DeVries, Taylor: ProxyNCA++. arXiv 2004.01113, ECCV 2020, section 3 (own proxy, scale).

    Examples
    --------
    >>> import torch
    >>> loss = ProxyNCALoss(2, 2, proxies=torch.eye(2))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)
    0.1269
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        scale: float = 1.0,
        own_in_denominator: bool = True,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, dim, proxies=proxies, trainable=trainable, seed=seed)
        self.scale = check_positive(scale, name="scale")
        self.own_in_denominator = own_in_denominator

    def _of_classes(self, embeddings: Tensor, classes: Tensor) -> LossOutput:
        # Squared distances of unit vectors, without a root and its gradient at zero.
        logits = -self.scale * (2 - 2 * unit(embeddings) @ unit(self.proxies).T)
        own = logits.gather(1, classes[:, None])[:, 0]
        others = logits
        if not self.own_in_denominator:
            others = logits.scatter(1, classes[:, None], -math.inf)
        loss = (torch.logsumexp(others, dim=1) - own).mean()
        return LossOutput(loss, {"accuracy": _accuracy(logits, classes)})


class ProxyAnchorLoss(ProxyLoss):
    """Each proxy pulls the rows of its class and pushes all others, hard ones more.

    As fast as other proxy losses, but gradients of a row depend on the other rows of the batch.

    Parameters
    ----------
    classes, dim, proxies, trainable, seed
        As for `ProxyLoss`.
    margin : float, default 0.1
        Cosine by which positives should exceed and negatives stay below zero, at least 0.
    scale : float, default 32.0
        Above 0. Too small and all rows count alike, too large and only the hardest does.

    Notes
    -----
    ``1/|P+| sum_{p in P+} log(1 + sum_{x in p} e^(-a (s - m))) + 1/|P| sum_p log(1 + sum_{x not in p} e^(a (s +
    m)))``; P+ are the proxies with a row in the batch.

    References
    ----------
    Kim, Kim, Cho, Kwak: Proxy Anchor Loss for Deep Metric Learning. arXiv 2003.13911, CVPR 2020, equation 4.

    Examples
    --------
    >>> import torch
    >>> loss = ProxyAnchorLoss(2, 2, proxies=torch.eye(2))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)
    3.24
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        margin: float = 0.1,
        scale: float = 32.0,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, dim, proxies=proxies, trainable=trainable, seed=seed)
        self.margin = check_number(margin, name="margin", low=0.0)
        self.scale = check_positive(scale, name="scale")

    def _of_classes(self, embeddings: Tensor, classes: Tensor) -> LossOutput:
        cosines = unit(embeddings) @ unit(self.proxies).T
        own = nn.functional.one_hot(classes, self.classes).bool()
        pulls = _log_one_plus_sum(-self.scale * (cosines - self.margin), own)
        pushes = _log_one_plus_sum(self.scale * (cosines + self.margin), ~own)
        pulled, pushed = pulls.sum() / own.any(dim=0).sum(), pushes.sum() / self.classes
        parts = {
            "positive": float(pulled.detach()),
            "negative": float(pushed.detach()),
            "accuracy": _accuracy(cosines, classes),
        }
        return LossOutput(pulled + pushed, parts)


class NormFaceLoss(ProxyLoss):
    """Softmax over the cosines to all proxies.

    The plain classifier on the sphere, and a strong baseline for retrieval among classes.

    Parameters
    ----------
    classes, dim, proxies, trainable, seed
        As for `ProxyLoss`.
    scale : float, default 20.0
        Above 0: factor of the cosines, one over the temperature. Too small and the loss cannot get near zero, too
        large and gradients come from few rows.

    Notes
    -----
    ``-log softmax_z(scale cos(x, p_z))[y]``.

    References
    ----------
    Wang, Xiang, Cheng, Yuille: NormFace. arXiv 1704.06369, ACM MM 2017, section 3.
    Zhai, Wu: Classification is a Strong Baseline for Deep Metric Learning. arXiv 1811.12649, BMVC 2019.

    Examples
    --------
    >>> import torch
    >>> loss = NormFaceLoss(2, 2, scale=1.0, proxies=torch.eye(2))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)
    0.3133
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        scale: float = 20.0,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, dim, proxies=proxies, trainable=trainable, seed=seed)
        self.scale = check_positive(scale, name="scale")

    def _of_classes(self, embeddings: Tensor, classes: Tensor) -> LossOutput:
        cosines = unit(embeddings) @ unit(self.proxies).T
        own = cosines.gather(1, classes[:, None])
        logits = self.scale * cosines.scatter(1, classes[:, None], self._with_margin(own))
        return LossOutput(nn.functional.cross_entropy(logits, classes), {"accuracy": _accuracy(cosines, classes)})

    def _with_margin(self, own: Tensor) -> Tensor:
        return own


class CosFaceLoss(NormFaceLoss):
    """`NormFaceLoss` in which a row's own cosine is lowered by a margin.

    Parameters
    ----------
    classes, dim, proxies, trainable, seed
        As for `ProxyLoss`.
    margin : float, default 0.35
        From 0. Too small and classes touch, too large and the loss does not fall.
    scale : float, default 64.0
        As for `NormFaceLoss`; larger, since the margin needs room.

    Notes
    -----
    ``cos(x, p_y) - margin`` in place of ``cos(x, p_y)``.

    References
    ----------
    Wang et al.: CosFace: Large Margin Cosine Loss for Deep Face Recognition. arXiv 1801.09414, CVPR 2018, equation 4.

    Examples
    --------
    >>> import torch
    >>> loss = CosFaceLoss(2, 2, margin=1.0, scale=1.0, proxies=torch.eye(2))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)
    0.6931
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        margin: float = 0.35,
        scale: float = 64.0,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, dim, scale=scale, proxies=proxies, trainable=trainable, seed=seed)
        self.margin = check_number(margin, name="margin", low=0.0)

    def _with_margin(self, own: Tensor) -> Tensor:
        return own - self.margin


class ArcFaceLoss(NormFaceLoss):
    """`NormFaceLoss` in which the angle to a row's own proxy is widened by a margin.

    Parameters
    ----------
    classes, dim, proxies, trainable, seed
        As for `ProxyLoss`.
    margin : float, default 0.5
        In radians, from 0 to below pi.
    scale : float, default 64.0
        As for `NormFaceLoss`; larger, since the margin needs room.

    Notes
    -----
    ``cos(t + m)`` in place of ``cos(t)`` for the angle t, and ``cos(t) - m sin(m)`` beyond ``t = pi - m``, so that the
    loss keeps falling with the angle. Computed from the cosine and sine of t: the inverse cosine has no gradient at
    its ends.

    References
    ----------
    Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition. arXiv 1801.07698, CVPR
    2019, equation 3.

    Examples
    --------
    >>> import torch
    >>> loss = ArcFaceLoss(2, 2, margin=torch.pi / 2, scale=1.0, proxies=torch.eye(2))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).loss.item(), 2)
    0.69
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        proxies: Tensor | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, dim, scale=scale, proxies=proxies, trainable=trainable, seed=seed)
        self.margin = check_number(margin, name="margin", low=0.0)
        if self.margin >= math.pi:
            raise InputError(message(f"margin={margin}", "an angle below pi", "pass the margin in radians"))

    def _with_margin(self, own: Tensor) -> Tensor:
        # The floor keeps the gradient of the root finite where a row lies on its proxy.
        sine = torch.sqrt((1 - own**2).clamp_min(torch.finfo(own.dtype).eps))
        wider = own * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = own - self.margin * math.sin(self.margin)
        return torch.where(own >= -math.cos(self.margin), wider, beyond)


def _accuracy(logits: Tensor, classes: Tensor) -> float:
    return float((logits.detach().argmax(dim=1) == classes).double().mean())


def _log_one_plus_sum(values: Tensor, keep: Tensor) -> Tensor:
    """Return log(1 + sum exp) along columns over the entries kept."""
    masked = values.masked_fill(~keep, -math.inf)
    return torch.logsumexp(torch.cat([masked, values.new_zeros(1, values.shape[1])]), dim=0)
