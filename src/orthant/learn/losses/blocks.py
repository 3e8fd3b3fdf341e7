"""Similarities of a batch as named blocks: who is compared with whom, by any scorer.

A block is one matrix of raw similarities with the entries that may count as negatives. Which blocks enter a loss, with
which weight, is the business of `contrastive`; which entries are left out as false negatives, that of `masks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from orthant.validate import check_choice

__all__ = ["BLOCKS", "HARD_BLOCKS", "Block", "DenseScorer", "Encoded", "Scorer", "Sides", "assemble"]

BLOCKS = (
    "query_document",
    "query_hard",
    "query_other_hard",
    "query_query",
    "document_document",
    "document_other_hard",
    "document_query",
    "query_mixed",
    "query_queue",
)
HARD_BLOCKS = frozenset({"query_hard", "query_mixed"})
_OF_NEGATIVES = frozenset({"query_hard", "query_other_hard", "document_other_hard"})


@dataclass(frozen=True)
class Encoded:
    """Items as the encoder left them: one vector each, or several with a mask.

    Attributes
    ----------
    values : Tensor of shape (n, d), or (n, t, d) with a mask; (n, m, d) or (n, m, t, d) for m items per row
        The vectors.
    mask : Tensor of shape (n, t) or (n, m, t), bool, or None
        Which vectors count; None where an item is one vector.
    """

    values: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: slice) -> Encoded:
        """Return some of the rows.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        Encoded
            Views of these rows.
        """
        return Encoded(self.values[rows], None if self.mask is None else self.mask[rows])

    def flat(self) -> Encoded:
        """Merge the axis of rows and the axis of items per row.

        Returns
        -------
        Encoded
            n * m items, those of row 0 first.
        """
        return Encoded(self.values.flatten(0, 1), None if self.mask is None else self.mask.flatten(0, 1))

    def single(self) -> Encoded:
        """Give every row an axis of one item.

        Returns
        -------
        Encoded
            The same items as (n, 1, ...).
        """
        return Encoded(self.values.unsqueeze(1), None if self.mask is None else self.mask.unsqueeze(1))


class Scorer(Protocol):
    """Similarity of encoded items, larger is closer."""

    def prepare(self, items: Encoded) -> Encoded:
        """Do once what every comparison needs, such as normalising."""
        ...

    def pairs(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare all with all: (n, ...) and (c, ...) to (n, c)."""
        ...

    def rows(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare each row with its own items: (n, ...) and (n, m, ...) to (n, m)."""
        ...


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


class DenseScorer:
    """Cosine or dot product of one vector per item, in float32 whatever the model computes in.

    Parameters
    ----------
    similarity : {"cosine", "dot"}, default "cosine"
        ``"cosine"`` normalises the vectors first; ``"dot"`` takes them as they are.

    Examples
    --------
    >>> import torch
    >>> scorer = DenseScorer()
    >>> items = scorer.prepare(Encoded(torch.tensor([[3.0, 4.0], [0.0, 2.0]])))
    >>> [[round(value, 2) for value in row] for row in scorer.pairs(items, items).tolist()]
    [[1.0, 0.8], [0.8, 1.0]]
    """

    def __init__(self, similarity: str = "cosine") -> None:
        self.similarity = check_choice(similarity, ("cosine", "dot"), name="similarity")

    def prepare(self, items: Encoded) -> Encoded:
        """Convert to float32 and normalise where the similarity asks for it.

        Parameters
        ----------
        items : Encoded, values of shape (..., d)
            Vectors of any floating dtype.

        Returns
        -------
        Encoded
            float32 (float64 stays).
        """
        values = _at_least_float32(items.values)
        if self.similarity == "cosine":
            values = torch.nn.functional.normalize(values, dim=-1)
        return Encoded(values, items.mask)

    def pairs(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare all with all.

        Parameters
        ----------
        left : Encoded, values of shape (n, d)
            Prepared items.
        right : Encoded, values of shape (c, d)
            Prepared items.

        Returns
        -------
        Tensor of shape (n, c)
            Similarities.
        """
        return left.values @ right.values.T

    def rows(self, left: Encoded, right: Encoded) -> Tensor:
        """Compare each row with its own items.

        Parameters
        ----------
        left : Encoded, values of shape (n, d)
            Prepared items.
        right : Encoded, values of shape (n, m, d)
            Prepared items of each row.

        Returns
        -------
        Tensor of shape (n, m)
            Similarities.
        """
        return torch.einsum("nd,nmd->nm", left.values, right.values)


@dataclass(frozen=True)
class Block:
    """One named matrix of similarities.

    Attributes
    ----------
    name : str
        One of `BLOCKS`.
    scores : Tensor of shape (n, c)
        Raw similarities, not yet divided by a temperature.
    allowed : Tensor of shape (n, c), bool
        Entries that exist and are not the row's own.
    """

    name: str
    scores: Tensor
    allowed: Tensor


@dataclass(frozen=True)
class Sides:
    """What the blocks of a batch compare, prepared for a scorer.

    Attributes
    ----------
    queries, positives : Encoded of W rows
        What belongs together.
    negatives, negative_mask : Encoded of shape (W, m, ...) and Tensor of shape (W, m), bool, or None
        Hard negatives of each row; False where a row has fewer than m.
    mixed, mixed_mask : Encoded of shape (W, k, ...) and Tensor of shape (W, k), bool, or None
        Negatives made of the row's own.
    queue : Encoded of c rows, or None
        Documents of earlier batches.
    """

    queries: Encoded
    positives: Encoded
    negatives: Encoded | None = None
    negative_mask: Tensor | None = None
    mixed: Encoded | None = None
    mixed_mask: Tensor | None = None
    queue: Encoded | None = None


def assemble(sides: Sides, rows: slice, *, scorer: Scorer, names: Iterable[str]) -> tuple[Tensor, list[Block]]:
    """Compute the similarity of every row with its positive, and the blocks asked for.

    Parameters
    ----------
    sides : Sides
        W prepared queries and positives, negatives of shape (W, m, ...), and what else the blocks compare.
    rows : slice
        The n rows that losses are wanted for.
    scorer : Scorer
        Similarity.
    names : iterable of str
        Blocks in the order wanted. Blocks whose side is absent from the batch are left out.

    Returns
    -------
    positive : Tensor of shape (n,)
        Similarity of each row with its own positive.
    blocks : list of Block
        In the order of `names`.
    """
    wanted = tuple(names)
    maker = _Maker(sides, rows, scorer, all_negatives="query_other_hard" in wanted)
    blocks = [block for name in wanted if (block := maker.block(name)) is not None]
    return maker.positive(), blocks


class _Maker:
    """Computes blocks, and each product only once."""

    def __init__(self, sides: Sides, rows: slice, scorer: Scorer, *, all_negatives: bool) -> None:
        self.sides, self.scorer, self.slice, self.all_negatives = sides, scorer, rows, all_negatives
        self.queries, self.positives = sides.queries.rows(rows), sides.positives.rows(rows)
        device = sides.queries.values.device
        self.own = torch.arange(rows.start, rows.stop, device=device)
        self.local = torch.arange(len(self.own), device=device)
        self._known: dict[str, Tensor] = {}

    def positive(self) -> Tensor:
        if "query_document" in self._known:
            return self._known["query_document"][self.local, self.own]
        return self.scorer.rows(self.queries, self.positives.single())[:, 0]

    def block(self, name: str) -> Block | None:
        sides = self.sides
        if name in _OF_NEGATIVES:
            if sides.negatives is None or sides.negative_mask is None:
                return None
            return self._of_negatives(name, sides.negatives, sides.negative_mask)
        if name == "query_mixed":
            if sides.mixed is None or sides.mixed_mask is None:
                return None
            scores = self.scorer.rows(self.queries, sides.mixed.rows(self.slice))
            return Block(name, scores, sides.mixed_mask[self.slice])
        if name == "query_queue":
            if sides.queue is None or not len(sides.queue):
                return None
            scores = self.scorer.pairs(self.queries, sides.queue)
            return Block(name, scores, torch.ones_like(scores, dtype=torch.bool))
        left = self.queries if name.startswith("query") else self.positives
        right = sides.positives if name.endswith("document") else sides.queries
        scores = self._known[name] = self.scorer.pairs(left, right)
        allowed = torch.ones_like(scores, dtype=torch.bool)
        allowed[self.local, self.own] = False
        return Block(name, scores, allowed)

    def _of_negatives(self, name: str, negatives: Encoded, mask: Tensor) -> Block:
        if name == "query_hard" and not self.all_negatives:
            return Block(name, self.scorer.rows(self.queries, negatives.rows(self.slice)), mask[self.slice])
        side = name.split("_", 1)[0]
        key = f"{side}_negatives"
        if key not in self._known:
            left = self.queries if side == "query" else self.positives
            self._known[key] = self.scorer.pairs(left, negatives.flat())
        scores = self._known[key].view(len(self.own), *mask.shape)
        if name == "query_hard":
            return Block(name, scores[self.local, self.own], mask[self.slice])
        others = mask.expand(len(self.own), *mask.shape).clone()
        others[self.local, self.own] = False
        return Block(name, scores.flatten(1), others.flatten(1))
