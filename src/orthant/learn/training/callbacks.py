"""What may happen around a step: the interface, and the parts of it that every run has."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from orthant.errors import InputError, message, warn
from orthant.learn.training.checkpoints import list_checkpoints, mean_weights
from orthant.learn.training.ema import EMATeacher

if TYPE_CHECKING:
    from pathlib import Path

    from orthant.learn.training.run import TrainingRun

__all__ = [
    "Callback",
    "CheckpointAverage",
    "NonFiniteGuard",
    "ProgressBar",
    "PruningMasks",
    "TeacherUpdates",
    "WeightAverage",
]


class Callback:
    """Methods that a run calls; each does nothing until overridden. The same under both loops.

    Every process of a distributed training calls them, except ``on_checkpoint``; all must stop at the same step.
    Within a step the order is: gradients averaged and checked, ``on_gradients``, update, masks and averages, the row of
    the history, validation, ``on_step``, checkpoint.

    Examples
    --------
    >>> class StopAt(Callback):
    ...     def on_step(self, run):
    ...         if run.step == 3:
    ...             run.stop("three steps are enough")
    """

    def on_start(self, run: TrainingRun) -> None:
        """Act when a stage begins: model, loss and optimizer are there, and restored if the run is resumed.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """

    def on_gradients(self, run: TrainingRun) -> None:
        """Act when the gradients of a step are complete, before the weights change.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """

    def on_step(self, run: TrainingRun) -> None:
        """Act when a step is done and stands in the history.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """

    def on_checkpoint(self, run: TrainingRun, folder: Path) -> None:
        """Act when a checkpoint has been written.

        Parameters
        ----------
        run : TrainingRun
            The state.
        folder : Path
            The checkpoint.
        """

    def on_stage_end(self, run: TrainingRun) -> None:
        """Act when a stage is over and the model is as the stage leaves it.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """

    def on_end(self, run: TrainingRun) -> None:
        """Act when the whole run is over.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what must survive a kill, as tensors; kept in checkpoints.

        Returns
        -------
        dict of str to torch.Tensor
            Any shapes; empty by default.
        """
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what ``tensors`` returned; called before ``on_start`` of a resumed stage.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            Of the shapes they had.
        """


class NonFiniteGuard(Callback):
    """Stops the run at a NaN or an infinity, names the step and the parameter, and keeps the last good state.

    The update that would have spread it is not made. Should the weights be damaged already, they are put back to what
    they were at the last checkpoint.

    Attributes
    ----------
    kept_step : int
        The step whose weights were kept.
    """

    def __init__(self) -> None:
        self.kept_step = 0
        self._good: dict[str, torch.Tensor] = {}
        self._good_step = 0

    def on_start(self, run: TrainingRun) -> None:
        """Remember the weights.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._note(run)

    def on_gradients(self, run: TrainingRun) -> None:
        """Veto the update if the loss or a gradient is not finite.

        Parameters
        ----------
        run : TrainingRun
            The state; its gradients are not scaled yet.
        """
        if math.isfinite(run.loss_value) and math.isfinite(run.gradient_norm):
            return
        what = []
        if not math.isfinite(run.loss_value):
            what.append(f"the loss is {run.loss_value}")
        # Sorted by the order of the model: the first is nearest to the input, and often the cause.
        bad = [n for n, p in run.trained.items() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            what.append(f"the gradient of {bad[0]!r}{more} is not finite")
        elif not math.isfinite(run.gradient_norm):
            what.append("the norm of the gradients overflows")
        run.veto()
        self.kept_step = self._restore(run)
        where = f"step {run.step + 1} of stage {run.stage.name!r}"
        reason = f"{where}: {' and '.join(what)}; the weights are those of step {self.kept_step}"
        warn(f"The run stops at {reason}.", RuntimeWarning)
        run.stop(reason)

    def on_step(self, run: TrainingRun) -> None:
        """Remember the weights as often as checkpoints are written.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if run.checkpoint_due and _all_finite(run.own_state()):
            self._note(run)

    def _note(self, run: TrainingRun) -> None:
        self._good = {name: tensor.detach().clone() for name, tensor in run.own_state().items()}
        self._good_step = run.step

    @torch.no_grad()
    def _restore(self, run: TrainingRun) -> int:
        state = run.own_state()
        if _all_finite(state):
            return run.step
        for name, tensor in state.items():
            tensor.copy_(self._good[name])
        return self._good_step


class PruningMasks(Callback):
    """Keeps the entries that a mask names at zero: weights, gradients, and so the moments of the optimizer.

    Parameters
    ----------
    masks : mapping of str to torch.Tensor
        By name of parameter, of its shape; 0 or False where the weight stays zero.
    """

    def __init__(self, masks: Mapping[str, torch.Tensor]) -> None:
        self.masks = masks
        self._pairs: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._hooks: list[Any] = []

    def on_start(self, run: TrainingRun) -> None:
        """Check the masks, apply them, and mask every gradient as it arrives.

        Parameters
        ----------
        run : TrainingRun
            The state.

        Raises
        ------
        InputError
            A name that is no parameter, or another shape.
        """
        named = dict(run.model.named_parameters())
        for name, mask in self.masks.items():
            if name not in named:
                raise InputError(
                    message(f"a mask for {name!r}", "the name of a parameter", "look at model.named_parameters()")
                )
            parameter = named[name]
            if mask.shape != parameter.shape:
                raise InputError(
                    message(
                        f"a mask of shape {tuple(mask.shape)} for {name!r}",
                        f"{tuple(parameter.shape)}",
                        "make one entry per weight",
                    )
                )
            factor = (mask != 0).to(device=parameter.device, dtype=parameter.dtype)
            self._pairs.append((parameter, factor))
            if parameter.requires_grad:
                # Masked before they are added up, clipped and averaged: a pruned weight must not count in the norm.
                self._hooks.append(parameter.register_hook(lambda gradient, factor=factor: gradient * factor))
        self._apply()

    def on_step(self, run: TrainingRun) -> None:
        """Apply the masks again.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._apply()

    def on_stage_end(self, run: TrainingRun) -> None:
        """Apply the masks to what the stage leaves, and let go of the gradients.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._apply()
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def _apply(self) -> None:
        for parameter, factor in self._pairs:
            parameter.mul_(factor)


class TeacherUpdates(Callback):
    """Moves every ``EMATeacher`` in the loss towards its student after each step."""

    def on_step(self, run: TrainingRun) -> None:
        """Update the teachers.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        for module in run.loss.modules():
            if isinstance(module, EMATeacher):
                module.update()


class WeightAverage(Callback):
    """Follows the weights by an exponential moving average and ends the stage with it.

    Parameters
    ----------
    momentum : float
        Share of the average that is kept at a step, from 0 to below 1.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._average: EMATeacher | None = None
        self._saved: Mapping[str, torch.Tensor] = {}

    def on_start(self, run: TrainingRun) -> None:
        """Copy the weights, or take those of the checkpoint.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._average = EMATeacher(run.model, momentum=self.momentum)
        if self._saved:
            self._average.load_state_dict(dict(self._saved))

    def on_step(self, run: TrainingRun) -> None:
        """Follow the weights.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if self._average is not None:
            self._average.update()

    def on_stage_end(self, run: TrainingRun) -> None:
        """Give the model the average, unless the run was stopped.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if self._average is not None and not run.stopped:
            run.model.load_state_dict(self._average.teacher.state_dict())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average.

        Returns
        -------
        dict of str to torch.Tensor
            Weights of any shapes.
        """
        return dict(self._average.state_dict()) if self._average is not None else {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep the average of the checkpoint until the stage starts.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            Of the shapes they had.
        """
        self._saved = tensors


class CheckpointAverage(Callback):
    """Ends a stage with the mean of the weights of its last checkpoints.

    Parameters
    ----------
    count : int
        How many, at least 2. With a folder they are read from there; without one, copies are kept in memory.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._copies: deque[dict[str, torch.Tensor]] = deque(maxlen=count)

    def on_start(self, run: TrainingRun) -> None:
        """Check that the stage has so many checkpoints.

        Parameters
        ----------
        run : TrainingRun
            The state.

        Raises
        ------
        InputError
            Too few steps for them.
        """
        available = math.ceil(run.steps / run.checkpoint_every)
        if available < self.count:
            raise InputError(
                message(
                    f"average_last={self.count} in a stage with {available} checkpoint(s)",
                    f"{self.count} checkpoints within {run.steps} steps",
                    f"set checkpoint_every={max(1, run.steps // self.count)} or lower",
                )
            )

    def on_step(self, run: TrainingRun) -> None:
        """Copy the weights where a checkpoint would be written and there is no folder.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if run.checkpoint_due and run.folder is None:
            self._copies.append(copy.deepcopy(run.model.state_dict()))

    def on_stage_end(self, run: TrainingRun) -> None:
        """Give the model the mean, unless the run was stopped.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if run.stopped:
            return
        if run.folder is not None:
            # Every process reads what the first one wrote.
            run.processes.wait()
            paths = list_checkpoints(run.folder, stage=run.stage_index)[-self.count :]
            if paths:
                run.model.load_state_dict(mean_weights(paths))
        elif self._copies:
            run.model.load_state_dict(_mean(list(self._copies)))


class ProgressBar(Callback):
    """Shows step and loss of the stage on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def on_start(self, run: TrainingRun) -> None:
        """Open the bar of a stage.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(run.stage.name, total=run.steps, completed=run.step)
        self._bar.start()

    def on_step(self, run: TrainingRun) -> None:
        """Advance it.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._bar.update(self._task, completed=run.step, description=f"{run.stage.name} loss {run.loss_value:.4f}")

    def on_stage_end(self, run: TrainingRun) -> None:
        """Close it.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        self._bar.stop()


def _all_finite(state: Mapping[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in state.values() if tensor.is_floating_point())


def _mean(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    out = {}
    for name, last in states[-1].items():
        if last.is_floating_point():
            total = sum((state[name].double() for state in states[1:]), states[0][name].double())
            out[name] = (total / len(states)).to(last.dtype)
        else:
            out[name] = last
    return out
