"""Keeping the features of a new model next to those of the model that it grew from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.errors import InputError, message, warn
from orthant.learn.losses.protocol import LossOutput, check_finite, check_positive, check_shape

__all__ = ["HigherOrderCompatibilityLoss", "compatibility_rows"]


class HigherOrderCompatibilityLoss(nn.Module):
    """Pull each new feature to the old feature of the same item, away from old features of other classes.

    For a model that is trained further while a gallery of its predecessor stays. Class directions alone keep the means
    of the classes in place; this keeps items. Without labels, distil embeddings instead.

    Parameters
    ----------
    scale : float, default 10.0
        Factor on the cosines. Small treats all other classes alike; large looks at the nearest ones only.
    legacy_mask : bool, default False
        Leave one of the sum for every item of the same class, as the first released code did, instead of nothing. For
        comparisons only.

    Notes
    -----
    With h' of the old model and h of the new one, both at length 1::

        L = mean_i [ -s <h'_i, h_i> + log sum_{j: y_j != y_i} exp(s <h'_i, h_j>) ]

    A row without another class in its batch has the first term only, and a warning is given. Cost O(B^2 d).

    References
    ----------
    Biondi et al.: Stationary Representations: Optimally Approximating Compatibility and Implications for Improved
    Model Replacements. CVPR 2024, arXiv 2405.02581, section 4.

    Examples
    --------
    >>> loss = HigherOrderCompatibilityLoss(scale=1.0)
    >>> h = torch.eye(2)
    >>> round(float(loss({"features": h, "previous": h, "labels": torch.tensor([0, 1])}).loss), 4)
    -1.0
    """

    def __init__(self, *, scale: float = 10.0, legacy_mask: bool = False) -> None:
        super().__init__()
        self.scale = check_positive(scale, name="scale")
        self.legacy_mask = legacy_mask

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : mapping of str to Tensor
            ``features`` (B, d) of the new model, ``previous`` (B, d) of the old one for the same items, ``labels``
            (B,), int64. Lengths do not matter.

        Returns
        -------
        LossOutput
            Mean over the rows. Parts: ``cosine`` to the old feature, ``rows_without_negatives``.

        Raises
        ------
        InputError
            Missing fields.
        DimensionError
            Shapes that do not belong together.
        NonFiniteError
            NaN or infinity.
        """
        lost = {"features", "previous", "labels"} - set(batch)
        if lost:
            raise InputError(message(f"a batch without {sorted(lost)}", "features, previous and labels", "add them"))
        new, old, labels = batch["features"], batch["previous"], batch["labels"]
        check_shape(new, (None, None), name="features")
        check_shape(old, tuple(new.shape), name="previous", like=new)
        check_shape(labels, (len(new),), name="labels", like=new)
        check_finite({"features": new, "previous": old})
        rows, cosines, alone = compatibility_rows(new, old, labels, scale=self.scale, legacy_mask=self.legacy_mask)
        if bool(alone.any()):
            warn(message("a batch of a single class", "two classes or more", "use larger or mixed batches"))
        parts = {"cosine": float(cosines.detach().mean()), "rows_without_negatives": float(alone.sum())}
        return LossOutput(rows.mean(), parts)


def compatibility_rows(
    new: Tensor, old: Tensor, labels: Tensor, *, scale: float, legacy_mask: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the loss row by row, without checks and without a warning.

    Parameters
    ----------
    new, old : Tensor of shape (B, d)
        Features of both models.
    labels : Tensor of shape (B,)
        Classes.
    scale : float
        Factor on the cosines.
    legacy_mask : bool, default False
        As for the loss.

    Returns
    -------
    rows : Tensor of shape (B,)
        Loss of each row.
    cosines : Tensor of shape (B,)
        Of each item's two features.
    alone : Tensor of shape (B,), bool
        Rows without an item of another class.
    """
    logits = scale * (functional.normalize(old, dim=-1).detach() @ functional.normalize(new, dim=-1).T)
    same = labels[:, None] == labels
    alone = same.all(dim=1)
    # exp(0) = 1 per item of the same class, or nothing at all.
    masked = logits.masked_fill(same, 0.0 if legacy_mask else -torch.inf)
    # A row of minus infinities would have a gradient of NaN, even where it is not used.
    spread = torch.logsumexp(masked.masked_fill(alone[:, None], 0.0), dim=1)
    spread = torch.where(alone, torch.zeros_like(spread), spread)
    return spread - logits.diagonal(), logits.diagonal() / scale, alone
