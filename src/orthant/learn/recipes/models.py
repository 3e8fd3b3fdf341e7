"""From the sections of a recipe to a model and to the stages that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.learn.recipes.schema import LossRecipe, ModelRecipe, Recipe, ReducerRecipe, StageRecipe
from orthant.learn.recipes.tables import TrainingData
from orthant.learn.training.lora import LoRA
from orthant.learn.training.stage import Stage

__all__ = ["build_base", "build_model", "build_stages"]

_TOKEN_DIM, _QUERY_TOKENS = 96, 32
_TEMPERATURE, _TOKEN_TEMPERATURE = 0.05, 1.0
_POOLINGS = {"latent-attention": "latent_attention", "contextual-eos": "contextual_eos"}


def build_model(recipe: ModelRecipe, *, seed: int = 0) -> Any:
    """Make the model that a recipe trains, before training.

    Parameters
    ----------
    recipe : ModelRecipe
        The section ``model``.
    seed : int, default 0
        Of new weights.

    Returns
    -------
    sentence_transformers.SentenceTransformer or sentence_transformers.MultiVectorEncoder
        On the CPU or the accelerator that the library chooses.

    Raises
    ------
    NotFoundError, MissingExtraError
        No such folder, or a package that is missing.
    InputError
        Settings that the backbone does not allow.
    """
    from orthant.learn.text.encoder import build_text_encoder
    from orthant.learn.text.multivector import build_token_encoder

    backbone = _backbone(recipe)
    prompts = {"query": recipe.query_prompt, "document": recipe.document_prompt}
    prompts = {name: text for name, text in prompts.items() if text}
    if recipe.kind == "tokens":
        return build_token_encoder(
            backbone,
            dim=recipe.dim or _TOKEN_DIM,
            reducer=_reducer(recipe.reducer, "reducer"),
            query_reducer=_reducer(recipe.query_reducer, "query_reducer"),
            query_tokens=recipe.query_tokens or min(_QUERY_TOKENS, recipe.max_tokens),
            document_tokens=recipe.max_tokens,
            prompts=prompts or None,
            seed=seed,
        )
    return build_text_encoder(
        backbone,
        pooling=_POOLINGS.get(recipe.pooling, recipe.pooling),
        projection=recipe.dim,
        max_tokens=recipe.max_tokens,
        prompts=prompts or None,
        seed=seed,
    )


def build_base(recipe: ModelRecipe) -> Any:
    """Make what a user has without training: the whole backbone with mean pooling and unit length.

    Parameters
    ----------
    recipe : ModelRecipe
        The section ``model``.

    Returns
    -------
    sentence_transformers.SentenceTransformer
        With the window of the recipe.
    """
    from orthant.learn.text.encoder import build_text_encoder

    return build_text_encoder(_backbone(replace(recipe, layers=None)), max_tokens=recipe.max_tokens)


def _backbone(recipe: ModelRecipe) -> Any:
    from orthant.learn.text.backbone import load_backbone, minilm_backbone

    bidirectional = True if recipe.bidirectional else None
    if recipe.base != "minilm":
        return load_backbone(
            recipe.base, layers=recipe.layers, bidirectional=bidirectional, max_tokens=recipe.max_tokens
        )
    if recipe.bidirectional:
        raise InputError(message("bidirectional for minilm", "a decoder: MiniLM looks both ways", "leave it out"))
    return minilm_backbone(layers=recipe.layers or 6, max_tokens=recipe.max_tokens)


def _reducer(wanted: ReducerRecipe | None, name: str) -> Any:
    from orthant.nn.token_reducers import make_reducer

    if wanted is None:
        return None
    if wanted.kind == "cluster":
        return make_reducer({"kind": "cluster", "k": wanted.k, "ratio": wanted.ratio})
    if wanted.k is None:
        raise InputError(message(f"a {wanted.kind} reducer without k", "k", f"give model.{name}.k"))
    return make_reducer({"kind": wanted.kind, "k": wanted.k})


def build_stages(recipe: Recipe, data: Mapping[str, TrainingData]) -> list[Stage]:
    """Make the stages of a recipe.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    data : mapping of str to TrainingData
        Its data sets.

    Returns
    -------
    list of Stage
        In order.
    """
    return [_stage(each, recipe, data) for each in recipe.stages]


def _stage(stage: StageRecipe, recipe: Recipe, data: Mapping[str, TrainingData]) -> Stage:
    from orthant.learn.samplers.protocol import Mixture

    names = stage.data or list(recipe.data)
    tables = {name: data[name].rows for name in names}
    mixture: str | Mixture = stage.mixture
    weights = [recipe.data[name].weight for name in names]
    if stage.mixture == "proportional" and len(names) > 1 and len(set(weights)) > 1:
        from orthant.learn.samplers.mixtures import Proportional

        sizes = np.array([len(rows) for rows in tables.values()], dtype=np.float64)
        mixture = Proportional(weights=list(sizes * weights))
    return Stage(
        name=stage.name,
        data=tables if len(tables) > 1 else next(iter(tables.values())),
        loss=_loss(stage.loss, recipe.model.kind),
        steps=stage.steps,
        epochs=stage.epochs,
        batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        warmup=stage.warmup,
        schedule=stage.schedule,
        weight_decay=stage.weight_decay,
        sampler=stage.sampler,
        mixture=mixture,
        freeze=tuple(stage.freeze),
        lora=None if stage.lora is None else LoRA(**vars(stage.lora)),
        average_last=stage.average_last,
    )


def _loss(loss: LossRecipe, kind: str) -> Callable[[Any], Any]:
    from orthant.learn.losses.settings import ContrastiveSettings

    tokens = kind == "tokens"
    settings = ContrastiveSettings(
        temperature=loss.temperature or (_TOKEN_TEMPERATURE if tokens else _TEMPERATURE),
        similarity="dot" if tokens else "cosine",
        symmetric=loss.symmetric,
        in_batch=loss.in_batch,
        focal_gamma=loss.focal_gamma,
    )

    def make(model: Any) -> Any:
        from orthant.learn.losses.text import TextContrastiveLoss, TextMaxSimLoss

        if tokens:
            return TextMaxSimLoss(model, settings, mini_batch_size=loss.mini_batch_size)
        made = TextContrastiveLoss(model, settings, mini_batch_size=loss.mini_batch_size)
        if loss.matryoshka is None:
            return made
        from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

        return MatryoshkaLoss(model, made, matryoshka_dims=list(loss.matryoshka))

    return make
