"""Pairs of documents that share a label, and which others of a batch do so too."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orthant.measures.aspects import LabelSets
from orthant.validate import check_count

__all__ = ["draw_pairs", "known_answers", "padded_labels"]


def draw_pairs(
    labels: LabelSets, *, partners: int = 4, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw partners that share a label, for every document that has any.

    Parameters
    ----------
    labels : LabelSets
        Of the documents.
    partners : int, default 4
        Drawn for each document, with repetition. More use more of what the labels say.
    seed : int, default 0
        Of the draw.

    Returns
    -------
    left, right : ndarray of shape (p,), int64
        Rows of two different documents.
    shared : ndarray of shape (p,), int64
        The label for which the pair was drawn.

    Notes
    -----
    A label of the document is drawn first, then another document with it, so that a frequent label does not drown the
    rare ones beside it.
    """
    check_count(partners, name="partners")
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.flatnonzero(labels.sizes), partners)
    starts, sizes = labels.matrix.indptr[:-1][rows], labels.sizes[rows]
    shared = labels.matrix.indices[starts + rng.integers(0, sizes)].astype(np.int64)
    by_label = labels.matrix.tocsc()
    begin, counts = by_label.indptr[:-1][shared], np.diff(by_label.indptr)[shared]
    # Another one: a draw among the others, which steps over the document itself.
    place = rng.integers(0, counts - 1)
    own = _places(by_label, rows, shared)
    right = by_label.indices[begin + place + (place >= own)].astype(np.int64)
    return rows.astype(np.int64), right, shared


def _places(by_label: Any, rows: npt.NDArray[Any], shared: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Place of each document among those of a label."""
    by_label.sort_indices()
    keys = np.repeat(np.arange(by_label.shape[1]), np.diff(by_label.indptr)) * by_label.shape[0] + by_label.indices
    return np.searchsorted(keys, shared * by_label.shape[0] + rows) - by_label.indptr[:-1][shared]


def padded_labels(labels: LabelSets) -> npt.NDArray[np.int64]:
    """Return the labels of documents as one array.

    Parameters
    ----------
    labels : LabelSets
        Of the documents.

    Returns
    -------
    ndarray of shape (n, most), int64
        Filled up with -1.
    """
    sizes = labels.sizes
    out = np.full((len(sizes), max(1, int(sizes.max(initial=0)))), -1, dtype=np.int64)
    columns = np.arange(len(labels.matrix.indices)) - np.repeat(labels.matrix.indptr[:-1], sizes)
    out[np.repeat(np.arange(len(sizes)), sizes), columns] = labels.matrix.indices
    return out


def known_answers(left: Tensor, right: Tensor, rows: Tensor) -> Tensor:
    """Return which documents of a batch share a label with a row, and are no negatives of it.

    Parameters
    ----------
    left : Tensor of shape (b, most), int64
        Labels of the queries' documents, filled up with -1.
    right : Tensor of shape (b, most), int64
        Those of the partners.
    rows : Tensor of shape (b,), int64
        Numbers of the partners.

    Returns
    -------
    Tensor of shape (b, b), int64
        The number of a partner that shares a label, or -1; `ContrastiveLoss` takes it as ``known_ids``.
    """
    used, places = torch.unique(torch.cat([left, right]), return_inverse=True)
    hot = torch.zeros(len(places), len(used))
    hot.scatter_(1, places, 1.0)
    # -1 is a filling, no label; it sorts first where it occurs.
    if len(used) and int(used[0]) < 0:
        hot[:, 0] = 0
    shares = hot[: len(left)] @ hot[len(left) :].T > 0
    return torch.where(shares, rows[None, :], torch.full_like(rows, -1)[None, :])
