"""Fit a token table: contrastive training on pairs, mixed with distillation of a teacher's vectors."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Settings:
    """What a fit depends on besides its data."""

    seed: int = 0
    dim: int = 512
    steps: int = 1_200
    batch: int = 1_024
    power: float = 0.5
    learning_rate: float = 0.004
    temperature: float = 0.05
    teacher_temperature: float = 0.05
    contrastive: float = 1.0
    distribution: float = 1.0
    direct: float = 1.0
    single_share: float = 0.35
    false_negative_margin: float = 0.05
    block: int = 512
    threads: int = 1


@dataclass
class Bags:
    """Token ids of texts, back to back."""

    ids: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Token ids of some rows, where each row begins among them, and their weights."""
        starts = self.offsets[rows]
        counts = self.offsets[rows + 1] - starts
        ends = np.cumsum(counts)
        begins = ends - counts
        flat = np.repeat(starts - begins, counts) + np.arange(ends[-1])
        return self.ids[flat], begins, self.weights[flat]


def bags(token_ids: list[list[int]], power: float = 0.5) -> Bags:
    """Distinct tokens of each text, each weighted by its count to the ``power``."""
    found = [np.unique(np.asarray(ids, np.int32), return_counts=True) for ids in token_ids]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in found])])
    weights = np.concatenate([counts for _, counts in found]).astype(np.float32) ** power
    return Bags(np.concatenate([ids for ids, _ in found]), offsets, weights)


def _epoch(rng: np.random.Generator, count: int, groups: np.ndarray | None, block: int) -> np.ndarray:
    """A random order of the pairs; with ``block``, runs of that many come from one source, which hardens negatives."""
    order = rng.permutation(count)
    if groups is None or block == 0:
        return order
    order = order[np.argsort(groups[order], kind="stable")]
    blocks = []
    for group in np.unique(groups):
        members = order[groups[order] == group]
        blocks += [members[start : start + block] for start in range(0, len(members), block)]
    return np.concatenate([blocks[place] for place in rng.permutation(len(blocks))])


def _contrast(left, right, left_teacher, right_teacher, settings: Settings):
    """Symmetric InfoNCE over pairs of unit vectors; texts the teacher finds as close as the positive do not count."""
    import torch
    from torch.nn import functional

    known = left_teacher @ right_teacher.T
    positive = known.diagonal()
    doubtful = (known > (positive[:, None] - settings.false_negative_margin)) | (known > positive[None, :])
    doubtful.fill_diagonal_(False)
    scores = (left @ right.T / settings.temperature).masked_fill(doubtful, -1e4)
    labels = torch.arange(len(left))
    return 0.5 * (functional.cross_entropy(scores, labels) + functional.cross_entropy(scores.T, labels))


def _divergence(units, teacher, temperature: float):
    """Kullback-Leibler divergence from the teacher's in-batch similarities to those of the table."""
    import torch
    from torch.nn import functional

    itself = torch.eye(len(units), dtype=torch.bool)
    mine, theirs = (
        functional.log_softmax((x @ x.T / temperature).masked_fill(itself, -1e4), 1) for x in (units, teacher)
    )
    return functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)


def _loss(units, teacher, size: int, settings: Settings):
    """The whole loss of a batch: ``size`` left texts, as many right ones, then single texts."""
    import torch

    left, right = slice(0, size), slice(size, 2 * size)
    # A quarter of the paired texts is enough for the divergence, whose cost is quadratic.
    some = torch.cat([torch.arange(0, 2 * size, 4), torch.arange(2 * size, len(units))])
    loss = settings.contrastive * _contrast(units[left], units[right], teacher[left], teacher[right], settings)
    loss = loss + settings.distribution * _divergence(units[some], teacher[some], settings.teacher_temperature)
    return loss + settings.direct * (1.0 - (units[:, : teacher.shape[1]] * teacher).sum(1)).mean()


def _batches(pairs: np.ndarray, singles: np.ndarray, groups: np.ndarray | None, settings: Settings):
    """Positions of each step's texts: left sides, right sides, single texts."""
    rng = np.random.default_rng(settings.seed)
    extra = int(settings.batch * settings.single_share)
    order, place = _epoch(rng, len(pairs), groups, settings.block), 0
    for _ in range(settings.steps):
        if place + settings.batch > len(order):
            order, place = _epoch(rng, len(pairs), groups, settings.block), 0
        chosen = pairs[order[place : place + settings.batch]]
        place += settings.batch
        yield np.concatenate([chosen[:, 0], chosen[:, 1], singles[rng.integers(0, len(singles), extra)]])


def train_table(
    table: np.ndarray,
    rows: Bags,
    targets: np.ndarray,
    pairs: np.ndarray,
    singles: np.ndarray,
    settings: Settings,
    *,
    groups: np.ndarray | None = None,
    watch=None,
    every: int = 500,
) -> np.ndarray:
    """Train the table on pairs (symmetric InfoNCE) and on the teacher's in-batch similarities and vectors.

    ``targets`` holds unit teacher vectors of every text, ``groups`` the source of every pair;
    ``watch(step, table)`` is called every ``every`` steps.
    """
    import torch
    from torch.nn import functional

    torch.set_num_threads(settings.threads)
    weight = torch.nn.Parameter(torch.from_numpy(table.astype(np.float32).copy()))
    optimizer = torch.optim.Adam([weight], lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * max(0.02, 1.0 - step / settings.steps)
    )
    begun = time.time()
    for step, texts in enumerate(_batches(pairs, singles, groups, settings), 1):
        ids, begins, weights = (torch.from_numpy(array) for array in rows.take(texts))
        sums = functional.embedding_bag(ids, weight, begins.to(ids.dtype), mode="sum", per_sample_weights=weights)
        teacher = torch.from_numpy(targets[texts].astype(np.float32))
        loss = _loss(functional.normalize(sums), teacher, settings.batch, settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if watch is not None and (step % every == 0 or step == settings.steps):
            print(f"step {step} loss {loss.item():.4f} {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
            watch(step, weight.detach().numpy())
    return weight.detach().numpy().copy()
