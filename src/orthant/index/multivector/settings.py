"""The parameters of an index of sets, checked, and the stage that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.index.multivector.residual import residual_stage
from orthant.index.multivector.sets import Sets
from orthant.index.multivector.stages import Pooling, Stage, encoded_stage, pooled_stage
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import top_k
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import FloatArray, Ragged
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["METHODS", "Settings", "check_settings", "choose_method", "make_stage", "sample_of"]

METHODS = ("auto", "exact", "fde", "pooled", "plaid")
_CODE_ROUNDS = 8
_CHOICE_SETS, _CHOICE_QUERIES, _CHOICE_TOKENS = 2048, 48, 16
_CHOICE_DEPTH = 40


@dataclass(frozen=True)
class Settings:
    """Checked parameters of ``MultiVector``; see there."""

    method: str
    exact_below: int
    encoding: FixedDimensionalEncoding
    codes: str
    block: int
    cells: int | None
    probes: int
    prune: float
    sample: int
    seed: int


def check_settings(
    method: str,
    *,
    exact_below: int,
    encoding: FixedDimensionalEncoding | None,
    codes: str | None,
    block: int | None,
    cells: int | None,
    probes: int | None,
    prune: float | None,
    sample: int,
    seed: int,
) -> Settings:
    """Return settings, or refuse those out of range and those without effect.

    Parameters
    ----------
    method, exact_below, encoding, codes, block, cells, probes, prune, sample, seed
        As in ``MultiVector``.

    Returns
    -------
    Settings
        With the defaults filled in.

    Raises
    ------
    InputError
        A value out of range, or one that the method does not read.
    """
    check_choice(method, METHODS, name="method")
    own: dict[str, dict[str, Any]] = {
        "fde": {"encoding": encoding, "codes": codes, "block": block},
        "plaid": {"cells": cells, "probes": probes, "prune": prune},
    }
    for owner, named in own.items():
        idle = [name for name, value in named.items() if value is not None]
        if idle and method not in (owner, "auto"):
            given = f"{', '.join(idle)} for method={method!r}"
            raise InputError(message(given, f"settings of {owner!r} with that method only", "leave them out"))
    if encoding is not None and not isinstance(encoding, FixedDimensionalEncoding):
        given = f"an encoding of type {type(encoding).__name__}"
        raise InputError(message(given, "a FixedDimensionalEncoding", "pass one, fitted or not"))
    seed = check_count(seed, name="seed", minimum=0)
    chosen = check_choice("product" if codes is None else codes, ("product", "graph"), name="codes")
    made = FixedDimensionalEncoding(normalize=True, seed=seed) if encoding is None else encoding
    return Settings(
        method=method,
        exact_below=check_count(exact_below, name="exact_below", minimum=0),
        encoding=FixedDimensionalEncoding(**made.get_params()),
        codes=chosen,
        block=check_count(8 if block is None else block, name="block"),
        cells=None if cells is None else check_count(cells, name="cells"),
        probes=check_count(8 if probes is None else probes, name="probes"),
        prune=check_fraction(0.3 if prune is None else prune, name="prune"),
        sample=check_count(sample, name="sample"),
        seed=seed,
    )


def sample_of(sets: Sets, count: int, seed: int) -> Ragged:
    """Return copies of some live sets drawn at random.

    Parameters
    ----------
    sets : Sets
        The sets.
    count : int
        At most so many.
    seed : int
        Of the draw.

    Returns
    -------
    Ragged
        In the order of their rows.
    """
    rows = sets.rows.alive_rows()
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    return sets.gathered(rows)


def make_stage(method: str, sample: Ragged, settings: Settings, *, expected: int) -> Stage:
    """Return an empty stage, learned from a sample.

    Parameters
    ----------
    method : {"fde", "pooled", "plaid"}
        Which.
    sample : Ragged
        Sets.
    settings : Settings
        Parameters.
    expected : int
        Tokens that will be held.

    Returns
    -------
    Stage
        Ready for ``coded`` and ``add``.
    """
    if method == "pooled":
        return pooled_stage(sample, seed=settings.seed)
    if method == "plaid":
        return residual_stage(
            sample,
            cells=settings.cells,
            parts=_parts(sample.values.shape[1], 4),
            probes=settings.probes,
            prune=settings.prune,
            expected=expected,
            seed=settings.seed,
        )
    encoding = FixedDimensionalEncoding(**settings.encoding.get_params())

    def fit(vectors: FloatArray) -> ProductQuantizer:
        # Hundreds of books of 256 entries each: 16 rows for each entry are enough to tell where they lie.
        parts = _parts(vectors.shape[1], settings.block)
        return ProductQuantizer(m=parts, iterations=_CODE_ROUNDS, seed=settings.seed).fit(vectors)

    return encoded_stage(sample, encoding, codes=settings.codes, fit=fit)


def _parts(dim: int, size: int) -> int:
    """Return a number of parts that divides ``dim``, each of about ``size`` columns."""
    divisors = [m for m in range(1, dim + 1) if dim % m == 0]
    return min(divisors, key=lambda m: (abs(dim / m - size), m))


def choose_method(sample: Ragged, settings: Settings) -> str:
    """Return the encoding that leaves more of the true neighbours among the candidates of a sample.

    Parameters
    ----------
    sample : Ragged
        Sets.
    settings : Settings
        Parameters.

    Returns
    -------
    {"pooled", "fde"}
        The one of higher recall; the smaller one, pooling, unless encodings are ahead by more than one in a hundred.

    Notes
    -----
    Queries are random parts of sets, each compared with all others: they say which of two encodings follows MaxSim
    better, and not what recall real queries will have.
    """
    rng = np.random.default_rng(settings.seed)
    few = rng.permutation(len(sample))[:_CHOICE_SETS]
    kept = [sample[int(i)] for i in np.sort(few)]
    offsets = np.cumsum([0, *map(len, kept)], dtype=np.int64)
    tokens = Ragged(np.concatenate(kept), offsets)
    asked = np.sort(rng.choice(len(kept), min(_CHOICE_QUERIES, len(kept)), replace=False))
    drawn = [kept[i][np.sort(rng.permutation(len(kept[i]))[:_CHOICE_TOKENS])] for i in asked]
    queries = Ragged(np.concatenate(drawn), np.cumsum([0, *map(len, drawn)], dtype=np.int64))
    truth = _best(maxsim_scores(queries.values, queries.offsets, tokens.values, tokens.offsets), asked, 10)
    found = {}
    encoding = FixedDimensionalEncoding(**settings.encoding.get_params()).fit(tokens)
    for name, side in (("pooled", Pooling()), ("fde", encoding)):
        near = _best(side.transform_queries(queries) @ side.transform(tokens).T, asked, _CHOICE_DEPTH)
        found[name] = float((truth[:, :, None] == near[:, None, :]).any(axis=2).mean())
    return "fde" if found["fde"] > found["pooled"] + 0.01 else "pooled"


def _best(scores: FloatArray, own: Any, k: int) -> Any:
    scores[np.arange(len(own)), own] = -np.inf
    return top_k(scores, min(k, scores.shape[1]))[0]
