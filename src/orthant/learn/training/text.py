"""Stages of texts: the trainer of sentence-transformers computes the losses, the run decides everything else."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from orthant.errors import InputError, MissingExtraError, NonFiniteError, message
from orthant.learn.training.batches import BatchPlan, LazyColumns, PlannedBatches
from orthant.learn.training.checkpoints import Checkpoint
from orthant.learn.training.run import LossPerTable, TrainingRun
from orthant.learn.training.stage import Stage

if TYPE_CHECKING:
    from transformers import TrainerCallback

__all__ = ["text_tables", "train_texts"]

_MODELS = ("MultiVectorEncoder", "SparseEncoder", "CrossEncoder", "SentenceTransformer")


def train_texts(run: TrainingRun, index: int, stage: Stage, checkpoint: Checkpoint | None) -> None:
    """Train one stage of a sentence-transformers model with the library's trainer.

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
        Tables that do not fit.
    MissingExtraError
        The trainer's own needs are not installed.

    Notes
    -----
    The trainer gets one pass over exactly the batches that are left, our optimizer and our schedule, and saves nothing:
    order, clipping, checkpoints and resumption are those of every run, and no pickle is written.
    """
    tables = text_tables(stage.data)
    plan = run.begin_stage(
        index,
        stage,
        sizes=[len(table) for table in tables.values()],
        columns=[_columns(table) for table in tables.values()],
        names=list(tables),
        checkpoint=checkpoint,
    )
    if run.over:
        return
    with tempfile.TemporaryDirectory(prefix="orthant-train-") as scratch:
        trainer = _trainer(run, plan, tables, scratch)
        trainer.train()
    if not run.over:
        raise InputError(
            message(
                f"a trainer that ended after {run.step} of {run.steps} steps",
                "all of them",
                "check that no other callback of transformers stops it",
            )
        )


def text_tables(data: Any) -> dict[str, Any]:
    """Return the tables of a stage of texts by name.

    Parameters
    ----------
    data : list of dict, datasets.Dataset, mapping of columns, or mapping of names to these
        One table (named ``""``) or several. Columns in the order that the loss expects; ``label`` or ``score`` apart.

    Returns
    -------
    dict of str to datasets.Dataset
        Copies that share the rows.

    Raises
    ------
    InputError
        Another type, no rows, or rows with different keys.
    MissingExtraError
        datasets is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            message("training on texts without datasets", "the extra 'learn'", "run: pip install 'orthant[learn]'")
        ) from error
    several = isinstance(data, Mapping) and bool(data) and all(_is_table(value) for value in data.values())
    parts = dict(data) if several else {"": data}
    return {str(name): _dataset(value, name or "data", datasets.Dataset) for name, value in parts.items()}


def _is_table(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and isinstance(value[0], Mapping)
    return hasattr(value, "column_names") or isinstance(value, Mapping)


def _dataset(value: Any, name: str, kind: Any) -> Any:
    if isinstance(value, kind):
        # The trainer writes a column into the table that it is given.
        table = copy.copy(value)
    elif isinstance(value, Mapping):
        table = kind.from_dict({key: list(column) for key, column in value.items()})
    elif isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(row, Mapping) for row in value):
        odd = next((i for i, row in enumerate(value) if list(row) != list(value[0])), None)
        if odd is not None:
            raise InputError(
                message(
                    f"{name}[{odd}] with keys {list(value[odd])}", f"{list(value[0])}", "give all rows the same keys"
                )
            )
        table = kind.from_list([dict(row) for row in value])
    else:
        raise InputError(
            message(f"{name} of type {type(value).__name__}", "a list of dicts or a datasets.Dataset", "convert it")
        )
    if not len(table):
        raise InputError(message(f"{name} without rows", "at least one row", "bring data"))
    return table


def _columns(table: Any) -> LazyColumns:
    return LazyColumns(list(table.column_names), lambda name: list(table[name]))


def _trainer(run: TrainingRun, plan: BatchPlan, tables: Mapping[str, Any], scratch: str) -> Any:
    import datasets

    trainer_class, arguments_class = _classes(run.model)
    stage, left = run.stage, run.steps - run.step
    pure = isinstance(run.loss, LossPerTable) or len({tuple(table.column_names) for table in tables.values()}) > 1
    order = PlannedBatches(plan, count=left * stage.accumulate, skip=run.step * stage.accumulate, pure=pure)
    arguments = arguments_class(
        output_dir=scratch,
        max_steps=left,
        per_device_train_batch_size=max(1, stage.batch_size // run.processes.world),
        gradient_accumulation_steps=stage.accumulate,
        # The run clips: it does so after it has looked for the parameter that is not finite.
        max_grad_norm=0.0,
        save_strategy="no",
        logging_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=run.device.type == "cpu",
        seed=run.stage_seed,
        batch_sampler=lambda dataset, **_: order,
        multi_dataset_batch_sampler=lambda dataset, **_: order,
        prompts=stage.prompts,
        router_mapping=dict(stage.routes or {}),
    )
    single = list(tables) == [""]
    trainer = trainer_class(
        model=run.model,
        args=arguments,
        train_dataset=tables[""] if single else datasets.DatasetDict(tables),
        loss=run.loss.by_name() if isinstance(run.loss, LossPerTable) else run.loss,
        optimizers=(run.optimizer, run.scheduler),
    )
    from transformers import PrinterCallback

    trainer.training_run = run
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_translated(run, trainer))
    return trainer


def _classes(model: torch.nn.Module) -> tuple[Any, Any]:
    import sentence_transformers

    names = [base.__name__ for base in type(model).__mro__]
    for name in _MODELS:
        if name in names:
            base = getattr(sentence_transformers, f"{name}Trainer", None)
            arguments = getattr(sentence_transformers, f"{name}TrainingArguments", None)
            if base is not None and arguments is not None:
                return _stage_trainer(base), arguments
    raise InputError(
        message(f"a model of type {type(model).__name__}", f"one of {list(_MODELS)}", "choose one of them")
    )


@cache
def _stage_trainer(base: Any) -> Any:
    class StageTrainer(base):  # type: ignore[misc]
        """The library's trainer, which notes every loss and leaves cards, logs and clipping to the run."""

        # Emptied when a step begins.
        step_losses: list[torch.Tensor]
        step_parts: list[dict[str, float]]
        training_run: TrainingRun

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            try:
                returned = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            except NonFiniteError:
                loss = self.training_run.refused_loss()
                returned = (loss, {}) if return_outputs else loss
            loss = returned[0] if return_outputs else returned
            self.step_losses.append(loss.detach().float().cpu())
            parts = getattr(self.training_run.loss, "last_parts", None)
            if parts:
                self.step_parts.append(dict(parts))
            return returned

        def track_loss_components(self, loss: Mapping[str, torch.Tensor]) -> None:
            self.step_parts.append({key: float(value.detach()) for key, value in loss.items()})

        def add_model_card_callback(self, default_args_dict: Any) -> None:
            # It would tokenise a sample of every table again, for a card that the run does not write.
            return None

        def log(self, logs: Any, start_time: Any = None) -> None:
            return None

        def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> None:
            # The library's form multiplies all gradients by the factor, so that one NaN hides where it came from.
            return None

    return StageTrainer


def _translated(run: TrainingRun, trainer: Any) -> TrainerCallback:
    from transformers import TrainerCallback

    # accelerate wraps the model so that its gradients arrive averaged; those of the loss do not.
    averaged = ("model.",) if run.processes.world > 1 else ()

    class Translated(TrainerCallback):
        """Turns the trainer's events into those of the run."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            trainer.step_losses, trainer.step_parts = [], []
            run.begin_step()

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            named = trainer.step_parts
            parts = {key: sum(entry.get(key, 0.0) for entry in named) / len(named) for entry in named for key in entry}
            run.before_update(torch.stack(trainer.step_losses).mean(), parts, averaged=averaged)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            run.after_update()
            control.should_training_stop = run.over

    return Translated()
