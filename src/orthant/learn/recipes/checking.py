"""What a recipe must not say, though every value has its type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from orthant.errors import InputError
from orthant.learn.recipes.schema import DataRecipe, ModelRecipe, Recipe, ReducerRecipe, StageRecipe
from orthant.measures.ranking import check_metric_name

__all__ = ["problems_of"]


def problems_of(recipe: Recipe) -> list[str]:
    """List what is out of range, contradictory or refers to nothing.

    Parameters
    ----------
    recipe : Recipe
        Of the right types.

    Returns
    -------
    list of str
        One sentence each; empty where it can be run.
    """
    return [
        *_whole(recipe),
        *_model(recipe.model),
        *(problem for name, each in recipe.data.items() for problem in _data(f"data.{name}", each)),
        *(problem for i, each in enumerate(recipe.stages) for problem in _stage(f"stages[{i}]", each, recipe)),
    ]


def _whole(recipe: Recipe) -> Iterator[str]:
    if not recipe.name or not all(c.isalnum() or c in "-_." for c in recipe.name) or recipe.name[0] == ".":
        yield f"name is {recipe.name!r}, expected letters, digits, '-', '_' and '.': it names a folder"
    if not recipe.data:
        yield "data names no data set"
    if not recipe.stages:
        yield "stages is empty"
    names = [stage.name for stage in recipe.stages]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        yield f"two stages are called {twice!r}"
    yield from _least(recipe.seed, "seed", 0)
    yield from _least(recipe.threads, "threads", 1)
    judged, output = recipe.evaluation, recipe.output
    try:
        check_metric_name(judged.metric)
    except InputError as error:
        yield f"evaluation.metric: {error}"
    yield from _least(judged.every, "evaluation.every", 1)
    yield from _least(judged.queries, "evaluation.queries", 2)
    yield from _least(judged.documents, "evaluation.documents", 0)
    yield from _least(output.checkpoint_every, "output.checkpoint_every", 1)
    yield from _within(output.most_lost, "output.most_lost", 0.0, 1.0)


def _model(model: ModelRecipe) -> Iterator[str]:
    yield from _least(model.layers, "model.layers", 1)
    yield from _least(model.dim, "model.dim", 1)
    yield from _least(model.max_tokens, "model.max_tokens", 4)
    yield from _least(model.query_tokens, "model.query_tokens", 4)
    for name, given in (("reducer", model.reducer), ("query_reducer", model.query_reducer)):
        if model.kind == "text" and given is not None:
            yield f"model.{name} has no effect on kind: text; remove it, or choose kind: tokens"
    if model.kind == "tokens" and model.pooling != "mean":
        yield "model.pooling has no effect on kind: tokens; remove it"
    for name, given in (("reducer", model.reducer), ("query_reducer", model.query_reducer)):
        if given is not None:
            yield from _reducer(f"model.{name}", given)


def _reducer(where: str, reducer: ReducerRecipe) -> Iterator[str]:
    yield from _least(reducer.k, f"{where}.k", 1)
    if (reducer.k is None) == (reducer.ratio is None):
        yield f"{where} needs exactly one of k and ratio"
    if reducer.ratio is not None:
        if reducer.kind != "cluster":
            yield f"{where}.ratio has no effect on kind: {reducer.kind}; give k"
        if not 0 < reducer.ratio <= 1:
            yield f"{where}.ratio is {reducer.ratio}, expected above 0 and at most 1"


def _data(where: str, data: DataRecipe) -> Iterator[str]:
    yield from _least(data.limit, f"{where}.limit", 2)
    if not (math.isfinite(data.weight) and data.weight > 0):
        yield f"{where}.weight is {data.weight}, expected above 0"
    mining = data.mining
    if mining is None:
        return
    if data.negative is not None:
        yield f"{where} has both negative and mining; choose one"
    yield from _least(mining.negatives, f"{where}.mining.negatives", 1)
    yield from _least(mining.first, f"{where}.mining.first", 1)
    if mining.last < mining.first + mining.negatives - 1:
        yield f"{where}.mining looks at ranks {mining.first} to {mining.last}: too few for {mining.negatives} negatives"
    yield from _within(mining.relative_margin, f"{where}.mining.relative_margin", 0.0, 1.0)


def _stage(where: str, stage: StageRecipe, recipe: Recipe) -> Iterator[str]:
    for name in stage.data or []:
        if name not in recipe.data:
            yield f"{where}.data names {name!r}, expected one of {', '.join(recipe.data)}"
    if stage.data == []:
        yield f"{where}.data is empty; leave it out to use all"
    if (stage.steps is None) == (stage.epochs is None):
        yield f"{where} needs exactly one of steps and epochs"
    yield from _least(stage.steps, f"{where}.steps", 1)
    if stage.epochs is not None and not (math.isfinite(stage.epochs) and stage.epochs > 0):
        yield f"{where}.epochs is {stage.epochs}, expected above 0"
    yield from _least(stage.batch_size, f"{where}.batch_size", 2)
    yield from _least(stage.average_last, f"{where}.average_last", 0)
    if not (math.isfinite(stage.learning_rate) and stage.learning_rate > 0):
        yield f"{where}.learning_rate is {stage.learning_rate}, expected above 0"
    yield from _within(stage.warmup, f"{where}.warmup", 0.0, 1.0)
    yield from _within(stage.weight_decay, f"{where}.weight_decay", 0.0, 1.0)
    yield from _loss(f"{where}.loss", stage, recipe)
    if stage.lora is not None:
        yield from _least(stage.lora.rank, f"{where}.lora.rank", 1)
        yield from _within(stage.lora.dropout, f"{where}.lora.dropout", 0.0, 0.99)


def _loss(where: str, stage: StageRecipe, recipe: Recipe) -> Iterator[str]:
    loss = stage.loss
    if loss.temperature is not None and not (math.isfinite(loss.temperature) and loss.temperature > 0):
        yield f"{where}.temperature is {loss.temperature}, expected above 0"
    yield from _within(loss.focal_gamma, f"{where}.focal_gamma", 0.0, 10.0)
    yield from _least(loss.mini_batch_size, f"{where}.mini_batch_size", 1)
    chosen = [recipe.data[name] for name in stage.data or recipe.data if name in recipe.data]
    if not loss.in_batch and any(each.negative is None and each.mining is None for each in chosen):
        yield f"{where}.in_batch is off, but a data set has neither negative nor mining: nothing to compare with"
    if loss.matryoshka is not None:
        if not loss.matryoshka or any(width < 1 for width in loss.matryoshka):
            yield f"{where}.matryoshka is {loss.matryoshka}, expected widths of at least 1"
        if recipe.model.kind == "tokens":
            yield f"{where}.matryoshka needs model.kind: text"


def _least(value: Any, where: str, least: int) -> Iterator[str]:
    if value is not None and value < least:
        yield f"{where} is {value}, expected at least {least}"


def _within(value: float, where: str, low: float, high: float) -> Iterator[str]:
    if not (math.isfinite(value) and low <= value <= high):
        yield f"{where} is {value}, expected from {low:g} to {high:g}"
