"""Late interaction: items are sets of vectors, compared by MaxSim, in the same contrastive and distillation losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from orthant.errors import InputError, message
from orthant.learn.losses.blocks import Encoded
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.distillation import DistillationLoss
from orthant.learn.losses.protocol import LossOutput, check_finite, check_shape
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.validate import check_choice

__all__ = ["MaxSimContrastiveLoss", "MaxSimScorer", "maxsim_distillation", "maxsim_scores"]


class MaxSimScorer:
    """MaxSim as the scorer of the contrastive loss.

    Parameters
    ----------
    similarity : {"cosine", "dot"}, default "dot"
        ``"cosine"`` normalises every token vector first; models for late interaction usually do that themselves.
    normalize : bool, default False
        Divide each score by the number of query tokens that count, so that long queries do not score higher.

    Examples
    --------
    >>> import torch
    >>> scorer = MaxSimScorer()
    >>> item = Encoded(torch.eye(2)[None], torch.tensor([[True, True]]))
    >>> scorer.pairs(item, item).tolist()
    [[2.0]]
    """

    def __init__(self, similarity: str = "dot", *, normalize: bool = False) -> None:
        self.similarity = check_choice(similarity, ("cosine", "dot"), name="similarity")
        self.normalize = normalize

    def prepare(self, items: Encoded) -> Encoded:
        """Convert to float32 and normalise where the similarity asks for it.

        Parameters
        ----------
        items : Encoded, values of shape (..., t, d)
            Token vectors with their mask.

        Returns
        -------
        Encoded
            float32 (float64 stays).
        """
        values = items.values if items.values.dtype in (torch.float32, torch.float64) else items.values.float()
        if self.similarity == "cosine":
            values = torch.nn.functional.normalize(values, dim=-1)
        return Encoded(values, items.mask)

    def pairs(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare all with all.

        Parameters
        ----------
        left : Encoded, values of shape (n, t, d)
            Queries.
        right : Encoded, values of shape (c, u, d)
            Documents.

        Returns
        -------
        Tensor of shape (n, c)
            MaxSim; needs n * t * c * u entries of memory for a moment.
        """
        similarity = torch.einsum("ntd,cud->nctu", left.values, right.values)
        return self._reduce(similarity, left.mask, None if right.mask is None else right.mask[None, :, None, :])

    def rows(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare each row with its own items.

        Parameters
        ----------
        left : Encoded, values of shape (n, t, d)
            Queries.
        right : Encoded, values of shape (n, m, u, d)
            Documents of each row.

        Returns
        -------
        Tensor of shape (n, m)
            MaxSim.
        """
        similarity = torch.einsum("ntd,nmud->nmtu", left.values, right.values)
        return self._reduce(similarity, left.mask, None if right.mask is None else right.mask[:, :, None, :])

    def _reduce(self, similarity: Tensor, query_mask: Tensor | None, document_mask: Tensor | None) -> Tensor:
        if document_mask is not None:
            # Not zero: a padding token must not win over a token with a negative similarity.
            similarity = similarity.masked_fill(~document_mask, torch.finfo(similarity.dtype).min)
        best = similarity.max(-1).values
        if document_mask is not None:
            # Items without any token are absent negatives; their score is not used, and must stay finite.
            best = best.masked_fill(~document_mask.any(-1), 0.0)
        if query_mask is None:
            return best.mean(-1) if self.normalize else best.sum(-1)
        total = (best * query_mask[:, None, :]).sum(-1)
        return total / query_mask.sum(-1, keepdim=True) if self.normalize else total


def maxsim_scores(
    queries: Tensor,
    query_mask: Tensor | None,
    documents: Tensor,
    document_mask: Tensor | None,
    *,
    normalize: bool = False,
) -> Tensor:
    """Score sets of query vectors against sets of document vectors, differentiably.

    Parameters
    ----------
    queries : Tensor of shape (n, t, d)
        Token vectors of the queries.
    query_mask : Tensor of shape (n, t), bool, or None
        Tokens that count; None for all.
    documents : Tensor of shape (c, u, d)
        Token vectors of the documents.
    document_mask : Tensor of shape (c, u), bool, or None
        Tokens that count; None for all.
    normalize : bool, default False
        Divide by the number of query tokens that count.

    Returns
    -------
    Tensor of shape (n, c)
        Sum over a query's tokens of the largest dot product with a token of the document.

    Raises
    ------
    DimensionError
        Shapes that do not belong together.
    InputError
        An item without any token that counts.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    s(Q, D) = sum_i max_j <q_i, d_j>. The gradient goes to the token that won; among equals, to one of them.

    References
    ----------
    Khattab and Zaharia 2020, "ColBERT", arXiv 2004.12832, section 3.3.

    Examples
    --------
    >>> import torch
    >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> maxsim_scores(tokens, torch.tensor([[True, False]]), tokens, None).tolist()
    [[1.0]]
    """
    check_shape(queries, (None, None, None), name="queries")
    check_shape(documents, (None, None, queries.shape[-1]), name="documents", like=queries)
    sides = []
    for name, values, mask in (("query", queries, query_mask), ("document", documents, document_mask)):
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        check_shape(mask, tuple(values.shape[:2]), name=f"{name}_mask", like=queries)
        mask = mask.bool()
        if not mask.any(1).all():
            rows = (~mask.any(1)).nonzero().flatten().tolist()[:5]
            raise InputError(
                message(f"{name} rows without any token: {rows}", "at least one that counts", "drop these rows")
            )
        sides.append(Encoded(values, mask))
    check_finite({"queries": queries, "documents": documents})
    scorer = MaxSimScorer(normalize=normalize)
    return scorer.pairs(scorer.prepare(sides[0]), scorer.prepare(sides[1]))


class MaxSimContrastiveLoss(ContrastiveLoss):
    """`ContrastiveLoss` over MaxSim scores of token vectors.

    Parameters
    ----------
    settings : ContrastiveSettings, optional
        Left out: temperature 1.0 and dot products, for sums over normalised tokens. Mixed negatives, queues and guides
        are for single vectors.
    normalize : bool, default False
        Divide scores by the number of query tokens; then a temperature near 0.05 is in order.

    Raises
    ------
    InputError
        Settings for single vectors.

    Notes
    -----
    As `ContrastiveLoss`, with s = MaxSim / temperature. Set ``row_chunk`` where token similarities of all pairs do not
    fit into memory.

    References
    ----------
    Khattab and Zaharia 2020, "ColBERT", arXiv 2004.12832, section 3.4; "CRISP" 2025, arXiv 2505.11471.

    Examples
    --------
    >>> import torch
    >>> loss = MaxSimContrastiveLoss()
    >>> tokens = torch.eye(2)[:, None]
    >>> round(float(loss({"queries": tokens, "positives": tokens}).loss), 4)
    0.3133
    """

    def __init__(self, settings: ContrastiveSettings | None = None, *, normalize: bool = False) -> None:
        super().__init__(ContrastiveSettings(temperature=1.0, similarity="dot") if settings is None else settings)
        single = {
            "mix": self.settings.mix is not None,
            "queue_size": self.settings.queue_size > 0,
            "margin_source='guide'": self.settings.margin is not None and self.settings.margin_source == "guide",
        }
        if refused := [name for name, used in single.items() if used]:
            raise InputError(
                message(f"{refused} with MaxSim", "settings for sets of vectors", "leave them out, or pool the tokens")
            )
        self.scorer = MaxSimScorer(self.settings.similarity, normalize=normalize)
        self.tokens = True

    def forward(self, batch: Mapping[str, Tensor | None]) -> LossOutput:
        """Compute the loss of a batch of token vectors.

        Parameters
        ----------
        batch : mapping of str to Tensor or None
            ``queries`` (B, t, d) with ``query_mask`` (B, t), ``positives`` (B, u, d) with ``positive_mask`` (B, u);
            optionally ``negatives`` (B, m, v, d) with ``negative_token_mask`` (B, m, v), and the other fields of
            `ContrastiveLoss.forward`. A mask left out counts every token.

        Returns
        -------
        LossOutput
            As `ContrastiveLoss`.

        Raises
        ------
        InputError
            As `ContrastiveLoss`, and an item without any token that counts.
        """
        return super().forward(batch)


def maxsim_distillation(
    queries: Tensor,
    query_mask: Tensor | None,
    documents: Tensor,
    document_mask: Tensor | None,
    teacher: Tensor,
    *,
    loss: DistillationLoss | None = None,
    normalize: bool = False,
) -> Tensor:
    """Make MaxSim scores of each query's candidates those of a teacher.

    Parameters
    ----------
    queries : Tensor of shape (n, t, d)
        Token vectors of the queries.
    query_mask : Tensor of shape (n, t), bool, or None
        Tokens that count; None for all.
    documents : Tensor of shape (n, c, u, d)
        Token vectors of c candidates per query.
    document_mask : Tensor of shape (n, c, u), bool, or None
        Tokens that count. A candidate without any is absent.
    teacher : Tensor of shape (n, c)
        The teacher's scores.
    loss : DistillationLoss, optional
        Left out, the divergence at temperature 1.
    normalize : bool, default False
        Divide by the number of query tokens that count.

    Returns
    -------
    Tensor of shape ()
        The loss.

    Raises
    ------
    InputError
        A query without tokens, or with fewer than two candidates.
    DimensionError
        Shapes that do not belong together.

    Examples
    --------
    >>> import torch
    >>> queries, documents = torch.eye(2)[:1, None], torch.eye(2)[None, :, None]
    >>> float(maxsim_distillation(queries, None, documents, None, torch.tensor([[1.0, 0.0]])))
    0.0
    """
    check_shape(queries, (None, None, None), name="queries")
    n, t, dim = queries.shape
    check_shape(documents, (n, None, None, dim), name="documents", like=queries)
    query_mask = torch.ones(n, t, device=queries.device) if query_mask is None else query_mask
    if document_mask is None:
        document_mask = torch.ones(documents.shape[:3], device=documents.device)
    query_mask = check_shape(query_mask, (n, t), name="query_mask", like=queries).bool()
    document_mask = check_shape(document_mask, tuple(documents.shape[:3]), name="document_mask", like=queries).bool()
    if not query_mask.any(1).all():
        rows = (~query_mask.any(1)).nonzero().flatten().tolist()[:5]
        raise InputError(message(f"query rows without any token: {rows}", "at least one", "drop these rows"))
    scorer = MaxSimScorer(normalize=normalize)
    scores = scorer.rows(
        scorer.prepare(Encoded(queries, query_mask)), scorer.prepare(Encoded(documents, document_mask))
    )
    chosen = DistillationLoss() if loss is None else loss
    return chosen({"student": scores, "teacher": teacher, "mask": document_mask.any(-1)}).loss
