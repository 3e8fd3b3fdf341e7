"""The one contrastive loss: a softmax over named blocks of similarities, with masks, weights and soft targets.

InfoNCE with in-batch and hard negatives, GTE's four-way form, GIST, focal weights, mixed negatives, queues, supervised
contrast and the mixture with a teacher's scores are settings of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthant.errors import DimensionError, InputError, message
from orthant.learn.losses.batches import ContrastiveBatch, mix_negatives, read_batch
from orthant.learn.losses.blocks import DenseScorer, Encoded, Scorer, assemble
from orthant.learn.losses.gathering import gather_rows
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.rows import exclusions, row_losses
from orthant.learn.losses.settings import ContrastiveSettings

__all__ = ["ContrastiveLoss"]


class ContrastiveLoss(nn.Module):
    """Pull each query to its positive and away from the negatives of the blocks that are on.

    Use it for pairs and for rows with hard negatives. For graded pairs, use a loss on differences of scores; for labels
    without queries and documents, a metric-learning loss.

    Parameters
    ----------
    settings : ContrastiveSettings, optional
        Left out: temperature 0.05, in-batch and hard negatives.

    Raises
    ------
    InputError
        Settings of another type.

    Notes
    -----
    With s = similarity / temperature, A_i the entries of row i's blocks that are not left out, and t the target::

        L = mean_i w_i f_i sum_j t_ij (log(exp(s_i+) + sum_{k in A_i} exp(s_ik)) - s_ij)

    t is 1 on the positive unless `related` or ``targets`` spread it; w are given ``weights``, f focal weights. One-hot
    rows are computed as softplus(logsumexp(A_i) - s_i+), which keeps its digits where the positive's probability is 1
    in float32. Weights are not normalised. Cost: B * W * (1 + m) similarities for B rows of W in all processes, m
    negatives each.

    References
    ----------
    van den Oord et al. 2018, arXiv 1807.03748, section 2.3; Li et al. 2023 (GTE), arXiv 2308.03281, section 3.2;
    Solatorio 2024 (GISTEmbed), arXiv 2402.16829; Zhao et al. 2025 (KaLM-Embedding-V2), arXiv 2506.20923; He et al. 2019
    (MoCo), arXiv 1911.05722, section 3; Khosla et al. 2020, arXiv 2004.11362, section 3.2.

    Examples
    --------
    >>> import torch
    >>> loss = ContrastiveLoss(ContrastiveSettings(temperature=1.0))
    >>> output = loss({"queries": torch.eye(2), "positives": torch.eye(2)})
    >>> round(float(output.loss), 4), output.parts["accuracy"]
    (0.3133, 1.0)
    """

    log_scale: Tensor
    queue: Tensor
    queue_ids: Tensor

    def __init__(self, settings: ContrastiveSettings | None = None) -> None:
        super().__init__()
        self.settings = ContrastiveSettings() if settings is None else settings
        if not isinstance(self.settings, ContrastiveSettings):
            raise InputError(message(f"settings of type {type(settings).__name__}", "ContrastiveSettings", "make one"))
        self.scorer: Scorer = DenseScorer(self.settings.similarity)
        self.tokens = False
        log_scale = torch.tensor(-math.log(self.settings.temperature))
        if self.settings.learn_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)
        self.register_buffer("queue", torch.empty(0, 0))
        self.register_buffer("queue_ids", torch.empty(0, dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A queue grows: what is loaded decides its size.
        for name in ("queue", "queue_ids"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=self.queue.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def temperature(self) -> float:
        """The divisor of the similarities, as it is now."""
        scale = self._scale()
        return 1.0 / (scale.item() if isinstance(scale, Tensor) else scale)

    def _scale(self) -> Tensor | float:
        if not self.settings.learn_temperature:
            return 1.0 / self.settings.temperature
        return self.log_scale.clamp(max=-math.log(self.settings.min_temperature)).exp()

    def forward(self, batch: Mapping[str, Tensor | None]) -> LossOutput:
        """Compute the loss of a batch of embeddings.

        Parameters
        ----------
        batch : mapping of str to Tensor or None
            ``queries`` (B, d) and ``positives`` (B, d); optionally ``negatives`` (B, m, d) with ``negative_mask``
            (B, m), False where a row has fewer; ``query_ids`` (B,), ``positive_ids`` (B,), ``negative_ids`` (B, m),
            ``known_ids`` (B, r), documents known to answer the query; ``labels`` (B,) and ``negative_labels`` (B, m);
            ids and labels are int64, -1 where not known; ``weights`` (B,); ``teacher_scores`` or ``targets`` (B, 1 + m)
            for the positive and the row's own negatives; ``guide_queries``, ``guide_positives``, ``guide_negatives``;
            ``queue_entries`` (n, d), what to remember instead of the positives.

        Returns
        -------
        LossOutput
            Mean over the B rows. Parts: ``accuracy`` (rows whose positive comes first), ``positive_probability``,
            ``negatives`` (mean number), ``rows_without_negatives``, ``row_weight``, ``temperature``.

        Raises
        ------
        InputError
            Missing or unknown fields, fields that the settings leave without effect, no negatives with
            ``in_batch=False``, rows without negatives with ``empty_rows="error"``.
        DimensionError
            Shapes that do not belong together.
        NonFiniteError
            NaN or infinity.
        """
        settings = self.settings
        given = {name: value for name, value in batch.items() if value is not None}
        self._check_fields(given)
        sides = read_batch(
            given, scorer=self.scorer, tokens=self.tokens, gather=settings.gather, shared_ids=settings.shared_ids
        )
        # Half precision is for the encoder: sums of exponentials need float32.
        with torch.autocast(sides.queries.values.device.type, enabled=False):
            sides = self._with_queue(self._with_mixed(sides))
            rows, figures = self._all_rows(sides)
        if settings.queue_size and self.training:
            self._remember(sides, given.get("queue_entries"))
        return LossOutput(rows.mean(), self._parts(figures))

    def _check_fields(self, given: Mapping[str, Tensor]) -> None:
        settings, blocks = self.settings, self.settings.log_weights
        judged = settings.margin is not None
        needs_negatives = not settings.in_batch and not settings.queue_size
        teaches = settings.soft_weight > 0 or (judged and settings.margin_source == "teacher")
        crossing = {"query_other_hard", "document_other_hard"} & set(blocks)
        missing = [name for name in ("queries", "positives") if name not in given]
        problems: tuple[tuple[bool, str, str], ...] = (
            (bool(missing), f"a batch without {missing}", "add them"),
            (needs_negatives and "negatives" not in given, "no negatives with in_batch=False", "add negatives"),
            (teaches and "teacher_scores" not in given, "no teacher_scores", "add them, or change the settings"),
            (not teaches and "teacher_scores" in given, "teacher_scores without use", "set soft_weight or margin"),
            (settings.mix is not None and "negatives" not in given, "mix without negatives", "add negatives"),
            (
                "targets" in given and settings.related == "positive",
                "targets with related='positive'",
                "choose one way of spreading the target",
            ),
            ("targets" in given and "query_hard" not in blocks, "targets without block query_hard", "turn it on"),
            (
                "labels" in given and "negatives" in given and "negative_labels" not in given and bool(crossing),
                f"labels without negative_labels while {sorted(crossing)} are on",
                "add the classes of the negatives, or turn these blocks off",
            ),
        )
        guided = judged and settings.margin_source == "guide"
        problems += (
            (guided and "guide_queries" not in given, "a margin without a guide", "add the fields guide_..."),
            (not guided and "guide_queries" in given, "guide embeddings without use", "set margin"),
        )
        for wrong, what, remedy in problems:
            if wrong:
                raise InputError(message(what, "a batch that fits the settings", remedy))

    def _with_mixed(self, sides: ContrastiveBatch) -> ContrastiveBatch:
        settings = self.settings
        if settings.mix is None or sides.negatives is None or sides.negative_mask is None:
            return sides
        mixed, mask = mix_negatives(
            sides.queries.values,
            sides.negatives.values,
            sides.negative_mask & ~self._own_exclusions(sides),
            how=settings.mix,
            count=settings.n_mixed,
            temperature=settings.mix_temperature,
            normalize=settings.similarity == "cosine",
        )
        return replace(sides, mixed=Encoded(mixed), mixed_mask=mask)

    def _own_exclusions(self, sides: ContrastiveBatch) -> Tensor:
        """Own negatives that are answers: what is mixed of them would be one too."""
        rows = slice(0, len(sides.queries))
        positive, blocks = assemble(sides, rows, scorer=self.scorer, names=["query_hard"])
        found = exclusions(sides, rows, settings=self.settings, positive=positive.detach(), blocks=blocks)
        return found["query_hard"]

    def _with_queue(self, sides: ContrastiveBatch) -> ContrastiveBatch:
        if not self.settings.queue_size or not len(self.queue):
            return sides
        dim = sides.queries.values.shape[-1]
        if self.queue.shape[-1] != dim:
            raise DimensionError(
                message(
                    f"embeddings of dimension {dim} after {self.queue.shape[-1]}",
                    "one dimension for as long as a queue is used",
                    "use queue_size=0 inside losses that shorten the embeddings",
                )
            )
        return replace(sides, queue=Encoded(self.queue.to(sides.queries.values.dtype)), queue_ids=self.queue_ids)

    @torch.no_grad()
    def _remember(self, sides: ContrastiveBatch, entries: Tensor | None) -> None:
        new, ids = sides.positives.values, sides.positive_ids
        if entries is not None:
            new = self.scorer.prepare(Encoded(gather_rows(entries)[0] if self.settings.gather else entries)).values
            ids = ids if ids is not None and len(ids) == len(new) else None
        if ids is None:
            ids = torch.full((len(new),), -1, dtype=torch.int64, device=new.device)
        kept = self.queue.to(new) if len(self.queue) else new[:0]
        # A copy, so that a graph that still holds the old queue is not changed under it.
        self.queue = torch.cat([kept, new.detach()])[-self.settings.queue_size :]
        self.queue_ids = torch.cat([self.queue_ids.to(ids), ids])[-self.settings.queue_size :]

    def _all_rows(self, sides: ContrastiveBatch) -> tuple[Tensor, Tensor]:
        begin, end = sides.offset, sides.offset + sides.count
        step = self.settings.row_chunk or sides.count

        def some(start: int) -> tuple[Tensor, Tensor]:
            rows = slice(start, min(start + step, end))
            return row_losses(sides, rows, scorer=self.scorer, settings=self.settings, scale=self._scale())

        if step >= sides.count:
            return some(begin)
        parts = [checkpoint(some, start, use_reentrant=False) for start in range(begin, end, step)]
        losses, figures = zip(*parts, strict=True)
        return torch.cat(losses), torch.cat(figures)

    def _parts(self, stats: Tensor) -> dict[str, float]:
        empty = (stats[:, 2] == 0).sum()
        accuracy, probability, negatives, weight, rows = torch.cat([stats.mean(0), empty[None].to(stats)]).tolist()
        return {
            "accuracy": accuracy,
            "positive_probability": probability,
            "negatives": negatives,
            "rows_without_negatives": rows,
            "row_weight": weight,
            "temperature": self.temperature,
        }
