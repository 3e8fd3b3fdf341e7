"""The parameters of an index of sets, checked, and the stage that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message, quiet
from orthant.index.multivector.reduced import ReducedEncoding, reduced_stage
from orthant.index.multivector.residual import residual_stage
from orthant.index.multivector.sets import Sets
from orthant.index.multivector.stages import Encoding, Pooling, Stage, encoded_stage, pooled_stage
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import top_k
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import FloatArray, Ragged
from orthant.validate import check_choice, check_count, check_fraction

__all__ = [
    "METHODS",
    "REDUCED_DIM",
    "Settings",
    "check_settings",
    "choose_codes",
    "choose_method",
    "make_stage",
    "sample_of",
]

METHODS = ("auto", "exact", "fde", "pooled", "plaid")
_CODE_ROUNDS = 8
_CHOICE_SETS, _CHOICE_QUERIES, _CHOICE_TOKENS = 2048, 48, 16
_CHOICE_DEPTH = 40
_CODES = ("auto", "reduced", "product", "graph")
REDUCED_DIM, _LEARN_SETS = 128, 4096
_MADE_UP = 0.03
"""What more candidates make up for: reduced encodings in a graph may find so much less than codes that are scanned."""
_WIDE: dict[str, Any] = {"repetitions": 20, "bits": 4, "inner_dim": 16}
_NARROW: dict[str, Any] = {"repetitions": 40, "bits": 1, "inner_dim": 16}


@dataclass(frozen=True)
class Settings:
    """Checked parameters of ``MultiVector``; see there."""

    method: str
    exact_below: int
    encoding: FixedDimensionalEncoding | None
    codes: str
    reduced_dim: int
    block: int
    cells: int | None
    probes: int
    prune: float
    sample: int
    seed: int

    def encoding_for(self, codes: str) -> FixedDimensionalEncoding:
        """Return the encoding for some codes, not fitted: the one given, else one that suits them.

        Parameters
        ----------
        codes : {"reduced", "product", "graph"}
            What becomes of encodings. Many cells in each partition for codes, two for what is reduced.

        Returns
        -------
        FixedDimensionalEncoding
            Of its own.
        """
        if self.encoding is not None:
            return FixedDimensionalEncoding(**self.encoding.get_params())
        chosen = _NARROW if codes == "reduced" else _WIDE
        return FixedDimensionalEncoding(**chosen, normalize=True, seed=self.seed)


def check_settings(
    method: str,
    *,
    exact_below: int,
    encoding: FixedDimensionalEncoding | None,
    codes: str | None,
    reduced_dim: int | None,
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
    method, exact_below, encoding, codes, reduced_dim, block, cells, probes, prune, sample, seed
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
        "fde": {"encoding": encoding, "codes": codes, "reduced_dim": reduced_dim, "block": block},
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
    chosen = check_choice("auto" if codes is None else codes, _CODES, name="codes")
    for name, value, owner in (("reduced_dim", reduced_dim, "reduced"), ("block", block, "product")):
        if value is not None and chosen not in (owner, "auto"):
            raise InputError(message(f"{name} for codes={chosen!r}", f"it with {owner!r} only", "leave it out"))
    return Settings(
        method=method,
        exact_below=check_count(exact_below, name="exact_below", minimum=0),
        encoding=None if encoding is None else FixedDimensionalEncoding(**encoding.get_params()),
        codes=chosen,
        reduced_dim=check_count(REDUCED_DIM if reduced_dim is None else reduced_dim, name="reduced_dim"),
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
    codes = choose_codes(sample, settings) if settings.codes == "auto" else settings.codes
    encoding = settings.encoding_for(codes)
    if codes == "reduced":
        # Some thousand sets tell where a hundred directions lie.
        few = [sample[i] for i in range(0, len(sample), -(-len(sample) // _LEARN_SETS))]
        tokens = Ragged(np.concatenate(few), np.cumsum([0, *map(len, few)], dtype=np.int64))
        return reduced_stage(tokens, encoding, dim=settings.reduced_dim)

    def fit(vectors: FloatArray) -> ProductQuantizer:
        # Hundreds of books of 256 entries each: 16 rows for each entry are enough to tell where they lie.
        parts = _parts(vectors.shape[1], settings.block)
        with quiet():
            return ProductQuantizer(m=parts, iterations=_CODE_ROUNDS, seed=settings.seed).fit(vectors)

    return encoded_stage(sample, encoding, codes=codes, fit=fit)


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
    trial = _Trial(sample, settings)
    found = max(trial.share(side) for side in _sides(trial.tokens, settings).values())
    return "fde" if found > trial.share(Pooling()) + 0.01 else "pooled"


def choose_codes(sample: Ragged, settings: Settings) -> str:
    """Return what encodings of a sample are best kept as: reduced, unless that loses more than effort makes up for.

    Parameters
    ----------
    sample : Ragged
        Sets.
    settings : Settings
        Parameters.

    Returns
    -------
    {"reduced", "product"}
        Measured as in `choose_method`. Tokens that have little in common, such as vectors of words, do not reduce.
    """
    trial = _Trial(sample, settings)
    found = {name: trial.share(side) for name, side in _sides(trial.tokens, settings).items()}
    return "reduced" if found["reduced"] >= found.get("whole", 0.0) - _MADE_UP else "product"


def _sides(tokens: Ragged, settings: Settings) -> dict[str, Encoding]:
    out: dict[str, Encoding] = {}
    if settings.codes in ("auto", "reduced"):
        narrow = settings.encoding_for("reduced").fit(tokens)
        out["reduced"] = ReducedEncoding.learned(tokens, narrow, dim=settings.reduced_dim)
    if settings.codes != "reduced":
        out["whole"] = settings.encoding_for("product").fit(tokens)
    return out


class _Trial:
    """Some sets, parts of them as queries, and what MaxSim finds."""

    def __init__(self, sample: Ragged, settings: Settings) -> None:
        rng = np.random.default_rng(settings.seed)
        few = rng.permutation(len(sample))[:_CHOICE_SETS]
        kept = [sample[int(i)] for i in np.sort(few)]
        self.tokens = Ragged(np.concatenate(kept), np.cumsum([0, *map(len, kept)], dtype=np.int64))
        self.asked = np.sort(rng.choice(len(kept), min(_CHOICE_QUERIES, len(kept)), replace=False))
        drawn = [kept[i][np.sort(rng.permutation(len(kept[i]))[:_CHOICE_TOKENS])] for i in self.asked]
        self.queries = Ragged(np.concatenate(drawn), np.cumsum([0, *map(len, drawn)], dtype=np.int64))
        exact = maxsim_scores(self.queries.values, self.queries.offsets, self.tokens.values, self.tokens.offsets)
        self.truth = _best(exact, self.asked, 10)

    def share(self, side: Encoding) -> float:
        """Return the share of the true neighbours among the candidates of an encoding."""
        scores = side.transform_queries(self.queries) @ side.transform(self.tokens).T
        near = _best(scores, self.asked, _CHOICE_DEPTH)
        return float((self.truth[:, :, None] == near[:, None, :]).any(axis=2).mean())


def _best(scores: FloatArray, own: Any, k: int) -> Any:
    scores[np.arange(len(own)), own] = -np.inf
    return top_k(scores, min(k, scores.shape[1]))[0]
