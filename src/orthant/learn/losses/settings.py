"""Settings of the contrastive loss, checked against each other when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orthant.errors import InputError, message
from orthant.learn.losses.blocks import BLOCKS, HARD_BLOCKS
from orthant.learn.losses.protocol import check_positive
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["ContrastiveSettings"]


@dataclass(frozen=True)
class ContrastiveSettings:
    """What a `ContrastiveLoss` compares, leaves out and weighs.

    Parameters
    ----------
    temperature : float, default 0.05
        Divisor of the similarities. Small: only the hardest negatives count, and the loss saturates; large: all count
        alike. Cosines want 0.01 to 0.1, MaxSim sums about 1.
    learn_temperature : bool, default False
        Train it, beginning from `temperature`.
    min_temperature : float, default 0.01
        Floor of a learned temperature.
    similarity : {"cosine", "dot"}, default "cosine"
        How embeddings compare.
    blocks : mapping of str to float, sequence of str, or None
        Blocks that enter the softmax, as names, or with a logarithm of their weight that is added to their logits.
        ``query_document``: other rows' positives; ``query_hard``: the row's own negatives; ``query_other_hard``: those
        of other rows; ``query_query``; ``document_document``; ``document_other_hard``; ``document_query``: the row's
        positive against all queries, where the pair itself counts once more; ``query_mixed`` and ``query_queue`` come
        with `mix` and `queue_size`. Left out: the first three, or ``query_hard`` without `in_batch`.
    in_batch : bool, default True
        Use other rows of the batch as negatives. Turn off for data where rows of one class meet in a batch.
    symmetric : bool, default False
        Average with a second softmax of each positive over all queries.
    related : {"mask", "positive"}, default "mask"
        What to do with other rows' documents that ids or classes show to be answers: leave them out, or share the
        target evenly between them and the row's own positive.
    margin : float, optional
        Leave out negatives that score above the positive's score less this margin, in the eyes of `margin_source`.
    margin_kind : {"absolute", "relative"}, default "absolute"
        See `masks.above_margin`; ``"relative"`` with 0.05 is the rule of 95 % of the positive.
    margin_source : {"guide", "self", "teacher"}, default "guide"
        Who judges: embeddings of a guide (fields ``guide_...``), the model itself, or ``teacher_scores``, which judge
        the row's own negatives only.
    hardness : float, default 0.0
        Adds this much times the similarity, as a constant, to the logits of negatives. 5 to 9 in the literature.
    hardness_on : {"in_batch", "hard", "all"}, default "in_batch"
        Which negatives; "in_batch" are those of other rows, "hard" the row's own.
    focal_gamma : float, default 0.0
        Weight each row by (1 - p)**gamma, p the probability of its positive. 0.5 stresses hard rows mildly; a large
        value ignores all easy ones, and the effective learning rate falls as training advances.
    focal_detach : bool, default True
        Take the weight as a constant.
    mix : {"pair", "list"}, optional
        Make further negatives of a row's own, see `mix_negatives`.
    n_mixed : int, default 1
        How many per row.
    mix_temperature : float, default 0.05
        Of ``"list"``.
    hardest : int, optional
        Keep only so many negatives per row, those with the largest logits.
    queue_size : int, default 0
        Keep so many documents of earlier batches as negatives. They are from an older model: a long queue wants a
        momentum copy of the encoder, whose vectors are passed as ``queue_entries``.
    soft_weight : float, default 0.0
        Share of the divergence from the teacher's distribution over positive and own negatives, from 0 to 1.
    teacher_temperature : float, default 1.0
        Divisor of ``teacher_scores``.
    student_temperature : float, optional
        Divisor of the similarities in that divergence; left out, the temperature of the softmax.
    empty_rows : {"zero", "error"}, default "zero"
        A row whose every negative was left out counts as zero in the mean and in ``rows_without_negatives``, or is
        refused.
    row_chunk : int, optional
        Compute so many rows at a time and again in the backward pass: memory for row_chunk * W instead of B * W.
    gather : bool, default True
        Where processes train together, take in the documents and queries of all.
    shared_ids : bool, default False
        Ids of queries and documents are of one kind, so that a document equal to the query is left out too.

    Raises
    ------
    InputError
        A value out of range, an unknown block, or settings that contradict each other.

    Examples
    --------
    >>> ContrastiveSettings(in_batch=False).log_weights
    {'query_hard': 0.0}
    """

    temperature: float = 0.05
    learn_temperature: bool = False
    min_temperature: float = 0.01
    similarity: str = "cosine"
    blocks: Mapping[str, float] | Sequence[str] | None = None
    in_batch: bool = True
    symmetric: bool = False
    related: str = "mask"
    margin: float | None = None
    margin_kind: str = "absolute"
    margin_source: str = "guide"
    hardness: float = 0.0
    hardness_on: str = "in_batch"
    focal_gamma: float = 0.0
    focal_detach: bool = True
    mix: str | None = None
    n_mixed: int = 1
    mix_temperature: float = 0.05
    hardest: int | None = None
    queue_size: int = 0
    soft_weight: float = 0.0
    teacher_temperature: float = 1.0
    student_temperature: float | None = None
    empty_rows: str = "zero"
    row_chunk: int | None = None
    gather: bool = True
    shared_ids: bool = False

    def __post_init__(self) -> None:
        check_positive(self.temperature, name="temperature")
        check_positive(self.min_temperature, name="min_temperature")
        check_positive(self.mix_temperature, name="mix_temperature")
        check_positive(self.teacher_temperature, name="teacher_temperature")
        if self.student_temperature is not None:
            check_positive(self.student_temperature, name="student_temperature")
        for name in ("hardness", "focal_gamma"):
            check_fraction(getattr(self, name), name=name, high=1e6)
        check_fraction(self.soft_weight, name="soft_weight")
        if self.margin is not None:
            check_fraction(self.margin, name="margin", low=-1e6, high=1e6)
        check_choice(self.similarity, ("cosine", "dot"), name="similarity")
        check_choice(self.related, ("mask", "positive"), name="related")
        check_choice(self.margin_kind, ("absolute", "relative"), name="margin_kind")
        check_choice(self.margin_source, ("guide", "self", "teacher"), name="margin_source")
        check_choice(self.hardness_on, ("in_batch", "hard", "all"), name="hardness_on")
        check_choice(self.empty_rows, ("zero", "error"), name="empty_rows")
        if self.mix is not None:
            check_choice(self.mix, ("pair", "list"), name="mix")
        check_count(self.n_mixed, name="n_mixed")
        check_count(self.queue_size, name="queue_size", minimum=0)
        for name in ("hardest", "row_chunk"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name=name)
        self._check_agreement()

    def _check_agreement(self) -> None:
        weights = self.log_weights
        crossing = sorted(set(weights) - HARD_BLOCKS - {"query_queue"})
        conflicts = (
            (not self.in_batch and bool(crossing), f"blocks {crossing} with in_batch=False", "drop these blocks"),
            (not self.in_batch and self.symmetric, "symmetric=True with in_batch=False", "choose one of them"),
            (
                self.symmetric and "document_query" in weights,
                "the block document_query with symmetric=True",
                "drop the block: the second softmax holds it",
            ),
            (self.mix is None and "query_mixed" in weights, "the block query_mixed without mix", "set mix"),
            (not self.queue_size and "query_queue" in weights, "the block query_queue without queue", "set queue_size"),
            (not weights, "no blocks at all", "name at least one"),
        )
        for wrong, given, remedy in conflicts:
            if wrong:
                raise InputError(message(given, "settings that agree", remedy))

    @property
    def log_weights(self) -> dict[str, float]:
        """Blocks that are on, in a fixed order, with the logarithm of their weight."""
        if self.blocks is None:
            chosen = dict.fromkeys(BLOCKS[:3] if self.in_batch else BLOCKS[1:2], 0.0)
        elif isinstance(self.blocks, Mapping):
            chosen = {name: float(weight) for name, weight in self.blocks.items()}
        else:
            chosen = dict.fromkeys(self.blocks, 0.0)
        for name in chosen:
            check_choice(name, BLOCKS, name="block")
        if self.mix is not None:
            chosen.setdefault("query_mixed", 0.0)
        if self.queue_size:
            chosen.setdefault("query_queue", 0.0)
        return {name: chosen[name] for name in BLOCKS if name in chosen}
