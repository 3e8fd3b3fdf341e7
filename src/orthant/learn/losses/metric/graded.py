"""Losses over pairs with graded scores: more similar pairs should get larger similarities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthant.errors import DtypeError, InputError, message
from orthant.learn.losses.metric.interface import MetricLoss, unit
from orthant.learn.losses.metric.tuples import Pairs, Triplets, check_within
from orthant.learn.losses.protocol import LossOutput, check_finite, check_positive, check_shape

__all__ = ["AnglELoss", "CoSENTLoss"]


class CoSENTLoss(MetricLoss):
    """Order the cosines of graded pairs as their scores are ordered.

    For similarity scores and for inference labels mapped to ordered scores. Only the order of the scores counts, not
    their values. Scores must vary within a batch: take batches large enough, or mix scores on purpose.

    Called with the embeddings of all rows, the M scores as ``labels``, and ``pairs`` of shape (M, 2) that says which
    rows each score is about; left out, row 2i belongs with row 2i + 1.

    Parameters
    ----------
    scale : float, default 20.0
        Above 0: factor of the similarities. Too small and no order is ever clear, too large and one pair of pairs
        decides.

    Notes
    -----
    ``log(1 + sum_{y_i > y_j} e^(scale (s_j - s_i)))`` over pairs of pairs; M x M terms.

    References
    ----------
    Su: CoSENT: a more efficient sentence vector scheme than Sentence-BERT. 2022, kexue.fm/archives/8847.
    Huang et al.: CoSENT: Consistent Sentence Embedding via Similarity Ranking. IEEE/ACM TASLP 32, 2024, section III.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> float(CoSENTLoss()(rows, torch.tensor([0.9, 0.1])).loss) < 1e-6
    True
    >>> float(CoSENTLoss()(rows, torch.tensor([0.1, 0.9])).loss)
    20.0
    """

    def __init__(self, *, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = check_positive(scale, name="scale")

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        rows = _as_pairs(embeddings, pairs)
        if labels is None:
            raise InputError(message("no labels", "the score of each pair", "pass the scores as labels"))
        check_shape(labels, (len(rows),), name="scores", like=embeddings)
        check_finite({"scores": labels})
        lower = labels[:, None] > labels[None, :]
        if not lower.any():
            raise InputError(
                message(
                    f"{len(labels)} pair(s) with one score",
                    "scores that differ within a batch",
                    "mix scores in each batch",
                )
            )
        found = self.scale * self._similarities(embeddings[rows[:, 0]], embeddings[rows[:, 1]])
        gaps = (found[None, :] - found[:, None])[lower]
        loss = torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)
        return LossOutput(loss, {"ordered": float((gaps.detach() < 0).double().mean())})

    def _similarities(self, A: Tensor, B: Tensor) -> Tensor:
        return (unit(A) * unit(B)).sum(dim=1)


class AnglELoss(CoSENTLoss):
    """`CoSENTLoss` on angles in complex space, whose gradient does not vanish where cosines saturate.

    Usually added to a contrastive loss. Called like `CoSENTLoss`.

    Parameters
    ----------
    scale : float, default 20.0
        As for `CoSENTLoss`.

    Notes
    -----
    The first half of a row are real parts, the second imaginary ones; an odd dimension is filled up with a zero. With
    unit rows z and w the similarity is ``|Re(sum z conj(w)) + Im(sum z conj(w))|``.

    References
    ----------
    Li, Li: AoE: Angle-optimized Embeddings for Semantic Textual Similarity. arXiv 2309.12871, ACL 2024, section 3.3.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    >>> round(float(AnglELoss(scale=1.0)(rows, torch.tensor([0.9, 0.1])).loss), 4)
    0.6931
    """

    def _similarities(self, A: Tensor, B: Tensor) -> Tensor:
        left, right = unit(A), unit(B)
        if left.shape[1] % 2:
            left, right = nn.functional.pad(left, (0, 1)), nn.functional.pad(right, (0, 1))
        real_left, imaginary_left = left.chunk(2, dim=1)
        real_right, imaginary_right = right.chunk(2, dim=1)
        real = (real_left * real_right + imaginary_left * imaginary_right).sum(dim=1)
        imaginary = (imaginary_left * real_right - real_left * imaginary_right).sum(dim=1)
        return (real + imaginary).abs()


def _as_pairs(embeddings: Tensor, pairs: Pairs | Triplets | Tensor | None) -> Tensor:
    if pairs is None:
        if len(embeddings) % 2:
            raise InputError(
                message(f"{len(embeddings)} rows", "an even number, pair by pair", "pass pairs of shape (M, 2)")
            )
        return torch.arange(len(embeddings), device=embeddings.device).reshape(-1, 2)
    if isinstance(pairs, (Pairs, Triplets)):
        raise DtypeError(
            message(
                f"pairs of type {type(pairs).__name__}", "a tensor of shape (M, 2)", "graded pairs are neither kind"
            )
        )
    check_shape(pairs, (None, 2), name="pairs", like=embeddings)
    if pairs.dtype != torch.int64:
        raise DtypeError(message(f"pairs of dtype {pairs.dtype}", "int64 row numbers", "convert with .long()"))
    check_within(pairs, len(embeddings))
    return pairs
