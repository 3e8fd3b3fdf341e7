"""A compressed transformer that learns to do what the whole one did, state by state."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.learn.losses.protocol import LossOutput
from orthant.learn.samplers.protocol import Columns
from orthant.learn.text.backbone import quiet_loading
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage

__all__ = ["Imitation", "load_transformer", "token_table"]

_POOL = 16
_CHECKPOINT_EVERY = 20


def load_transformer(folder: Path) -> nn.Module:
    """Load a transformer without its pooler and with dropout off.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and ``model.safetensors``.

    Returns
    -------
    torch.nn.Module
        In float32 on the CPU, in evaluation mode.
    """
    from transformers import AutoModel

    settings = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    with quiet_loading():
        found = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, add_pooling_layer=False, **settings
        )
    return found.float().eval()


def token_table(tokenizer: Path, texts: Sequence[str], *, max_tokens: int) -> dict[str, npt.NDArray[np.int64]]:
    """Turn texts into padded token ids, ready for a training.

    Parameters
    ----------
    tokenizer : Path
        ``tokenizer.json``.
    texts : sequence of str
        n texts.
    max_tokens : int
        Tokens kept of each, special ones included.

    Returns
    -------
    dict of str to ndarray of shape (n, t), int64
        ``ids`` and ``mask``.
    """
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_padding()
    reader.enable_truncation(max_tokens)
    rows = [found.ids for found in reader.encode_batch(list(texts))]
    width = max((len(row) for row in rows), default=1)
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return {"ids": ids, "mask": mask}


class _ByLength:
    """Batches of texts of like length, in random order: short ones are not padded to the longest of all."""

    def __init__(self, lengths: npt.NDArray[np.int64]) -> None:
        self.lengths = lengths

    def batches(
        self, n: int, *, batch_size: int, seed: int, epoch: int, columns: Columns | None
    ) -> Iterator[list[int]]:
        rng = np.random.default_rng([seed, epoch])
        order, pool = rng.permutation(n), batch_size * _POOL
        for first in range(0, n, pool):
            part = order[first : first + pool]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            starts = rng.permutation(np.arange(0, len(part), batch_size))
            yield from (part[start : start + batch_size].tolist() for start in starts)


class _Objective(nn.Module):
    """How far the states of every layer, and the mean of the last, are from those of the whole model."""

    def __init__(self, model: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.model = model
        # In a list, so that it is no part of what is trained or saved.
        self.teacher = [teacher]

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        width = max(1, int(batch["mask"].sum(1).max()))
        ids, mask = batch["ids"][:, :width], batch["mask"][:, :width]
        with torch.no_grad():
            wanted = _states(self.teacher[0], ids, mask)
        found = _states(self.model, ids, mask)
        seen = mask.bool()
        layers = [_relative(a[seen], b[seen]) for a, b in zip(found, wanted, strict=True)]
        own, other = _mean(found[-1], mask), _mean(wanted[-1], mask)
        angle = 1 - nn.functional.cosine_similarity(own, other).mean()
        states = torch.stack(layers).mean()
        return LossOutput(angle + states, {"angle": float(angle.detach()), "states": float(states.detach())})


def _states(model: nn.Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    found: Any = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return tuple(found.hidden_states)


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp_min(1)


class Imitation:
    """Runs and trains a transformer on texts, with a copy of what it was as the teacher.

    Parameters
    ----------
    model : torch.nn.Module
        Not yet changed: the teacher is a copy of it.
    table : mapping of str to ndarray of shape (n, t), int64
        From ``token_table``.
    steps : int
        Updates of one training; 0 trains nothing.
    batch_size : int
        Texts of a step.
    learning_rate : float
        Peak rate.
    observed : int
        Texts that ``observe`` runs.
    seed : int
        Of the order.
    threads : int or None
        Threads that torch uses.
    progress : bool
        Show a bar on stderr.
    """

    def __init__(
        self,
        model: nn.Module,
        table: Mapping[str, npt.NDArray[np.int64]],
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        observed: int,
        seed: int,
        threads: int | None,
        progress: bool,
    ) -> None:
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.table = dict(table)
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.observed, self.seed, self.threads, self.progress = observed, seed, threads, progress

    def observe(self, model: nn.Module) -> None:
        """Run the model over some texts, each length by itself so that nothing is padded.

        Parameters
        ----------
        model : torch.nn.Module
            The model.
        """
        rows = np.random.default_rng(self.seed).permutation(len(self.table["ids"]))[: self.observed]
        lengths = self.table["mask"][rows].sum(1)
        for length in np.unique(lengths[lengths > 0]):
            ids = torch.from_numpy(self.table["ids"][rows[lengths == length], :length])
            for part in ids.split(self.batch_size):
                model(input_ids=part, attention_mask=torch.ones_like(part))

    def train(self, model: nn.Module, folder: Path | None = None) -> None:
        """Bring the states of the model to those of the teacher.

        Parameters
        ----------
        model : torch.nn.Module
            Trained in place, whatever of it has gradients.
        folder : Path, optional
            Of checkpoints, which an interrupted training goes on from.
        """
        if not self.steps:
            return
        stage = Stage(
            "imitation",
            self.table,
            lambda given: _Objective(given, self.teacher),
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            sampler=_ByLength(self.table["mask"].sum(1)),
        )
        loop = TorchLoop(model, stage, seed=self.seed, threads=self.threads, checkpoint_every=_CHECKPOINT_EVERY)
        loop.run(folder, progress=self.progress)
        model.eval()
