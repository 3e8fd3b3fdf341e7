"""The thin torch loop: batches of tensors, a loss that takes them, AdamW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.training.batches import ArrayTable, BatchPlan, LazyColumns, collate_rows, named_tables
from orthant.learn.training.callbacks import Callback
from orthant.learn.training.checkpoints import Checkpoint
from orthant.learn.training.curriculum import Curriculum, run_stages
from orthant.learn.training.history import History
from orthant.learn.training.run import LossPerTable, TrainingRun
from orthant.learn.training.stage import Stage
from orthant.learn.training.validation import Validation

__all__ = ["TorchLoop", "loss_and_parts", "train_arrays"]


class TorchLoop:
    """Trains any torch module in one stage on arrays, with the checkpoints and callbacks of every training.

    For several stages use ``Curriculum``, which runs this loop for models that are not sentence-transformers'.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place.
    stage : Stage
        Data, loss and settings.
    seed : int, default 0
        Of everything random.
    checkpoint_every : int, default 100
        Steps between checkpoints, at least 1.
    keep_checkpoints : int, default 2
        How many stay on disk, at least 1.
    threads : int, optional
        Threads that torch uses while training.

    Raises
    ------
    InputError
        A value out of range.

    Examples
    --------
    >>> class Distance(torch.nn.Module):
    ...     def __init__(self, model):
    ...         super().__init__()
    ...         self.model = model
    ...     def forward(self, batch):
    ...         return (self.model(batch["x"]) - batch["x"]).pow(2).mean()
    >>> model = torch.nn.Linear(2, 2)
    >>> stage = Stage("copy", {"x": torch.eye(2)}, Distance, steps=5, batch_size=2, learning_rate=0.1)
    >>> history = TorchLoop(model, stage).run()
    >>> history.rows[-1]["loss"] < history.rows[0]["loss"]
    True
    """

    def __init__(
        self,
        model: torch.nn.Module,
        stage: Stage,
        *,
        seed: int = 0,
        checkpoint_every: int = 100,
        keep_checkpoints: int = 2,
        threads: int | None = None,
    ) -> None:
        self.model = model
        self._curriculum = Curriculum(
            [stage],
            seed=seed,
            checkpoint_every=checkpoint_every,
            keep_checkpoints=keep_checkpoints,
            threads=threads,
        )

    def run(
        self,
        folder: str | Path | None = None,
        *,
        resume: bool = True,
        validate: Validation | None = None,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> History:
        """Train the model in place.

        Parameters
        ----------
        folder : str or Path, optional
            Of the checkpoints; None keeps nothing on disk.
        resume : bool, default True
            Go on from the newest readable checkpoint in `folder`.
        validate : Validation, optional
            Judges the model on the way.
        progress : bool, default False
            Show a bar on stderr.
        callbacks : sequence of Callback, default ()
            Called around every step.

        Returns
        -------
        History
            One row per step.
        """
        return run_stages(self._curriculum, self.model, train_arrays, folder, resume, validate, progress, callbacks)


def train_arrays(run: TrainingRun, index: int, stage: Stage, checkpoint: Checkpoint | None) -> None:
    """Train one stage on tables of arrays.

    Parameters
    ----------
    run : TrainingRun
        The state.
    index : int
        Number of the stage.
    stage : Stage
        The stage.
    checkpoint : Checkpoint or None
        To go on from.

    Raises
    ------
    InputError
        Settings for texts, or data and losses that do not fit.
    """
    if stage.prompts is not None or stage.routes is not None:
        raise InputError(
            message(
                f"prompts or routes in stage {stage.name!r}",
                "them only with models of sentence-transformers",
                "remove them",
            )
        )
    tables = named_tables(stage.data)
    plan = run.begin_stage(
        index,
        stage,
        sizes=[len(table) for table in tables.values()],
        columns=[_columns(table) for table in tables.values()],
        names=list(tables),
        checkpoint=checkpoint,
    )
    source = plan.batches(skip=run.step * stage.accumulate)
    run.model.train()
    run.loss.train()
    while not run.over:
        batches = [next(source) for _ in range(stage.accumulate)]
        run.begin_step()
        total, parts = _backward(run, plan, list(tables.values()), batches)
        if run.before_update(total, parts):
            run.optimizer.step()
            run.scheduler.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.after_update()


def loss_and_parts(returned: Any) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the scalar and the named terms of what a loss returned.

    Parameters
    ----------
    returned : torch.Tensor of shape (), or object with ``loss`` and ``parts``
        The terms are numbers or scalars.

    Returns
    -------
    loss : torch.Tensor of shape ()
        To be minimised.
    parts : dict of str to float
        Empty for a bare tensor.

    Raises
    ------
    InputError
        Neither, or a loss that is not a scalar with a gradient.

    Examples
    --------
    >>> loss_and_parts(torch.tensor(1.0, requires_grad=True))[1]
    {}
    """
    loss = getattr(returned, "loss", returned)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise InputError(message(f"a loss of shape or type {shape}", "a scalar tensor", "take the mean over the rows"))
    if not loss.requires_grad:
        raise InputError(
            message("a loss without a gradient", "one that depends on what is trained", "check freeze and detach()")
        )
    parts = getattr(returned, "parts", None) or {}
    return loss.reshape(()), {
        name: float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
        for name, value in parts.items()
    }


def _backward(
    run: TrainingRun, plan: BatchPlan, tables: Sequence[Any], batches: Sequence[Sequence[tuple[int, int]]]
) -> tuple[torch.Tensor, dict[str, float]]:
    total = torch.zeros(())
    parts: dict[str, float] = {}
    for rows in batches:
        try:
            loss, named = _batch_loss(run, tables, plan.part(rows, run.processes.rank))
        except NonFiniteError:
            loss, named = run.refused_loss(), {}
        (loss / len(batches)).backward()
        total += loss.detach().float().cpu() / len(batches)
        for name, value in named.items():
            parts[name] = parts.get(name, 0.0) + value / len(batches)
    return total, parts


def _batch_loss(
    run: TrainingRun, tables: Sequence[Any], rows: Sequence[tuple[int, int]]
) -> tuple[torch.Tensor, dict[str, float]]:
    if not isinstance(run.loss, LossPerTable):
        return loss_and_parts(run.loss(_moved(collate_rows(tables, rows), run.device)))
    # A batch of several data sets with a loss each: their mean, weighted by rows.
    losses = list(run.loss.losses)
    total: torch.Tensor | None = None
    parts: dict[str, float] = {}
    for table in sorted({table for table, _ in rows}):
        chosen = [entry for entry in rows if entry[0] == table]
        loss, named = loss_and_parts(losses[table](_moved(collate_rows(tables, chosen), run.device)))
        weighted = loss * (len(chosen) / len(rows))
        total = weighted if total is None else total + weighted
        parts |= named
    if total is None:
        raise InputError(message("an empty batch", "rows", "correct the sampler"))
    return total, parts


def _moved(batch: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def _columns(table: Any) -> LazyColumns | None:
    if not isinstance(table, ArrayTable):
        return None
    return LazyColumns(list(table.columns), lambda name: table.columns[name].detach().cpu().numpy())
