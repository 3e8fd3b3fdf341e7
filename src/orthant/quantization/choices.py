"""Ways to compress, by name: such as ``"lvq4"``, ``"leanvec96+lvq8"``, ``"opq48"`` or ``"recurrent2d384"``."""

from __future__ import annotations

import re
from typing import Any

from orthant.errors import InputError, message
from orthant.quantization.binary.rabitq import RaBitQ
from orthant.quantization.binary.recurrent import RecurrentBinary
from orthant.quantization.coding import Coding
from orthant.quantization.lvq import LVQ
from orthant.quantization.product import ProductQuantizer
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.scalar import SQ8
from orthant.transforms.leanvec import LeanVec
from orthant.types import Metric, Quantizer, Transform

__all__ = ["Choice", "coding_of", "default_candidates", "named_choice", "size_of"]

Choice = Quantizer | tuple[Transform, Quantizer]

_FORMS = (
    "sq8, lvq8, lvq4, lvq4x4, lvq4x8, lvq8x8, pqM, opqM, rqM (M bytes), rabitqBdN, recurrentBdN (B bits for N "
    "dimensions), or leanvecN+ before sq8, lvq, pq and opq"
)
_NAME = re.compile(
    r"(?:leanvec(?P<lean>[1-9]\d*)\+)?(?:(?P<sq>sq8)|lvq(?P<bits>[48])(?:x(?P<more>[48]))?|(?P<split>o?pq)(?P<m>[1-9]\d*))"
    r"|rq(?P<bytes>[1-9]\d*)|(?P<grid>rabitq|recurrent)(?P<width>[124])d(?P<size>[1-9]\d*)"
)
# Below so many rows 256 codewords for each part are hardly filled.
BOOKS_FROM = 4096
_ITERATIONS = 10
_LVQ_CONSTANTS, _GRID_CONSTANT = 4, 4
# Of the dimensions, where vectors are reduced so that they can be cut into equal parts.
_KEPT = 0.9


def _parsed(name: str, dim: int, metric: Metric) -> dict[str, Any]:
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise InputError(message(f"codes {name!r}", f"one of {_FORMS}", "check the name"))
    parts: dict[str, Any] = {
        key: int(value) if str(value).isdigit() else value for key, value in found.groupdict().items()
    }
    if (parts["lean"] or 0) > dim or (parts["size"] or 0) > dim:
        raise InputError(message(f"{name} for dimension {dim}", f"at most {dim} dimensions", "choose fewer"))
    size = parts["lean"] or dim
    if parts["split"] and size % parts["m"]:
        remedy = f"choose another size, or reduce first: {_whole_parts(dim, parts['m'], parts['split'])}"
        raise InputError(message(f"{name} for dimension {size}", f"a divisor of {size}", remedy))
    if parts["grid"] and metric == "l2":
        raise InputError(message(f"{name} for l2", "codes for l2", "use lvq, sq8, pq, opq or rq"))
    return parts


def named_choice(name: str, *, dim: int, metric: Metric = "cosine") -> Choice:
    """Return the unfitted quantizer, perhaps with a transform, that a name stands for.

    Parameters
    ----------
    name : str
        ``sq8``, ``lvq8``, ``lvq4``, ``lvq4x4``, ``lvq4x8``, ``lvq8x8``; ``pqM``, ``opqM``, ``rqM`` with M bytes,
        those of residual codes in 2 M levels of 4 bits; ``rabitqBdN``, ``recurrentBdN`` with B bits (1, 2 or 4) for
        each of N dimensions; ``leanvecN+`` before the scalar and the product codes reduces to N dimensions first, of
        which M must be a divisor.
    dim : int
        Dimension of the vectors.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score.

    Returns
    -------
    quantizer or (transform, quantizer)
        Unfitted.

    Raises
    ------
    InputError
        Another name, or one that does not fit the dimension or the score.

    Examples
    --------
    >>> named_choice("lvq4x8", dim=64)
    LVQ(align=1, bits=4, residual_bits=8)
    """
    parts = _parsed(name, dim, metric)
    if parts["grid"] == "rabitq":
        return RaBitQ(bits=parts["width"], dim=None if parts["size"] == dim else parts["size"])
    if parts["grid"]:
        return RecurrentBinary(bits=parts["width"], dim=parts["size"], unit=metric == "cosine")
    if parts["bytes"]:
        # The rows that books are learned from suffice for books of 16; books of 256, each over all dimensions, learn
        # single rows by heart.
        return ResidualQuantizer(levels=2 * parts["bytes"], bits=4, beam=2, iterations=_ITERATIONS)
    quantizer: Quantizer
    if parts["split"]:
        rotation = "opq" if parts["split"] == "opq" else None
        quantizer = ProductQuantizer(m=parts["m"], rotation=rotation, iterations=_ITERATIONS)
    else:
        quantizer = SQ8() if parts["sq"] else LVQ(bits=parts["bits"], residual_bits=parts["more"] or 0)
    if not parts["lean"]:
        return quantizer
    return LeanVec(dim=parts["lean"], metric=metric, center=metric == "l2"), quantizer


def coding_of(choice: Choice | str, *, dim: int, metric: Metric = "cosine") -> Coding:
    """Return a choice, or what a name stands for, ready to fit.

    Parameters
    ----------
    choice : str, quantizer or (transform, quantizer)
        What to use.
    dim : int
        Dimension of the vectors.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score.

    Returns
    -------
    Coding
        Unfitted.
    """
    if isinstance(choice, str):
        choice = named_choice(choice, dim=dim, metric=metric)
    transform, quantizer = choice if isinstance(choice, tuple) else (None, choice)
    return Coding(quantizer, transform, metric=metric)


def size_of(name: str, *, dim: int, metric: Metric = "cosine") -> int:
    """Return the bytes that a vector takes, before anything is fitted.

    Parameters
    ----------
    name : str
        As for ``named_choice``.
    dim : int
        Dimension of the vectors.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score.

    Returns
    -------
    int
        Exact, constants included.

    Examples
    --------
    >>> size_of("lvq4", dim=384), size_of("opq48", dim=384), size_of("recurrent2d384", dim=384)
    (196, 48, 96)
    """
    parts = _parsed(name, dim, metric)
    if parts["grid"]:
        constant = _GRID_CONSTANT * (parts["grid"] == "rabitq" or metric != "cosine")
        return int(parts["width"] * -(-parts["size"] // 8) + constant)
    if parts["split"] or parts["bytes"]:
        return int(parts["m"] or parts["bytes"])
    size = parts["lean"] or dim
    if parts["sq"]:
        return int(size)
    return int(_LVQ_CONSTANTS + -(-size * parts["bits"] // 8) + -(-size * (parts["more"] or 0) // 8))


def default_candidates(
    dim: int, metric: Metric, *, rows: int | None = None, budget_bytes: int | None = None
) -> dict[str, Choice]:
    """Return the usual ways to compress vectors of a dimension.

    Parameters
    ----------
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        The score.
    rows : int, optional
        Vectors at hand; below 4,096 product and residual codes are left out, whose codebooks need them.
    budget_bytes : int, optional
        Adds sizes that fill it, and leaves out codebooks beyond it, which are the slowest to learn.

    Returns
    -------
    dict of str to quantizer or (transform, quantizer)
        Unfitted, by name.
    """
    names = ["sq8", "lvq8", "lvq4", "lvq4x4"]
    halves = [size for size in (dim // 2 // 8 * 8, dim // 4 // 8 * 8) if size]
    names += [f"leanvec{size}+lvq{bits}" for size in halves for bits in (8, 4)]
    if metric != "l2":
        names += [f"rabitq{bits}d{dim}" for bits in (1, 2, 4)]
        names += [f"recurrent{bits}d{size}" for bits, size in ((1, dim), (2, dim), (2, max(1, dim // 2)))]
    # Codebooks are the slowest to learn, so few sizes of them are tried.
    size = max(1, dim // 8 if budget_bytes is None else min(budget_bytes, dim // 4))
    if budget_bytes is not None:
        names += _filling(dim, metric, budget_bytes)
    if rows is None or rows >= BOOKS_FROM:
        names += [_whole_parts(dim, size, "pq"), _whole_parts(dim, size, "opq"), f"rq{max(1, min(size, dim // 16))}"]
    return {name: named_choice(name, dim=dim, metric=metric) for name in dict.fromkeys(names)}


def _whole_parts(dim: int, size: int, kind: str) -> str:
    """Name product codes that fill so many bytes, after a reduction where they cannot be cut into as many equal parts.

    A reduction drops the directions of least variance. Where it would drop many, codes of fewer bytes are named.
    """
    for m in range(size, 0, -1):
        kept = dim // m * m
        if kept == dim:
            return f"{kind}{m}"
        if kept >= _KEPT * dim:
            return f"leanvec{kept}+{kind}{m}"
    return f"{kind}1"


def _filling(dim: int, metric: Metric, budget_bytes: int) -> list[str]:
    """Names of the largest codes of each kind within a budget, in steps of 8 dimensions."""
    kinds = ["leanvec{}+lvq8", "leanvec{}+lvq4"]
    if metric != "l2":
        kinds += [f"{grid}{bits}d{{}}" for grid in ("recurrent", "rabitq") for bits in (1, 2, 4)]
    out = []
    for kind in kinds:
        named = [kind.format(size) for size in range(8, dim + (not kind.startswith("leanvec")), 8)]
        fitting = [name for name in named if size_of(name, dim=dim, metric=metric) <= budget_bytes]
        out += fitting[-1:]
    return out
