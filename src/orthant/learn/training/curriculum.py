"""Stages one after the other, with checkpoints between and within them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from orthant.errors import InputError, message
from orthant.learn.training.callbacks import Callback, ProgressBar
from orthant.learn.training.checkpoints import (
    Checkpoint,
    check_same_plan,
    latest_checkpoint,
    list_checkpoints,
    random_states,
    restore_random_states,
)
from orthant.learn.training.distributed import Processes, joined_processes
from orthant.learn.training.history import History
from orthant.learn.training.lora import add_adapters
from orthant.learn.training.run import TrainingRun
from orthant.learn.training.stage import Stage
from orthant.learn.training.validation import Validation
from orthant.validate import check_count

__all__ = ["Curriculum", "Engine", "run_stages"]

# Trains one stage: gets the run, its number, the stage and the checkpoint to go on from.
Engine = Callable[[TrainingRun, int, Stage, "Checkpoint | None"], None]


class Curriculum:
    """Trains a model in stages, each with its own data, loss and settings.

    Models of sentence-transformers are trained by its trainer, all others by a thin torch loop; order, schedule,
    callbacks, history and checkpoints are the same. Started with ``torchrun``, the processes train as one.

    Parameters
    ----------
    stages : sequence of Stage
        At least one, with different names.
    seed : int, default 0
        Of everything random: the same seed, data, machine and number of threads give the same weights.
    checkpoint_every : int, default 100
        Steps between checkpoints within a stage, at least 1. Small costs time, large loses work at a kill.
    keep_checkpoints : int, default 2
        How many stay on disk, at least 1; with 1 there is no earlier one to fall back to.
    threads : int, optional
        Threads that torch uses while training; None leaves its setting.

    Raises
    ------
    InputError
        No stages, equal names, or a value out of range.

    Examples
    --------
    >>> import numpy as np, torch
    >>> class Error(torch.nn.Module):
    ...     def __init__(self, model):
    ...         super().__init__()
    ...         self.model = model
    ...     def forward(self, batch):
    ...         return ((self.model(batch["x"]) - batch["y"]) ** 2).mean()
    >>> x = np.linspace(-1, 1, 32).reshape(-1, 1)
    >>> model = torch.nn.Linear(1, 1)
    >>> stage = Stage("fit", {"x": x, "y": 3 * x}, Error, steps=200, batch_size=8, learning_rate=0.1)
    >>> history = Curriculum([stage], seed=1).run(model)
    >>> len(history), abs(float(model.weight.detach()) - 3.0) < 0.1
    (200, True)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        seed: int = 0,
        checkpoint_every: int = 100,
        keep_checkpoints: int = 2,
        threads: int | None = None,
    ) -> None:
        self.stages = list(stages)
        if not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise InputError(message(f"stages={stages!r:.80}", "at least one Stage", "pass a list of Stage"))
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError(message(f"stages named {names}", "different names", "rename the repeated ones"))
        self.seed = check_count(seed, name="seed", minimum=0, maximum=2**31 - 1)
        self.checkpoint_every = check_count(checkpoint_every, name="checkpoint_every")
        self.keep_checkpoints = check_count(keep_checkpoints, name="keep_checkpoints")
        self.threads = None if threads is None else check_count(threads, name="threads")

    def run(
        self,
        model: torch.nn.Module,
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
        model : torch.nn.Module
            Where training starts; it is moved, not copied. To resume, pass the same starting model again.
        folder : str or Path, optional
            Of the checkpoints; made if missing. None keeps nothing on disk.
        resume : bool, default True
            Go on from the newest readable checkpoint in `folder`. False refuses a folder that has some.
        validate : Validation, optional
            Judges the model in every stage.
        progress : bool, default False
            Show a bar on stderr.
        callbacks : sequence of Callback, default ()
            Called around every step.

        Returns
        -------
        History
            One row per step; ``stopped`` says why the run ended early, if it did.

        Raises
        ------
        InputError
            Data, loss or model that do not fit, or checkpoints of another plan.
        """
        return run_stages(self, model, None, folder, resume, validate, progress, callbacks)


def run_stages(
    curriculum: Curriculum,
    model: torch.nn.Module,
    engine: Engine | None,
    folder: str | Path | None,
    resume: bool,
    validate: Validation | None,
    progress: bool,
    callbacks: Sequence[Callback],
) -> History:
    """Run the stages of a curriculum with one way of computing losses.

    Parameters
    ----------
    curriculum : Curriculum
        Stages and settings.
    model : torch.nn.Module
        Trained in place.
    engine : callable, optional
        Trains a stage; None chooses by the model.
    folder : str, Path or None
        Of the checkpoints.
    resume, progress : bool
        As for ``Curriculum.run``.
    validate : Validation or None
        As for ``Curriculum.run``.
    callbacks : sequence of Callback
        As for ``Curriculum.run``.

    Returns
    -------
    History
        One row per step.

    Raises
    ------
    InputError
        What does not fit.
    """
    _check_run(model, validate, callbacks)
    engine = engine or _engine_for(model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with _quiet_settings(curriculum.threads, device), joined_processes(device) as processes:
        plan: dict[str, Any] = {"seed": curriculum.seed, "processes": processes.world}
        plan["stages"] = {stage.name: stage.settings() for stage in curriculum.stages}
        start = _starting_point(folder, resume, plan)
        history = History() if start is None else _history_of(start)
        history.context = _context(curriculum, processes, device, plan)
        shown = [ProgressBar()] if progress and processes.first else []
        run = TrainingRun(
            model,
            seed=curriculum.seed,
            folder=None if folder is None else Path(folder),
            history=history,
            processes=processes,
            callbacks=[*callbacks, *shown],
            validation=validate,
            checkpoint_every=curriculum.checkpoint_every,
            keep_checkpoints=curriculum.keep_checkpoints,
            plan=plan,
        )
        _run_all(run, curriculum.stages, engine, start)
        return history


def _run_all(run: TrainingRun, stages: Sequence[Stage], engine: Engine, start: Checkpoint | None) -> None:
    first = start.stage if start is not None else 0
    for stage in stages[:first]:
        if stage.lora is not None and not stage.lora.merge:
            add_adapters(run.model, stage.lora)
    if start is not None and first == len(stages):
        run.load_weights(start)
    for index, stage in enumerate(stages):
        if index < first:
            continue
        engine(run, index, stage, start if index == first else None)
        run.end_stage()
        if run.stopped:
            break
        run.write_boundary(index + 1)
    run.end()


def _starting_point(folder: str | Path | None, resume: bool, plan: dict[str, Any]) -> Checkpoint | None:
    if folder is None:
        return None
    if not resume:
        if list_checkpoints(folder):
            raise InputError(
                message(
                    f"resume=False with checkpoints in {folder}", "an empty folder", "choose another one or remove them"
                )
            )
        return None
    start = latest_checkpoint(folder)
    if start is not None:
        check_same_plan(start, plan)
    return start


def _history_of(start: Checkpoint) -> History:
    columns = {name: tensor.numpy() for name, tensor in start.part("history").items()}
    return History.from_arrays(columns, start.state["history"])


def _check_run(model: Any, validate: Any, callbacks: Sequence[Any]) -> None:
    if not isinstance(model, torch.nn.Module):
        raise InputError(message(f"model of type {type(model).__name__}", "a torch.nn.Module", "pass the model"))
    if validate is not None and not isinstance(validate, Validation):
        raise InputError(
            message(
                f"validate of type {type(validate).__name__}",
                "a Validation",
                "write Validation(function, metrics=[...])",
            )
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InputError(
                message(f"a callback of type {type(callback).__name__}", "a Callback", "derive it from Callback")
            )


def _engine_for(model: torch.nn.Module) -> Engine:
    # By the name of its module: importing sentence-transformers to ask takes seconds.
    if any(base.__module__.split(".")[0] == "sentence_transformers" for base in type(model).__mro__):
        from orthant.learn.training.text import train_texts

        return train_texts
    from orthant.learn.training.loop import train_arrays

    return train_arrays


def _context(
    curriculum: Curriculum, processes: Processes, device: torch.device, plan: dict[str, Any]
) -> dict[str, Any]:
    return {
        **plan,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "checkpoint_every": curriculum.checkpoint_every,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "rank": processes.rank,
    }


@contextmanager
def _quiet_settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """Training seeds the global generators and may set torch's threads; both are the caller's again afterwards."""
    states, before = random_states(device), torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            # A vetoed update leaves the schedule where it is, and a resumed one starts behind its first step.
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
            yield
    finally:
        restore_random_states(states, device)
        torch.set_num_threads(before)
