"""Losses of single rows: logits of all blocks side by side, what is left out, targets, and one softmax over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from orthant.errors import InputError, message
from orthant.learn.losses import masks
from orthant.learn.losses.batches import ContrastiveBatch
from orthant.learn.losses.blocks import Block, Scorer, assemble
from orthant.learn.losses.distillation import kl_rows
from orthant.learn.losses.settings import ContrastiveSettings

__all__ = ["exclusions", "row_losses"]

_HARDNESS = {
    "in_batch": {"query_document", "query_other_hard"},
    "hard": {"query_hard"},
    "all": {"query_document", "query_other_hard", "query_hard"},
}


def row_losses(
    batch: ContrastiveBatch, rows: slice, *, scorer: Scorer, settings: ContrastiveSettings, scale: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Compute the loss of each row, and figures about it.

    Parameters
    ----------
    batch : ContrastiveBatch
        W rows.
    rows : slice
        The n rows wanted.
    scorer : Scorer
        Similarity.
    settings : ContrastiveSettings
        What is compared, left out and weighed.
    scale : Tensor of shape () or float
        1 / temperature.

    Returns
    -------
    losses : Tensor of shape (n,)
        With all weights.
    figures : Tensor of shape (n, 4)
        Whether the positive came first, its probability, how many negatives, the focal weight; without gradient.

    Raises
    ------
    InputError
        A row without negatives where the settings refuse it.
    """
    names = [*settings.log_weights, *(["document_query"] if settings.symmetric else [])]
    positive, blocks = assemble(batch, rows, scorer=scorer, names=names)
    excluded = exclusions(batch, rows, settings=settings, positive=positive.detach(), blocks=blocks)
    against = blocks.pop() if settings.symmetric else None
    logits, allowed, target = _columns(batch, rows, settings, scale, positive, blocks, excluded)
    copies = 2 if "document_query" in settings.log_weights else 1
    losses, figures = _softmax(settings, positive * scale, logits, allowed, target, copies)
    if against is not None:
        allowed = against.allowed & ~excluded[against.name]
        target = None
        if settings.related == "positive":
            related = masks.related_rows(batch, rows)
            allowed, target = allowed | related, _even_shares(related.to(positive.dtype))
        losses = 0.5 * (losses + _softmax(settings, positive * scale, against.scores * scale, allowed, target, 1)[0])
    if settings.soft_weight:
        soft = _soft(batch, rows, settings, scale, positive, scorer)
        losses = (1.0 - settings.soft_weight) * losses + settings.soft_weight * soft
    if batch.weights is not None:
        losses = losses * batch.weights[rows].to(losses.dtype)
    return losses, figures


def exclusions(
    batch: ContrastiveBatch, rows: slice, *, settings: ContrastiveSettings, positive: Tensor, blocks: list[Block]
) -> dict[str, Tensor]:
    """Tell which entries of each block are no negatives: ids, classes, known answers, margins.

    Parameters
    ----------
    batch : ContrastiveBatch
        W rows.
    rows : slice
        The n rows wanted.
    settings : ContrastiveSettings
        Which margin holds, and who judges.
    positive : Tensor of shape (n,)
        Similarity of each row with its positive.
    blocks : list of Block
        Of these rows.

    Returns
    -------
    dict of str to Tensor of shape (n, c), bool
        By the name of the block.
    """
    related, negatives = masks.related_rows(batch, rows), masks.related_negatives(batch, rows)
    local = torch.arange(rows.stop - rows.start, device=related.device)
    out: dict[str, Tensor] = {}
    for block in blocks:
        if block.name.endswith("other_hard") and negatives is not None:
            out[block.name] = negatives.flatten(1)
        elif block.name == "query_hard" and negatives is not None:
            out[block.name] = negatives[local, local + rows.start]
        elif block.name == "query_queue":
            out[block.name] = masks.related_queue(batch, rows)
        elif block.name == "query_mixed":
            out[block.name] = torch.zeros_like(block.allowed)
        else:
            out[block.name] = related
    for name, verdict in _verdicts(batch, rows, settings, positive, blocks).items():
        out[name] = out[name] | verdict
    return out


def _verdicts(
    batch: ContrastiveBatch, rows: slice, settings: ContrastiveSettings, positive: Tensor, blocks: list[Block]
) -> dict[str, Tensor]:
    if settings.margin is None:
        return {}
    kind, margin = settings.margin_kind, settings.margin
    names = [block.name for block in blocks]
    if settings.margin_source == "guide":
        judged = [name for name in names if name not in ("query_mixed", "query_queue")]
        return masks.guide_exclusions(batch, rows, judged, margin=margin, kind=kind)
    if settings.margin_source == "self":
        return {
            block.name: masks.above_margin(block.scores.detach(), positive, margin=margin, kind=kind)
            for block in blocks
        }
    if batch.teacher_scores is None or "query_hard" not in names:
        return {}
    own = batch.teacher_scores[rows]
    return {"query_hard": masks.above_margin(own[:, 1:], own[:, 0], margin=margin, kind=kind)}


def _columns(
    batch: ContrastiveBatch,
    rows: slice,
    settings: ContrastiveSettings,
    scale: Tensor | float,
    positive: Tensor,
    blocks: list[Block],
    excluded: dict[str, Tensor],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits and what is allowed of all blocks side by side (n, C); target (n, 1 + C), None for one-hot."""
    log_weights = settings.log_weights
    spread = settings.related == "positive"
    nothing = positive.new_zeros(len(positive), 0)
    logits, allowed, targets = [nothing], [nothing.bool()], [nothing]
    for block in blocks:
        logit = block.scores * scale + log_weights[block.name]
        if settings.hardness and block.name in _HARDNESS[settings.hardness_on]:
            logit = logit + settings.hardness * block.scores.detach()
        target = torch.zeros_like(logit)
        if spread and block.name == "query_document":
            target = masks.related_rows(batch, rows).to(logit.dtype)
        elif batch.targets is not None and block.name == "query_hard":
            target = batch.targets[rows, 1:].to(logit.dtype)
        logits.append(logit)
        allowed.append((block.allowed & ~excluded[block.name]) | (target > 0))
        targets.append(target)
    joined, there, target = torch.cat(logits, 1), torch.cat(allowed, 1), torch.cat(targets, 1)
    if settings.hardest is not None and settings.hardest < joined.shape[1]:
        there = _hardest(joined.detach(), there & (target == 0), settings.hardest) | (target > 0)
    if batch.targets is not None:
        return joined, there, torch.cat([batch.targets[rows, :1].to(joined.dtype), target], 1)
    return joined, there, _even_shares(target) if spread else None


def _even_shares(related: Tensor) -> Tensor:
    """Share the target between the positive, put in front, and the related columns."""
    shares = torch.cat([torch.ones_like(related[:, :1]), related], 1)
    return shares / shares.sum(1, keepdim=True)


def _softmax(
    settings: ContrastiveSettings,
    positive: Tensor,
    logits: Tensor,
    allowed: Tensor,
    target: Tensor | None,
    copies: int,
) -> tuple[Tensor, Tensor]:
    """Losses of the rows, weighted by their focal weight, and their figures; `copies` of the positive are counted."""
    floor = torch.finfo(logits.dtype).min / 4
    # A first column that is never allowed keeps every reduction defined where there are no columns at all.
    kept = torch.cat([torch.full_like(positive[:, None], floor), logits.masked_fill(~allowed, floor)], 1)
    counts = allowed.sum(1)
    if target is None:
        # log(c exp(p) + sum exp(n)) - p without cancellation: log(c + exp(gap)).
        gap = torch.logsumexp(kept, 1) - positive
        log_copies = math.log(copies)
        losses = functional.softplus(gap - log_copies) + log_copies
        log_miss = functional.logsigmoid(gap - log_copies)
        first = positive > kept.max(1).values
    else:
        everything = torch.cat([positive[:, None], kept[:, 1:]], 1)
        extra = positive + math.log(copies - 1) if copies > 1 else torch.full_like(positive, floor)
        total = torch.logsumexp(torch.cat([everything, extra[:, None]], 1), 1)
        losses = total - (target * everything.masked_fill(target == 0, 0.0)).sum(1)
        answers = torch.logsumexp(everything.masked_fill(target == 0, floor), 1)
        wrong = torch.logsumexp(everything.masked_fill(target > 0, floor), 1)
        log_miss = functional.logsigmoid(wrong - answers)
        first = everything.argmax(1) == target.argmax(1)
        counts = counts - (target[:, 1:] > 0).sum(1)
    if settings.empty_rows == "error" and (counts == 0).any():
        shown = (counts == 0).nonzero().flatten().tolist()[:5]
        raise InputError(
            message(f"rows without any negative: {shown}", "at least one", "loosen the masks or set empty_rows='zero'")
        )
    weight = torch.exp(settings.focal_gamma * log_miss) if settings.focal_gamma else torch.ones_like(losses)
    if settings.focal_detach:
        weight = weight.detach()
    probability = -torch.expm1(log_miss.detach())
    figures = torch.stack([first.to(losses), probability, counts.to(losses), weight.detach()], 1)
    return losses * weight, figures


def _soft(
    batch: ContrastiveBatch,
    rows: slice,
    settings: ContrastiveSettings,
    scale: Tensor | float,
    positive: Tensor,
    scorer: Scorer,
) -> Tensor:
    """Divergence of each row from the teacher's distribution over its positive and its own negatives."""
    _, hard = assemble(batch, rows, scorer=scorer, names=["query_hard"])
    if batch.teacher_scores is None or not hard:
        return torch.zeros_like(positive)
    scores = torch.cat([positive[:, None], hard[0].scores], 1)
    there = torch.cat([torch.ones_like(hard[0].allowed[:, :1]), hard[0].allowed], 1)
    student = settings.student_temperature
    return kl_rows(
        scores * scale if student is None else scores,
        batch.teacher_scores[rows].detach().to(scores.dtype),
        mask=there,
        student_temperature=1.0 if student is None else student,
        teacher_temperature=settings.teacher_temperature,
    )


def _hardest(logits: Tensor, allowed: Tensor, count: int) -> Tensor:
    """The largest of the allowed logits of each row, so many of them."""
    filled = logits.masked_fill(~allowed, -torch.inf)
    chosen = torch.zeros_like(allowed).scatter_(1, filled.topk(count, 1).indices, True)
    return chosen & allowed
