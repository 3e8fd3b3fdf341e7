"""Energy confusion: rows of different classes pulled together, against the loss, on the last layer only."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.errors import InputError, message, warn
from orthant.learn.losses.metric.tuples import label_masks
from orthant.learn.losses.regularisers.interface import Regulariser
from orthant.validate import check_count

__all__ = ["EnergyConfusion"]

_LEAST = 1e-12


class EnergyConfusion(Regulariser):
    """Keep the last layer from clinging to the few directions that separate the seen classes, for the sake of new ones.

    Minimises the expected squared distance between rows of different classes, while the metric loss enlarges it. Only
    the last layer feels it: the layers before must then find further cues. Add `RowNorm` on the same layer, since
    shrinking the layer to nothing would confuse best. Meant for embeddings before normalisation.

    Parameters
    ----------
    weight : float, default 0.13
        Factor in the sum. Too small does nothing, too large undoes the loss.
    pairs_per_anchor : int or None, default 10
        For each row so many partners of another class are drawn from the rows after it, by torch's global generator.
        None takes all pairs.
    log : bool, default True
        The logarithm of the energy, whose gradient does not depend on the scale of the embeddings. False is the plain
        energy, for which the weight has another meaning.
    detach_features : bool, default True
        Let the gradient stop before the last layer, through ``head`` of `WithRegularisers`. False lets it run on,
        which is another method.

    Notes
    -----
    ``log E`` with ``E = mean 1/2 ||f_i - f_j||^2`` over pairs of different classes.

    References
    ----------
    Chen, Deng: Energy Confused Adversarial Metric Learning for Zero-Shot Image Retrieval and Clustering. arXiv
    1901.07169, AAAI 2019, section 3.

    Examples
    --------
    >>> import torch
    >>> term = EnergyConfusion(pairs_per_anchor=None, log=False)
    >>> float(term(torch.eye(3), torch.tensor([0, 0, 1])))
    1.0
    """

    needs_labels = True

    def __init__(
        self,
        *,
        weight: float = 0.13,
        pairs_per_anchor: int | None = 10,
        log: bool = True,
        detach_features: bool = True,
    ) -> None:
        super().__init__(weight=weight)
        self.pairs_per_anchor = (
            None if pairs_per_anchor is None else check_count(pairs_per_anchor, name="pairs_per_anchor")
        )
        self.log = log
        self.detach_features = detach_features

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        energy = self._energy(rows, labels)
        if not self.log:
            return energy
        if float(energy.detach()) < _LEAST:
            warn(
                "EnergyConfusion: the embeddings have collapsed; rows of different classes are equal. Lower its weight "
                "or add RowNorm."
            )
        return energy.clamp_min(_LEAST).log()

    def _energy(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        later = label_masks(labels)[1].triu(diagonal=1)  # type: ignore[arg-type]
        if not later.any():
            raise InputError(
                message(
                    "a batch of one class", "rows of at least two", "sample with PxK: the energy is between classes"
                )
            )
        if self.pairs_per_anchor is None:
            first, second = later.nonzero(as_tuple=True)
        else:
            anchors = later.any(dim=1).nonzero().flatten()
            drawn = torch.multinomial(later[anchors].double(), self.pairs_per_anchor, replacement=True)
            first, second = anchors.repeat_interleave(self.pairs_per_anchor), drawn.flatten()
        return ((rows[first] - rows[second]) ** 2).sum(dim=1).mean() / 2
