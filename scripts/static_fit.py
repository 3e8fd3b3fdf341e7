"""Fit a token table: ridge regression to teacher vectors, then contrastive training mixed with distillation."""

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
    ridge: float = 0.01
    ridge_steps: int = 40
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


def ridge_table(rows: Bags, targets: np.ndarray, start: np.ndarray, settings: Settings) -> np.ndarray:
    """Solve (A'A + lambda I) T = A'Y + lambda T0 by conjugate gradients, A the mean-pooling matrix of the texts."""
    from scipy.sparse import csr_matrix

    counts = np.diff(rows.offsets)
    totals = np.add.reduceat(np.append(rows.weights, 0), rows.offsets[:-1])
    values = (rows.weights / np.repeat(totals, counts)).astype(np.float32)
    pooling = csr_matrix((values, rows.ids, rows.offsets), shape=(len(counts), len(start)))
    transposed = pooling.T.tocsr()
    table = start.astype(np.float32).copy()
    residual = transposed @ (targets - pooling @ table)
    direction = residual.copy()
    power = (residual * residual).sum(0)
    for _ in range(settings.ridge_steps):
        image = transposed @ (pooling @ direction) + settings.ridge * direction
        length = power / np.maximum((direction * image).sum(0), 1e-20)
        table += length * direction
        residual -= length * image
        following = (residual * residual).sum(0)
        direction = residual + (following / np.maximum(power, 1e-20)) * direction
        power = following
    return table


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
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    weight = torch.nn.Parameter(torch.from_numpy(table.astype(np.float32).copy()))
    optimizer = torch.optim.Adam([weight], lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * max(0.02, 1.0 - step / settings.steps)
    )
    extra = int(settings.batch * settings.single_share)

    def pooled(texts: np.ndarray):
        ids, begins, weights = (torch.from_numpy(array) for array in rows.take(texts))
        return functional.embedding_bag(ids, weight, begins.to(ids.dtype), mode="sum", per_sample_weights=weights)

    order, place, begun = _epoch(rng, len(pairs), groups, settings.block), 0, time.time()
    for step in range(settings.steps):
        if place + settings.batch > len(order):
            order, place = _epoch(rng, len(pairs), groups, settings.block), 0
        chosen = pairs[order[place : place + settings.batch]]
        place += settings.batch
        texts = np.concatenate([chosen[:, 0], chosen[:, 1], singles[rng.integers(0, len(singles), extra)]])
        units = functional.normalize(pooled(texts))
        wanted = torch.from_numpy(targets[texts].astype(np.float32))
        size = len(chosen)
        loss = torch.zeros(())
        if settings.contrastive:
            student = units[:size] @ units[size : 2 * size].T / settings.temperature
            with torch.no_grad():
                known = wanted[:size] @ wanted[size : 2 * size].T
                positive = known.diagonal()
                # A text the teacher finds as close as the positive is not a negative.
                doubtful = (known > (positive[:, None] - settings.false_negative_margin)) | (known > positive[None, :])
                doubtful.fill_diagonal_(False)
            student = student.masked_fill(doubtful, -1e4)
            labels = torch.arange(size)
            loss = loss + settings.contrastive * 0.5 * (
                functional.cross_entropy(student, labels) + functional.cross_entropy(student.T, labels)
            )
        if settings.distribution:
            some = torch.cat([torch.arange(0, 2 * size, 4), torch.arange(2 * size, len(texts))])
            left, right = units[some], wanted[some]
            hide = torch.eye(len(some), dtype=torch.bool)
            mine = (left @ left.T / settings.teacher_temperature).masked_fill(hide, -1e4)
            theirs = (right @ right.T / settings.teacher_temperature).masked_fill(hide, -1e4)
            loss = loss + settings.distribution * functional.kl_div(
                functional.log_softmax(mine, 1),
                functional.log_softmax(theirs, 1),
                reduction="batchmean",
                log_target=True,
            )
        if settings.direct:
            loss = loss + settings.direct * (1.0 - (units[:, : wanted.shape[1]] * wanted).sum(1)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if watch is not None and ((step + 1) % every == 0 or step + 1 == settings.steps):
            print(f"step {step + 1} loss {loss.item():.4f} {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
            watch(step + 1, weight.detach().numpy())
    return weight.detach().numpy().copy()
