"""What a training will do and cost, before it begins."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthant.errors import InputError, message
from orthant.learn.recipes.schema import Recipe, StageRecipe
from orthant.learn.recipes.tables import TrainingData

__all__ = ["StagePlan", "TrainingPlan", "plan_training"]

_SAMPLE = 200
_TIMED_ROWS = 8
_TIMED_ROUNDS = 2
_PROCESS_BYTES = 700_000_000
"""What Python holds once torch, transformers and their tables are loaded."""
_FLOAT = 4


@dataclass(frozen=True)
class StagePlan:
    """What one stage does.

    Attributes
    ----------
    name : str
        Of the stage.
    rows : int
        Pairs that are drawn from.
    steps, batch_size, texts_per_step : int
        Length and width; every column of a row is a text.
    tokens_per_step : int
        Expected, padding left out.
    trained : int
        Parameters that change.
    memory_bytes : int
        Expected peak of the process.
    seconds : float
        Expected duration; 0 where nothing was timed.
    """

    name: str
    rows: int
    steps: int
    batch_size: int
    texts_per_step: int
    tokens_per_step: int
    trained: int
    memory_bytes: int
    seconds: float


@dataclass(frozen=True)
class TrainingPlan:
    """What a recipe does.

    Attributes
    ----------
    name : str
        Of the recipe.
    parameters : int
        Of the model.
    pairs : dict of str to dict of str to int
        Pairs by data set and split.
    stages : list of StagePlan
        In order.
    """

    name: str
    parameters: int
    pairs: dict[str, dict[str, int]]
    stages: list[StagePlan]

    @property
    def seconds(self) -> float:
        """Expected duration of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def memory_bytes(self) -> int:
        """Expected peak over the stages."""
        return max(stage.memory_bytes for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "pairs": self.pairs,
            "stages": [vars(stage) for stage in self.stages],
            "seconds": round(self.seconds, 1),
            "memory_bytes": self.memory_bytes,
        }


def plan_training(
    recipe: Recipe, model: Any, data: Mapping[str, TrainingData], *, measure: bool = True
) -> TrainingPlan:
    """Say what a recipe will do to a model, how long it takes here and how much memory it needs.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    model : SentenceTransformer or MultiVectorEncoder
        What ``build_model`` made; its weights do not change.
    data : mapping of str to TrainingData
        What ``load_training_data`` read.
    measure : bool, default True
        Time two small passes forward and backward, which takes a second or two. False leaves the durations at 0.

    Returns
    -------
    TrainingPlan
        The plan. Durations hold for this machine while it is idle; checkpoints and judging come on top.

    Raises
    ------
    InputError
        A stage with fewer rows than a batch.

    Notes
    -----
    Memory: weights, gradients and two moments of AdamW, 4 bytes each, plus activations of about
    ``layers * tokens * (34 d + 5 heads L) * 2`` bytes, for texts of L tokens and width d.

    References
    ----------
    Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198, section 4.1
    (activations of a layer, there for 2-byte numbers).
    """
    parameters = sum(p.numel() for p in model.parameters())
    lengths = {name: _mean_tokens(model, each.rows) for name, each in data.items()}
    rate = _seconds_per_token(model, data, lengths, recipe) if measure else 0.0
    stages = [_planned(stage, recipe, model, data, lengths, rate, parameters) for stage in recipe.stages]
    pairs = {name: {split: len(table) for split, table in each.splits.items()} for name, each in data.items()}
    return TrainingPlan(recipe.name, parameters, pairs, stages)


def _planned(
    stage: StageRecipe,
    recipe: Recipe,
    model: Any,
    data: Mapping[str, TrainingData],
    lengths: Mapping[str, float],
    rate: float,
    parameters: int,
) -> StagePlan:
    names = stage.data or list(recipe.data)
    rows = sum(len(data[name].rows) for name in names)
    fewest = min(len(data[name].rows) for name in names)
    if fewest < stage.batch_size:
        raise InputError(
            message(
                f"stage {stage.name!r} with batches of {stage.batch_size} and a data set of {fewest} rows",
                "at least one batch",
                "lower batch_size or give more rows",
            )
        )
    columns = max(len(data[name].rows[0]) for name in names)
    mean = sum(lengths[name] * len(data[name].rows) for name in names) / rows
    steps = stage.steps or max(1, math.ceil((stage.epochs or 0) * (rows // stage.batch_size)))
    texts = stage.batch_size * columns
    tokens = round(texts * mean)
    held = min(texts, (stage.loss.mini_batch_size or stage.batch_size) * columns)
    trained = _trained(stage, model)
    # GradCache encodes everything twice, once without a backward pass, which is a third of the work.
    passes = 4 / 3 if stage.loss.mini_batch_size else 1.0
    return StagePlan(
        name=stage.name,
        rows=rows,
        steps=steps,
        batch_size=stage.batch_size,
        texts_per_step=texts,
        tokens_per_step=tokens,
        trained=trained,
        memory_bytes=_PROCESS_BYTES + _FLOAT * (parameters + 3 * trained) + _activations(model, held, recipe),
        seconds=round(rate * tokens * passes * steps, 1),
    )


def _trained(stage: StageRecipe, model: Any) -> int:
    from fnmatch import fnmatchcase

    named = list(model.named_parameters())
    if stage.lora is not None:
        wanted = tuple(stage.lora.targets)
        chosen = [
            p
            for n, p in named
            if p.ndim == 2
            and "embeddings" not in n
            and (wanted == ("all-linear",) or n.removesuffix(".weight").endswith(wanted))
        ]
        return sum(stage.lora.rank * sum(p.shape) for p in chosen)
    return sum(p.numel() for n, p in named if not any(fnmatchcase(n, pattern) for pattern in stage.freeze))


def _activations(model: Any, texts: int, recipe: Recipe) -> int:
    config = model[0].auto_model.config
    length = min(recipe.model.max_tokens, int(getattr(config, "max_position_embeddings", recipe.model.max_tokens)))
    width, heads, layers = config.hidden_size, config.num_attention_heads, config.num_hidden_layers
    return int(2 * layers * texts * length * (34 * width + 5 * heads * length))


def _mean_tokens(model: Any, rows: Sequence[Mapping[str, str]]) -> float:
    # Evenly over the table: neighbours are often of one kind.
    step = max(1, len(rows) // _SAMPLE)
    texts = [text for row in rows[::step] for text in row.values()]
    features = model.preprocess(texts)
    return float(features["attention_mask"].sum()) / len(texts)


def _seconds_per_token(
    model: Any, data: Mapping[str, TrainingData], lengths: Mapping[str, float], recipe: Recipe
) -> float:
    """Time of a pass forward and backward per token, over the longest data set of the recipe."""
    import torch

    name = max(lengths, key=lambda each: lengths[each])
    texts = [text for row in data[name].rows[:_TIMED_ROWS] for text in row.values()]
    features = {
        key: value.to(next(model.parameters()).device) if hasattr(value, "to") else value
        for key, value in model.preprocess(texts).items()
    }
    tokens = float(features["attention_mask"].sum())
    before, training = torch.get_num_threads(), model.training
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    model.train()
    spent = []
    try:
        for _ in range(_TIMED_ROUNDS):
            begin = time.perf_counter()
            out = model(dict(features))
            states = out.get("sentence_embedding", out.get("token_embeddings"))
            states.square().sum().backward()
            spent.append(time.perf_counter() - begin)
    finally:
        model.zero_grad(set_to_none=True)
        model.train(training)
        torch.set_num_threads(before)
    return min(spent) / tokens
