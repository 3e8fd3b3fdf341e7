"""Judging a model while it trains: named metrics, early stopping, and going back to the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from orthant.errors import InputError, message
from orthant.learn.training.callbacks import Callback
from orthant.learn.training.checkpoints import random_states, restore_random_states
from orthant.learn.training.history import COLUMNS
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.learn.training.run import TrainingRun

__all__ = ["Validation", "ValidationSteps"]


class Validation:
    """Calls a function of the model now and then, and may stop or go back by one of its metrics.

    The names are declared, so that a rule about a metric that does not exist fails here and not after an hour.

    Parameters
    ----------
    function : callable
        Called with the model in evaluation mode and without gradients; returns a mapping with the declared metrics. An
        evaluator of sentence-transformers is such a function.
    metrics : sequence of str
        The names that it returns; others that it returns are left out.
    monitor : str, optional
        The metric that `patience` and `keep_best` look at; one of `metrics`.
    larger_is_better : bool, default True
        Direction of the monitored metric.
    every : int, default 100
        Steps between two validations; the last step of a stage is always judged. Small costs time.
    patience : int, optional
        Ends the stage after so many validations without a new best; None never does.
    keep_best : bool, default False
        Ends the stage with the best weights instead of the last.

    Raises
    ------
    InputError
        An unknown name, with the valid ones listed; a rule without `monitor`; a value out of range.

    Examples
    --------
    >>> Validation(lambda model: {"mrr": 0.5}, metrics=["mrr"], monitor="mrr", patience=3).monitor
    'mrr'
    """

    def __init__(
        self,
        function: Callable[[Any], Mapping[str, float]],
        *,
        metrics: Sequence[str],
        monitor: str | None = None,
        larger_is_better: bool = True,
        every: int = 100,
        patience: int | None = None,
        keep_best: bool = False,
    ) -> None:
        if not callable(function):
            raise InputError(message(f"function of type {type(function).__name__}", "a callable", "pass a function"))
        if isinstance(metrics, str) or not list(metrics):
            raise InputError(message(f"metrics={metrics!r}", "a list of names", "name what the function returns"))
        taken = sorted(set(metrics) & set(COLUMNS))
        if taken:
            raise InputError(message(f"metrics named {taken}", f"none of {list(COLUMNS)}", "rename them"))
        if monitor is not None and monitor not in metrics:
            raise InputError(message(f"monitor={monitor!r}", f"one of {list(metrics)}", "check the spelling"))
        if monitor is None and (patience is not None or keep_best):
            raise InputError(
                message("patience or keep_best without monitor", f"one of {list(metrics)}", "say which metric decides")
            )
        self.function = function
        self.metrics = tuple(metrics)
        self.monitor = monitor
        self.larger_is_better = larger_is_better
        self.every = check_count(every, name="every")
        self.patience = None if patience is None else check_count(patience, name="patience")
        self.keep_best = keep_best

    def measure(self, model: torch.nn.Module) -> dict[str, float]:
        """Judge a model, and leave it and the random numbers as they were.

        Parameters
        ----------
        model : torch.nn.Module
            The model.

        Returns
        -------
        dict of str to float
            The declared metrics.

        Raises
        ------
        InputError
            A declared metric is missing or not a number, or the monitored one is not finite.
        """
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        modes = {module: module.training for module in model.modules()}
        states = random_states(device)
        try:
            with torch.no_grad():
                returned = self.function(model.eval())
        finally:
            restore_random_states(states, device)
            for module, training in modes.items():
                module.training = training
        if not isinstance(returned, Mapping):
            raise InputError(
                message(f"a validation that returns {type(returned).__name__}", "a mapping of metrics", "return a dict")
            )
        missing = [name for name in self.metrics if name not in returned]
        if missing:
            raise InputError(
                message(
                    f"a validation without {missing}",
                    f"the declared metrics; it returned {sorted(map(str, returned))}",
                    "correct metrics or the function",
                )
            )
        values = {name: float(returned[name]) for name in self.metrics}
        if self.monitor is not None and not math.isfinite(values[self.monitor]):
            raise InputError(
                message(f"{self.monitor}={values[self.monitor]}", "a finite number", "correct the validation")
            )
        return values


class ValidationSteps(Callback):
    """Runs a validation in a stage and applies its rules.

    Parameters
    ----------
    validation : Validation
        Function and rules.
    """

    def __init__(self, validation: Validation) -> None:
        self.validation = validation
        self._best = -math.inf
        self._since = 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_step(self, run: TrainingRun) -> None:
        """Validate where it is due, write the metrics into the step's row, and stop if nothing improves.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        rules = self.validation
        if run.step % rules.every and run.step != run.steps:
            return
        # One process judges: the others wait, and hear the numbers.
        names = rules.metrics
        values = torch.zeros(len(names), dtype=torch.float64)
        if run.processes.first:
            measured = rules.measure(run.model)
            values = torch.tensor([measured[name] for name in names], dtype=torch.float64)
        values = values.to(run.device)
        run.processes.share([values])
        metrics = dict(zip(names, values.tolist(), strict=True))
        run.history.rows[-1].update(metrics)
        if rules.monitor is None:
            return
        score = metrics[rules.monitor] if rules.larger_is_better else -metrics[rules.monitor]
        if score > self._best:
            self._best, self._since = score, 0
            if rules.keep_best:
                self._weights = {n: t.detach().clone() for n, t in run.model.state_dict().items()}
        else:
            self._since += 1
            if rules.patience is not None and self._since >= rules.patience:
                run.finish_stage()

    def on_stage_end(self, run: TrainingRun) -> None:
        """Give the model the best weights, unless the run was stopped.

        Parameters
        ----------
        run : TrainingRun
            The state.
        """
        if self._weights and not run.stopped:
            run.model.load_state_dict(self._weights)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the best score, the validations since, and the best weights if they are kept.

        Returns
        -------
        dict of str to torch.Tensor
            ``score`` of shape (2,) and the weights of any shapes.
        """
        score = torch.tensor([self._best, float(self._since)], dtype=torch.float64)
        return {"score": score, **{f"best.{name}": tensor for name, tensor in self._weights.items()}}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take them back.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            What ``tensors`` returned.
        """
        self._best, since = tensors["score"].tolist()
        self._since = int(since)
        self._weights = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best.")}
