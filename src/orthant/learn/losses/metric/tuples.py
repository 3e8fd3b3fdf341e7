"""Which rows of a batch belong together and which do not: from labels, or from pairs and triplets chosen elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orthant.errors import DtypeError, InputError, message
from orthant.learn.losses.protocol import check_shape

__all__ = ["Pairs", "Triplets", "label_masks", "masks", "triplets_of"]


@dataclass(frozen=True)
class Pairs:
    """Chosen pairs of rows. A pair that is listed twice counts once.

    Attributes
    ----------
    positives : Tensor of shape (P, 2), int64
        Anchor and a row that belongs to it.
    negatives : Tensor of shape (N, 2), int64
        Anchor and a row that does not.

    Examples
    --------
    >>> import torch
    >>> Pairs(torch.tensor([[0, 1]]), torch.tensor([[0, 2], [1, 2]])).negatives.shape
    torch.Size([2, 2])
    """

    positives: Tensor
    negatives: Tensor

    def __post_init__(self) -> None:
        """Check both lists."""
        for name, rows in (("positives", self.positives), ("negatives", self.negatives)):
            _check_rows(rows, 2, name)
            _refuse_equal(rows, (0, 1), name)


@dataclass(frozen=True)
class Triplets:
    """Chosen triplets of rows.

    Attributes
    ----------
    rows : Tensor of shape (T, 3), int64
        Anchor, a row that belongs to it, and one that does not.

    Examples
    --------
    >>> import torch
    >>> Triplets(torch.tensor([[0, 1, 2]])).rows.shape
    torch.Size([1, 3])
    """

    rows: Tensor

    def __post_init__(self) -> None:
        """Check the list."""
        _check_rows(self.rows, 3, "triplets")
        for places, roles in (
            ((0, 1), "anchor and positive"),
            ((0, 2), "anchor and negative"),
            ((1, 2), "both others"),
        ):
            _refuse_equal(self.rows, places, f"triplets, {roles}")


def _check_rows(rows: Tensor, width: int, name: str) -> None:
    check_shape(rows, (None, width), name=name)
    if rows.dtype != torch.int64:
        raise DtypeError(message(f"{name} of dtype {rows.dtype}", "int64 row numbers", "convert with .long()"))
    if len(rows) and int(rows.min()) < 0:
        raise InputError(message(f"a negative row number in {name}", "rows from 0", "leave such entries out"))


def _refuse_equal(rows: Tensor, places: tuple[int, int], name: str) -> None:
    same = (rows[:, places[0]] == rows[:, places[1]]).nonzero().flatten().tolist()
    if same:
        raise InputError(
            message(f"{name}: the same row twice in entry {same[0]}", "different rows", "leave such entries out")
        )


def label_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs of rows have the same label and which have different ones.

    Parameters
    ----------
    labels : Tensor of shape (B,), integer
        A negative label is unknown: that row is in no pair.

    Returns
    -------
    tuple of Tensor, each of shape (B, B), bool
        Positive pairs, without a row and itself, and negative pairs.

    Examples
    --------
    >>> import torch
    >>> positive, negative = label_masks(torch.tensor([0, 0, 1, -1]))
    >>> positive.sum().item(), negative.sum().item()
    (2, 4)
    """
    known = labels >= 0
    both = known[:, None] & known[None, :]
    same = labels[:, None] == labels[None, :]
    positive = same & both
    positive.fill_diagonal_(False)
    return positive, ~same & both


def masks(count: int, labels: Tensor | None, pairs: Pairs | Triplets | None) -> tuple[Tensor, Tensor]:
    """Return the positive and negative pairs of a batch, from the pairs chosen or else from its labels.

    Parameters
    ----------
    count : int
        Rows of the batch, B.
    labels : Tensor of shape (B,), integer, or None
        Read when there are no pairs.
    pairs : Pairs or Triplets, optional
        A triplet gives one positive and one negative pair of its anchor.

    Returns
    -------
    tuple of Tensor, each of shape (B, B), bool
        Positive and negative pairs, anchor first.

    Raises
    ------
    InputError
        Neither labels nor pairs, a row number beyond the batch, or labels without a positive or a negative pair.
    """
    if pairs is None:
        if labels is None:
            raise InputError(message("neither labels nor pairs", "one of them", "pass the class of each row"))
        positive, negative = label_masks(labels)
        _refuse_one_sided(positive, negative)
        return positive, negative
    rows = pairs.rows if isinstance(pairs, Triplets) else None
    positives = pairs.positives if isinstance(pairs, Pairs) else rows[:, [0, 1]]  # type: ignore[index]
    negatives = pairs.negatives if isinstance(pairs, Pairs) else rows[:, [0, 2]]  # type: ignore[index]
    return _scatter(positives, count), _scatter(negatives, count)


def triplets_of(count: int, labels: Tensor | None, pairs: Pairs | Triplets | None) -> Tensor:
    """Return the triplets of a batch: those chosen, or all that share an anchor.

    Parameters
    ----------
    count : int
        Rows of the batch, B.
    labels : Tensor of shape (B,), integer, or None
        Read when there are no pairs.
    pairs : Pairs or Triplets, optional
        Triplets are taken as they are.

    Returns
    -------
    Tensor of shape (T, 3), int64
        Anchor, positive, negative.

    Raises
    ------
    InputError
        As for `masks`.
    """
    if isinstance(pairs, Triplets):
        check_within(pairs.rows, count)
        return pairs.rows
    positive, negative = masks(count, labels, pairs)
    anchors, others = positive.nonzero(as_tuple=True)
    # By positive pair: P x B entries, where all triplets at once would be B x B x B.
    which, negatives = negative[anchors].nonzero(as_tuple=True)
    return torch.stack([anchors[which], others[which], negatives], dim=1)


def check_within(rows: Tensor, count: int) -> None:
    """Refuse row numbers beyond the batch.

    Parameters
    ----------
    rows : Tensor of shape (n, any), int64
        Row numbers.
    count : int
        Rows of the batch.

    Raises
    ------
    InputError
        A row number of ``count`` or more.
    """
    if len(rows) and int(rows.max()) >= count:
        raise InputError(
            message(
                f"row {int(rows.max())} in pairs for a batch of {count}", f"rows up to {count - 1}", "mine this batch"
            )
        )


def _scatter(pairs: Tensor, count: int) -> Tensor:
    check_within(pairs, count)
    out = torch.zeros((count, count), dtype=torch.bool, device=pairs.device)
    out[pairs[:, 0], pairs[:, 1]] = True
    return out


def _refuse_one_sided(positive: Tensor, negative: Tensor) -> None:
    if not negative.any():
        raise InputError(
            message(
                "a batch whose labels make no negative pair",
                "rows of at least two classes",
                "sample with PxK or ByLabel",
            )
        )
    if not positive.any():
        raise InputError(
            message(
                "a batch whose labels make no positive pair",
                "two rows of at least one class",
                "sample with PxK or ByLabel",
            )
        )
