"""Which candidates are no negatives: duplicates, the same class, known answers, and what a guide holds for relevant."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.learn.losses.batches import ContrastiveBatch
from orthant.learn.losses.blocks import DenseScorer, assemble

__all__ = ["above_margin", "guide_exclusions", "related_negatives", "related_queue", "related_rows"]

# Ids and classes below zero mean "not known" and are equal to nothing.
_NONE = -1


def _equal(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    """Where entries of (n,) and (c,) or (c, m) are the same known value: (n, c) or (n, c, m)."""
    if left is None or right is None:
        return None
    left = left.view(-1, *(1,) * right.ndim)
    return (left == right) & (left > _NONE)


def _among(known: Tensor | None, ids: Tensor | None) -> Tensor | None:
    """Where an id of (c,) or (c, m) is among the known ids (n, r) of a row."""
    if known is None or ids is None:
        return None
    known = known.view(*known.shape, *(1,) * ids.ndim)
    return ((known == ids) & (known > _NONE)).any(1)


def _any(masks: list[Tensor | None], shape: tuple[int, ...], device: torch.device) -> Tensor:
    out = torch.zeros(shape, dtype=torch.bool, device=device)
    for mask in masks:
        if mask is not None:
            out |= mask
    return out


def related_rows(batch: ContrastiveBatch, rows: slice) -> Tensor:
    """Tell which other rows of the batch hold an answer to a row's query, as far as ids and classes tell.

    Parameters
    ----------
    batch : ContrastiveBatch
        W rows.
    rows : slice
        The n rows asked about.

    Returns
    -------
    Tensor of shape (n, W), bool
        True where query, positive or class are the same, or the other row's positive is a known answer. A row is not
        related to itself.
    """
    query, positive = batch.query_ids, batch.positive_ids
    labels = None if batch.labels is None else batch.labels[rows]
    own_query = None if query is None else query[rows]
    own_positive = None if positive is None else positive[rows]
    masks = [
        _equal(own_query, query),
        _equal(own_positive, positive),
        _equal(labels, batch.labels),
        _among(None if batch.known_ids is None else batch.known_ids[rows], positive),
    ]
    if batch.shared_ids:
        masks += [_equal(own_query, positive), _equal(own_positive, query)]
    count = rows.stop - rows.start
    device = batch.queries.values.device
    related = _any(masks, (count, len(batch.queries)), device)
    related[torch.arange(count, device=device), torch.arange(rows.start, rows.stop, device=device)] = False
    return related


def related_negatives(batch: ContrastiveBatch, rows: slice) -> Tensor | None:
    """Tell which hard negatives of any row are answers to a row's query, as far as ids and classes tell.

    Parameters
    ----------
    batch : ContrastiveBatch
        W rows with m negatives each.
    rows : slice
        The n rows asked about.

    Returns
    -------
    Tensor of shape (n, W, m), bool, or None
        None where the batch has no negatives.
    """
    if batch.negative_mask is None:
        return None
    ids = batch.negative_ids
    masks = [
        _equal(None if batch.positive_ids is None else batch.positive_ids[rows], ids),
        _equal(None if batch.labels is None else batch.labels[rows], batch.negative_labels),
        _among(None if batch.known_ids is None else batch.known_ids[rows], ids),
    ]
    if batch.shared_ids:
        masks.append(_equal(None if batch.query_ids is None else batch.query_ids[rows], ids))
    shape = (rows.stop - rows.start, *batch.negative_mask.shape)
    return _any(masks, shape, batch.queries.values.device)


def related_queue(batch: ContrastiveBatch, rows: slice) -> Tensor:
    """Tell which entries of the queue are answers to a row's query, as far as their ids tell.

    Parameters
    ----------
    batch : ContrastiveBatch
        With a queue of c entries.
    rows : slice
        The n rows asked about.

    Returns
    -------
    Tensor of shape (n, c), bool
        True where the entry is the row's positive or a known answer.
    """
    masks = [
        _equal(None if batch.positive_ids is None else batch.positive_ids[rows], batch.queue_ids),
        _among(None if batch.known_ids is None else batch.known_ids[rows], batch.queue_ids),
    ]
    count = 0 if batch.queue is None else len(batch.queue)
    return _any(masks, (rows.stop - rows.start, count), batch.queries.values.device)


def above_margin(scores: Tensor, positive: Tensor, *, margin: float, kind: str) -> Tensor:
    """Tell which candidates a judge scores too close to the positive to be called negatives.

    Parameters
    ----------
    scores : Tensor of shape (n, c)
        The judge's scores of the candidates.
    positive : Tensor of shape (n,)
        The judge's score of each row's positive.
    margin : float
        How far below the positive a negative must lie. 0 leaves out only what scores above the positive; a large
        value leaves few negatives.
    kind : {"absolute", "relative"}
        ``"absolute"``: the limit is p - margin. ``"relative"``: it is p - abs(p) * margin, so 0.05 asks for less than
        95 % of a positive score; with abs, the limit stays below the positive where that is negative.

    Returns
    -------
    Tensor of shape (n, c), bool
        True where the score is above the limit.

    References
    ----------
    Solatorio 2024, "GISTEmbed", arXiv 2402.16829; de Souza P. Moreira et al. 2024, "NV-Retriever", arXiv 2407.15831,
    section 3.

    Examples
    --------
    >>> import torch
    >>> above_margin(torch.tensor([[0.79, 0.75]]), torch.tensor([0.8]), margin=0.05, kind="relative").tolist()
    [[True, False]]
    """
    width = positive.abs() * margin if kind == "relative" else margin
    return scores > (positive - width).unsqueeze(1)


def guide_exclusions(
    batch: ContrastiveBatch, rows: slice, names: list[str], *, margin: float, kind: str
) -> dict[str, Tensor]:
    """Let a guide's embeddings judge every entry of the blocks.

    Parameters
    ----------
    batch : ContrastiveBatch
        With `guide`, the same items as a guide embedded them.
    rows : slice
        The n rows asked about.
    names : list of str
        Blocks to judge.
    margin : float
        As in `above_margin`.
    kind : {"absolute", "relative"}
        As in `above_margin`.

    Returns
    -------
    dict of str to Tensor of shape (n, c), bool
        True where the guide holds a candidate for an answer.
    """
    if batch.guide is None:
        return {}
    with torch.no_grad():
        positive, blocks = assemble(batch.guide, rows, scorer=DenseScorer(), names=names)
        return {block.name: above_margin(block.scores, positive, margin=margin, kind=kind) for block in blocks}
