"""The state of a training, and what happens in every step whoever computes the loss."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.learn.training import callbacks as parts
from orthant.learn.training.batches import BatchPlan
from orthant.learn.training.callbacks import Callback
from orthant.learn.training.checkpoints import (
    Checkpoint,
    capture_random,
    random_states,
    random_tensors,
    restore_random_states,
    seed_everything,
    tidy_checkpoints,
    write_checkpoint,
)
from orthant.learn.training.distributed import Processes
from orthant.learn.training.history import History
from orthant.learn.training.lora import add_adapters, merge_adapters
from orthant.learn.training.optimization import (
    build_optimizer,
    build_schedule,
    frozen_names,
    gradient_norm,
    optimizer_tensors,
    restore_optimizer,
    scale_gradients,
)
from orthant.learn.training.stage import Stage
from orthant.learn.training.validation import Validation, ValidationSteps

__all__ = ["LossPerTable", "TrainingRun"]


class LossPerTable(torch.nn.Module):
    """The losses of a stage whose data sets have one each.

    Parameters
    ----------
    losses : mapping of str to torch.nn.Module
        By name of the data set.
    """

    def __init__(self, losses: Mapping[str, torch.nn.Module]) -> None:
        super().__init__()
        # A ModuleDict refuses names with dots; data sets have them.
        self.names = list(losses)
        self.losses = torch.nn.ModuleList(losses.values())

    def by_name(self) -> dict[str, torch.nn.Module]:
        """Return the losses by name of the data set.

        Returns
        -------
        dict of str to torch.nn.Module
            In the order given.
        """
        return dict(zip(self.names, self.losses, strict=True))


class TrainingRun:
    """What callbacks see of a training, and the way to end it.

    Attributes
    ----------
    model : torch.nn.Module
        What is trained, in place.
    loss : torch.nn.Module
        The loss of the stage.
    optimizer, scheduler
        AdamW and its schedule.
    stage : Stage
        The stage at hand; ``stage_index`` is its number.
    step, steps : int
        Updates done in the stage, and in all.
    loss_value, gradient_norm, learning_rate : float
        Of the latest step; the norm is that before scaling.
    losses : list of float
        Of the stage so far.
    history : History
        The rows.
    trained : dict of str to torch.nn.Parameter
        What the optimizer moves, by name: ``model.…`` and ``loss.…``.
    folder : Path or None
        Where checkpoints go.
    seed : int
        Of the whole run; ``stage_seed`` is derived from it and the number of the stage.
    processes : Processes
        This process among those that train together.
    stop_reason : str
        Empty until the run is stopped.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    seed : int
        Of everything random.
    folder : Path, optional
        Where checkpoints go.
    history : History
        To be continued.
    processes : Processes
        Who trains.
    callbacks : sequence of Callback
        The user's.
    validation : Validation, optional
        Applied in every stage.
    checkpoint_every : int
        Steps between checkpoints.
    keep_checkpoints : int
        How many stay on disk.
    plan : mapping
        Kept in checkpoints to recognise another plan.
    """

    loss: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    stage: Stage

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        seed: int,
        folder: Path | None,
        history: History,
        processes: Processes,
        callbacks: Sequence[Callback],
        validation: Validation | None,
        checkpoint_every: int,
        keep_checkpoints: int,
        plan: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.seed = seed
        self.folder = folder
        self.history = history
        self.processes = processes
        self.validation = validation
        self.checkpoint_every = checkpoint_every
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.stage_index = 0
        self.step = self.steps = 0
        self.loss_value = self.gradient_norm = self.learning_rate = 0.0
        self.losses: list[float] = []
        self.trained: dict[str, torch.nn.Parameter] = {}
        self.stop_reason = ""
        self._user_callbacks = list(callbacks)
        self._keep = keep_checkpoints
        self._plan = dict(plan)
        self._callbacks: list[Callback] = []
        self._vetoed = self._finished = False
        self._parts: dict[str, float] = {}
        self._pending: Mapping[str, torch.Tensor] = {}
        self._before_step: tuple[Any, ...] = ()
        self._written: tuple[int, int] | None = None

    def stop(self, reason: str) -> None:
        """End the run after this step; a checkpoint is written, later stages do not run.

        Parameters
        ----------
        reason : str
            Stands in ``History.stopped``.
        """
        self.stop_reason = self.stop_reason or reason

    def finish_stage(self) -> None:
        """End the stage after this step, as if it had no more steps; later stages run."""
        self._finished = True

    def veto(self) -> None:
        """Leave the weights as they are in this step, which then does not count."""
        self._vetoed = True
        self.optimizer.zero_grad(set_to_none=True)

    def refused_loss(self) -> torch.Tensor:
        """Return NaN with a gradient: what a batch counts as whose loss refuses embeddings that are not finite.

        Returns
        -------
        torch.Tensor of shape ()
            It stops the run as a loss that became NaN does, with the last good weights kept.
        """
        return next(iter(self.trained.values())).sum() * float("nan")

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped."""
        return bool(self.stop_reason)

    @property
    def over(self) -> bool:
        """Whether the stage has no more steps."""
        return self.stopped or self._finished or self.step >= self.steps

    @property
    def checkpoint_due(self) -> bool:
        """Whether a checkpoint belongs behind the step that was just done."""
        return self.step % self.checkpoint_every == 0 or (self.step == self.steps and self.stage.average_last > 0)

    def own_state(self) -> dict[str, torch.Tensor]:
        """Return the weights that are trained and the buffers that the forward pass changes.

        Returns
        -------
        dict of str to torch.Tensor
            The tensors themselves, of any shapes.
        """
        buffers = {f"buffer.{name}": tensor for name, tensor in self.model.named_buffers()}
        return {**self.trained, **buffers}

    # -- a stage ---------------------------------------------------------------------------------------------------

    def begin_stage(
        self,
        index: int,
        stage: Stage,
        *,
        sizes: Sequence[int],
        columns: Sequence[Any],
        names: Sequence[str],
        checkpoint: Checkpoint | None = None,
    ) -> BatchPlan:
        """Make everything ready for the first step of a stage, or for the step after a checkpoint.

        Parameters
        ----------
        index : int
            Number of the stage.
        stage : Stage
            The stage.
        sizes : sequence of int
            Rows of each table.
        columns : sequence of mapping or None
            Columns of each table.
        names : sequence of str
            Names of the tables.
        checkpoint : Checkpoint, optional
            To go on from.

        Returns
        -------
        BatchPlan
            The order of the rows.

        Raises
        ------
        InputError
            A stage that does not fit the model or the data.
        StoreCorruptedError
            A checkpoint that does not fit the model.
        """
        self.stage, self.stage_index = stage, index
        self.step, self.losses, self._finished = 0, [], False
        self._started, self._elapsed = time.monotonic(), 0.0
        self._gradient_flags = {name: p.requires_grad for name, p in self.model.named_parameters()}
        self._before_step, self._pending = (), {}
        seed_everything(self.stage_seed)
        # The weights come before the loss, which may copy them; the factors of LoRA are weights only within the stage.
        if checkpoint is not None and not checkpoint.step:
            self.load_weights(checkpoint)
        if stage.lora is not None:
            add_adapters(self.model, stage.lora)
        if checkpoint is not None and checkpoint.step:
            self.load_weights(checkpoint)
        self._freeze(stage)
        self.loss = self._make_loss(stage, names)
        self.processes.share([*self.model.state_dict().values(), *self._loss_state().values()])
        self.trained = self._find_trained()
        plan = BatchPlan(stage, sizes=sizes, columns=columns, seed=self.stage_seed, world=self.processes.world)
        self.steps = plan.steps
        self.optimizer = build_optimizer(self.trained, torch.nn.ModuleList([self.model, self.loss]), stage)
        self._callbacks = self._stage_callbacks(stage)
        if checkpoint is not None and checkpoint.step:
            self._restore(checkpoint)
        self.scheduler = build_schedule(self.optimizer, stage, steps=self.steps, done=self.step)
        for callback in self._callbacks:
            callback.on_start(self)
        return plan

    @property
    def stage_seed(self) -> int:
        """The seed of the stage: of its order, its loss and its dropout."""
        return (self.seed + 1_000_003 * self.stage_index) % 2**31

    def end_stage(self) -> None:
        """Leave the model as the stage promises: averaged, merged, unfrozen."""
        if self.stopped:
            self._checkpoint_of_stop()
        for callback in self._callbacks:
            callback.on_stage_end(self)
        if self.stage.lora is not None and self.stage.lora.merge:
            merge_adapters(self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._gradient_flags.get(name, parameter.requires_grad))
            parameter.grad = None

    def end(self) -> None:
        """Tell the callbacks that the run is over."""
        self.history.stopped = self.stop_reason
        for callback in self._callbacks:
            callback.on_end(self)

    def _freeze(self, stage: Stage) -> None:
        names = [name for name, _ in self.model.named_parameters()]
        frozen = frozen_names(names, stage.freeze)
        for name, parameter in self.model.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)

    def _make_loss(self, stage: Stage, names: Sequence[str]) -> torch.nn.Module:
        if not isinstance(stage.loss, Mapping):
            return self._called(stage.loss)
        if set(stage.loss) != set(names):
            raise InputError(
                message(
                    f"losses for {sorted(stage.loss)}", f"one for each data set: {sorted(names)}", "align the names"
                )
            )
        return LossPerTable({name: self._called(stage.loss[name]) for name in names})

    def _called(self, factory: Any) -> torch.nn.Module:
        loss = factory(self.model)
        if not isinstance(loss, torch.nn.Module):
            raise InputError(
                message(
                    f"a loss factory of stage {self.stage.name!r} that returns {type(loss).__name__}",
                    "a torch.nn.Module",
                    "return the loss, not its value",
                )
            )
        return loss.to(self.device)

    def _find_trained(self) -> dict[str, torch.nn.Parameter]:
        model = {f"model.{name}": p for name, p in self.model.named_parameters() if p.requires_grad}
        known = {id(p) for p in self.model.parameters()}
        own = {f"loss.{name}": p for name, p in self.loss.named_parameters() if p.requires_grad and id(p) not in known}
        return {**model, **own}

    def _loss_state(self) -> dict[str, torch.Tensor]:
        """What the loss holds beyond the model, which most losses hold too."""
        known = {id(tensor) for tensor in self.model.state_dict(keep_vars=True).values()}
        return {n: t.detach() for n, t in self.loss.state_dict(keep_vars=True).items() if id(t) not in known}

    def _stage_callbacks(self, stage: Stage) -> list[Callback]:
        chosen: list[Callback] = [parts.NonFiniteGuard()]
        if stage.masks:
            chosen.append(parts.PruningMasks(stage.masks))
        chosen.append(parts.TeacherUpdates())
        if stage.ema is not None:
            chosen.append(parts.WeightAverage(stage.ema))
        if stage.average_last:
            chosen.append(parts.CheckpointAverage(stage.average_last))
        if self.validation is not None:
            early = self.validation.keep_best or (self.validation.patience is not None and stage.average_last)
            if early and (stage.average_last or stage.ema is not None):
                raise InputError(
                    message(
                        "keep_best or patience with an average of weights", "one way to end a stage", "drop one of them"
                    )
                )
            chosen.append(ValidationSteps(self.validation))
        return [*chosen, *self._user_callbacks]

    # -- a step ----------------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Put the random numbers where this step finds them; called when its batches have been drawn."""
        if not self._before_step:
            if self._pending:
                restore_random_states(self._pending, self.device)
            else:
                # Each process its own dropout; the order of the rows does not come from these generators.
                seed_everything(self.stage_seed + self.processes.rank)
        self._before_step = capture_random(self.device)
        self._vetoed = False

    def before_update(
        self, loss: torch.Tensor, parts_of_loss: Mapping[str, float], *, averaged: Sequence[str] = ()
    ) -> bool:
        """Average, check and scale the gradients of a step.

        Parameters
        ----------
        loss : torch.Tensor of shape ()
            The mean over the batches of this step in this process.
        parts_of_loss : mapping of str to float
            Named terms of it.
        averaged : sequence of str, default ()
            Prefixes of parameters whose gradients are the mean over the processes already.

        Returns
        -------
        bool
            Whether the update is to be made.
        """
        waiting = [p for name, p in self.trained.items() if not name.startswith(tuple(averaged))] if averaged else None
        self.processes.average_gradients(list(self.trained.values()) if waiting is None else waiting)
        self.loss_value = self.processes.mean(float(loss), device=self.device)
        self._parts = {name: self.processes.mean(value, device=self.device) for name, value in parts_of_loss.items()}
        self.gradient_norm = float(gradient_norm(self.trained.values()))
        self.learning_rate = self.optimizer.param_groups[0]["lr"]
        guard, *others = self._callbacks
        guard.on_gradients(self)
        if not self._vetoed:
            scale_gradients(self.trained.values(), self.gradient_norm, maximum=self.stage.max_grad_norm)
            for callback in others:
                callback.on_gradients(self)
        return not self._vetoed

    def after_update(self) -> None:
        """Count the step, write its row, let the callbacks act, and write a checkpoint where one is due."""
        if self._vetoed:
            return
        self.step += 1
        self.losses.append(self.loss_value)
        seconds = self._elapsed + time.monotonic() - self._started
        row = {"stage": self.stage.name, "step": self.step, "loss": self.loss_value}
        row |= {"learning_rate": self.learning_rate, "seconds": seconds}
        self.history.add({**row, **{name: value for name, value in self._parts.items() if name not in row}})
        for callback in self._callbacks:
            callback.on_step(self)
        if self.checkpoint_due:
            self._write(random_states(self.device))

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Give the model the weights of a checkpoint.

        Parameters
        ----------
        checkpoint : Checkpoint
            Of a model with the same names and shapes.

        Raises
        ------
        StoreCorruptedError
            They differ.
        """
        _load(self.model, checkpoint.part("model"))

    def write_boundary(self, following: int) -> None:
        """Write the checkpoint between two stages: weights and history, nothing of the optimizer.

        Parameters
        ----------
        following : int
            Number of the stage that comes next.
        """
        self._save(Checkpoint(following, 0), {})

    def _checkpoint_of_stop(self) -> None:
        # After a veto the generators have moved on without a step; those of its beginning belong to the weights. And
        # weights that were put back further are in an older checkpoint already.
        behind = self._vetoed and self.step and self.step != self._good_step()
        if self.step and not behind:
            self._write(random_tensors(self._before_step) if self._vetoed else random_states(self.device))

    def _good_step(self) -> int:
        guard = self._callbacks[0]
        return guard.kept_step if isinstance(guard, parts.NonFiniteGuard) else self.step

    def _write(self, states: Mapping[str, torch.Tensor]) -> None:
        if self.folder is None or self._written == (self.stage_index, self.step):
            return
        checkpoint = Checkpoint(self.stage_index, self.step)
        tensors = {f"loss.{name}": tensor for name, tensor in self._loss_state().items()}
        tensors |= {f"optimizer.{n}": t for n, t in optimizer_tensors(self.optimizer, self.trained).items()}
        for i, callback in enumerate(self._callbacks):
            tensors |= {f"callbacks.{i}.{name}": tensor for name, tensor in callback.tensors().items()}
        for name, state in states.items():
            for rank, tensor in enumerate(self.processes.gather(state)):
                tensors[f"random.{rank}.{name}"] = tensor
        self._save(checkpoint, tensors)

    def _save(self, checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> None:
        if self.folder is None:
            return
        self._written = (checkpoint.stage, checkpoint.step)
        if self.processes.first:
            arrays, names = self.history.to_arrays()
            checkpoint.tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
            checkpoint.tensors |= tensors
            checkpoint.tensors |= {f"history.{name}": torch.from_numpy(array) for name, array in arrays.items()}
            seconds = self._elapsed + time.monotonic() - self._started
            checkpoint.state = {"plan": self._plan, "history": names, "context": self.history.context}
            checkpoint.state |= {"seconds": seconds if checkpoint.step else 0.0}
            path = write_checkpoint(self.folder, checkpoint)
            tidy_checkpoints(self.folder, keep=max(self._keep, self.stage.average_last))
        self.processes.wait()
        if checkpoint.step and self.processes.first:
            for callback in self._callbacks:
                callback.on_checkpoint(self, path)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        self._elapsed = float(checkpoint.state["seconds"])
        self.losses = list(self.history.column("loss", stage=self.stage.name))[-self.step :]
        own = self._loss_state()
        saved = checkpoint.part("loss")
        if set(own) != set(saved):
            raise StoreCorruptedError(
                message(
                    f"a loss with {sorted(set(own) ^ set(saved))} more or less",
                    "the loss that wrote the checkpoint",
                    "keep the loss, or pass resume=False",
                )
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(saved[name])
        restore_optimizer(self.optimizer, self.trained, checkpoint.part("optimizer"))
        self._pending = checkpoint.part(f"random.{self.processes.rank}")
        self._written = (checkpoint.stage, checkpoint.step)
        for i, callback in enumerate(self._callbacks):
            tensors = checkpoint.part(f"callbacks.{i}")
            if tensors:
                callback.restore(tensors)


def _load(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [n for n in own if own[n].shape != tensors[n].shape]
    if wrong:
        raise StoreCorruptedError(
            message(
                f"a checkpoint that does not fit the model: {', '.join(wrong[:4])}",
                "weights of the same names and shapes",
                "resume with the model that the run began with, or pass resume=False",
            )
        )
    module.load_state_dict(dict(tensors))
