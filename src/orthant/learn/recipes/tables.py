"""The training tables of a recipe: ready-made pairs or a file, split so that nothing leaks, with mined negatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.learn.conversion.builders import medquad_pairs, papers_pairs, pydocs_pairs
from orthant.learn.conversion.records import pairs_from_records
from orthant.learn.conversion.splitting import deduplicate, split_by_group
from orthant.learn.conversion.tables import PairTable
from orthant.learn.mining.negatives import mine_negatives
from orthant.learn.mining.rules import MiningRules
from orthant.learn.recipes.schema import DataRecipe, Recipe
from orthant.types import Encoder, Index

__all__ = ["SOURCES", "TrainingData", "load_training_data"]

SOURCES: dict[str, Callable[..., dict[str, PairTable]]] = {
    "medquad": medquad_pairs,
    "papers": papers_pairs,
    "pydocs": pydocs_pairs,
}
"""Pairs that need no file of the user's, by the name a recipe gives as ``source``."""

_SPLITS = ("train", "dev", "test")
_FEWEST = 2


@dataclass(frozen=True)
class TrainingData:
    """One data set of a recipe.

    Attributes
    ----------
    splits : dict of str to PairTable
        ``train``, ``dev`` and ``test``; no group, and no text, is in two of them.
    rows : list of dict
        What is trained on: ``anchor``, ``positive`` and as many ``negative`` columns as every row has.
    mined : str
        What mining found, in words; empty without mining.
    """

    splits: dict[str, PairTable]
    rows: list[dict[str, str]]
    mined: str = ""


def load_training_data(
    recipe: Recipe,
    *,
    encoder: Callable[[], Encoder] | None = None,
    make_index: Callable[[int], Index] | None = None,
) -> dict[str, TrainingData]:
    """Read and split every data set of a recipe, and mine the negatives that it asks for.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    encoder : callable, optional
        Gives the encoder that mines, called only where a data set asks for it. Left out, nothing is mined.
    make_index : callable of int, optional
        Gives an empty index of a dimension, for mining.

    Returns
    -------
    dict of str to TrainingData
        By the names of the recipe.

    Raises
    ------
    NotFoundError
        A source that is neither a name nor a file, or data that is not there.
    InputError
        Fewer than two training pairs, or rows without the fields named.
    """
    out = {}
    for number, (name, data) in enumerate(recipe.data.items()):
        splits = _splits(data, recipe.seed)
        train = splits["train"].rows
        if data.limit is not None and data.limit < len(train):
            rng = np.random.default_rng([recipe.seed, number])
            train = [train[i] for i in np.sort(rng.choice(len(train), data.limit, replace=False))]
        if len(train) < _FEWEST:
            raise InputError(
                message(f"data.{name} with {len(train)} training pairs", f"at least {_FEWEST}", "give more rows")
            )
        rows, told = _columns(train), ""
        if data.mining is not None and encoder is not None and make_index is not None:
            rows, told = _mined(train, data, encoder(), make_index, recipe.seed)
        out[name] = TrainingData(splits, rows, told)
    return out


def _splits(data: DataRecipe, seed: int) -> dict[str, PairTable]:
    if data.source in SOURCES:
        return SOURCES[data.source](seed=seed)
    path = Path(data.source)
    if not path.exists():
        known = ", ".join(SOURCES)
        raise InputError(
            message(f"the source {data.source!r}", f"a file, or one of {known}", "check the path from where you start")
        )
    return split_by_group(deduplicate(_from_file(path, data)), seed=seed)


def _from_file(path: Path, data: DataRecipe) -> PairTable:
    from orthant.datasets.records import read_records

    def batches() -> Any:
        return read_records(path, text_fields=(), ids="number")

    table = pairs_from_records(
        batches(), anchor=data.query, positive=data.positive, group_field=data.group, name=path.name
    )
    if data.negative is None:
        return table
    texts = {
        key: fields.get(data.negative)
        for batch in batches()
        for key, fields in zip(batch.ids, batch.metadata, strict=True)
    }
    rows = [{**row, "negative": texts[row["id"]]} for row in table.rows if isinstance(texts[row["id"]], str)]
    if not rows:
        raise InputError(
            message(f"{path} without texts in {data.negative!r}", "a field with a negative per row", "check the name")
        )
    dropped = table.dropped | {f"no {data.negative}": len(table) - len(rows)}
    return PairTable(table.name, rows, dropped)


def _columns(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    names = [name for name in ("anchor", "positive", "negative") if all(name in row for row in rows)]
    return [{name: row[name] for name in names} for row in rows]


def _mined(
    train: list[dict[str, Any]], data: DataRecipe, encoder: Encoder, make_index: Callable[[int], Index], seed: int
) -> tuple[list[dict[str, str]], str]:
    """Rows with hard negatives among the positives of other rows."""
    settings = data.mining
    if settings is None:
        return _columns(train), ""
    texts = list(dict.fromkeys(row["positive"] for row in train))
    position = {text: i for i, text in enumerate(texts)}
    relevant: dict[str, list[int]] = {}
    for row in train:
        relevant.setdefault(row["anchor"], []).append(position[row["positive"]])
    groups: Mapping[int, Any] = {position[row["positive"]]: row.get("group") for row in train}
    index = make_index(encoder.dim)
    index.add(encoder.encode(texts, role="document"))
    found = mine_negatives(
        list(relevant),
        list(relevant.values()),
        texts,
        index=index,
        encoder=encoder,
        groups=groups,
        rules=MiningRules(
            num_negatives=settings.negatives,
            ranks=(settings.first - 1, settings.last),
            relative_margin=settings.relative_margin,
        ),
        seed=seed,
    )
    rows = found.to_rows(layout="tuple")
    if len(rows) < _FEWEST:
        raise InputError(
            message(
                f"mining that left {len(rows)} pairs with {settings.negatives} negatives",
                f"at least {_FEWEST}",
                "look at more ranks, ask for fewer negatives, or lower relative_margin",
            )
        )
    return rows, str(found.report())
