"""Which codes fit the memory that may be used, and what an index will weigh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from orthant.errors import InputError, message
from orthant.kernels.graph.sketch import MOST_DIMS, SKETCH_BYTES, code_bytes
from orthant.kernels.rotations import factor_pair
from orthant.types import Metric
from orthant.validate import check_choice, check_count, check_metric

__all__ = [
    "ROW_BYTES",
    "Codes",
    "Plan",
    "chosen_plan",
    "chosen_quantizer",
    "estimated_bytes",
    "graph_code_size",
    "graph_row_bytes",
    "light_bytes",
    "quantizer_bytes",
]

ROW_BYTES = 9
"""Of a row beside its code: the id, and a mark once rows were removed."""

_LOOKUP_BYTES = 16
_ENTRIES = 256

_SLOT_BYTES = 8 + 8 + 4 + 4 + 4 + 16
"""Of a row in a graph beside codes and links: id, address, scale, twin, lookup, and its hash once rows are added."""


def light_bytes(n: int, code_size: int, *, sorted_ids: bool = True) -> int:
    """Return the bytes in memory of so many rows.

    Parameters
    ----------
    n : int
        Rows.
    code_size : int
        Bytes of a code.
    sorted_ids : bool, default True
        Whether ids rise from row to row; otherwise they need a lookup.

    Returns
    -------
    int
        Codes, ids, marks and lookup.
    """
    return n * (code_size + ROW_BYTES + (0 if sorted_ids else _LOOKUP_BYTES))


def quantizer_bytes(quantizer: Any) -> int:
    """Return the bytes of what a quantizer learned.

    Parameters
    ----------
    quantizer : Quantizer
        A fitted one.

    Returns
    -------
    int
        Of all its arrays.
    """
    return sum(int(getattr(value, "nbytes", 0)) for name, value in vars(quantizer).items() if name.endswith("_"))


class Codes(NamedTuple):
    """Codes that were chosen, before anything is learned.

    Attributes
    ----------
    quantizer : Quantizer
        An unfitted one.
    size : int
        Bytes of a code.
    learned : int
        Bytes of what it will learn.
    """

    quantizer: Any
    size: int
    learned: int


def chosen_quantizer(dim: int, *, limit: int | None, rows: int) -> Codes:
    """Return the finest of the usual quantizers whose codes fit.

    Parameters
    ----------
    dim : int
        Dimension.
    limit : int or None
        Bytes for everything in memory; None takes 4 bits for each dimension.
    rows : int
        How many there will be.

    Returns
    -------
    Codes
        Quantizer, bytes of a code, bytes of what is learned.

    Raises
    ------
    InputError
        Not even one byte for each vector fits.
    """
    from orthant.quantization.lvq import LVQ
    from orthant.quantization.product import ProductQuantizer

    half = 4 + -(-dim // 2)
    # All learn a mean. Codebooks and a rotation are 256 and d vectors.
    mean = 4 * dim
    if limit is None:
        return Codes(LVQ(bits=4), half, mean)
    for bits, size in ((8, 4 + dim), (4, half)):
        if light_bytes(rows, size) + mean <= limit:
            return Codes(LVQ(bits=bits), size, mean)
    books = 4 * dim * min(_ENTRIES, max(rows, 1)) + mean
    for m in (m for m in range(dim // 2, 0, -1) if dim % m == 0):
        for rotation, matrix in (("opq", 4 * dim * dim), (None, 0)):
            if light_bytes(rows, m) + books + matrix <= limit:
                return Codes(ProductQuantizer(m=m, rotation=rotation), m, books + matrix)
    least = light_bytes(rows, 1) + books
    raise InputError(
        message(
            f"memory_limit_bytes={limit} for {rows} vectors",
            f"at least {least}, for codebooks and for one byte of code, the id and the mark of each",
            "raise the limit, or divide the vectors among machines",
        )
    )


@dataclass(frozen=True)
class Plan:
    """How much of each vector a graph keeps.

    Attributes
    ----------
    dims : int
        Dimensions of the codes.
    bits : {8, 4}
        Bits of each.
    degree : int
        Links chosen per vector; there is room for twice as many.
    """

    dims: int
    bits: int
    degree: int


_PLANS = (
    Plan(384, 4, 32), Plan(384, 4, 24), Plan(384, 4, 16), Plan(256, 4, 16), Plan(256, 4, 12), Plan(128, 4, 16),
    Plan(128, 4, 12), Plan(128, 4, 8),
)  # fmt: skip
"""From the finest down: codes fill whole cache lines, so fewer dimensions than these save nothing."""

_NARROW = 128
"""Up to so many dimensions eight bits take two cache lines."""


def graph_code_size(plan: Plan) -> int:
    """Return the bytes of a vector's codes in a graph.

    Parameters
    ----------
    plan : Plan
        What is kept.

    Returns
    -------
    int
        Of signs and codes, without links.
    """
    return SKETCH_BYTES + code_bytes(plan.dims, plan.bits)


def graph_row_bytes(plan: Plan) -> int:
    """Return the bytes in memory of a row that a graph finds, id and mark of the index not counted.

    Parameters
    ----------
    plan : Plan
        What is kept.

    Returns
    -------
    int
        Codes, links, and what the graph knows besides; one byte for its bitmaps.
    """
    return graph_code_size(plan) + 8 * plan.degree + _SLOT_BYTES + 1


def chosen_plan(dim: int, *, metric: Metric, limit: int | None, rows: int) -> Plan:
    """Return the finest graph that fits.

    Parameters
    ----------
    dim : int
        Dimension of the vectors.
    metric : {"cosine", "dot", "l2"}
        The score; a dot product takes one dimension more.
    limit : int or None
        Bytes for everything in memory; None takes the finest.
    rows : int
        How many there will be.

    Returns
    -------
    Plan
        Its codes and links.

    Raises
    ------
    InputError
        Not even the coarsest fits.
    """
    width = dim + (metric == "dot")
    plans = [Plan(min(width, plan.dims, MOST_DIMS), plan.bits, plan.degree) for plan in _PLANS]
    if width <= _NARROW:
        plans = [Plan(width, 8, degree) for degree in (32, 24, 16)] + plans[-3:]
    least = 0
    for plan in plans:
        least = light_bytes(rows, graph_row_bytes(plan)) + _graph_learned(width, plan)
        if limit is None or least <= limit:
            return plan
    raise InputError(
        message(
            f"memory_limit_bytes={limit} for {rows} vectors in a graph",
            f"at least {least}",
            "raise the limit, or search='scan', whose codes take a byte and more each",
        )
    )


def _graph_learned(width: int, plan: Plan) -> int:
    """Return the bytes of a mean, of the basis of a reduction and of a rotation, which are learned once."""
    basis = width * plan.dims if plan.dims < width else 0
    return 4 * (width + basis + plan.dims + sum(size * size for size in factor_pair(plan.dims)))


def estimated_bytes(
    n: int, dim: int, *, code_size: int | None, limit: int | None, search: str, metric: str
) -> dict[str, int]:
    """Return the memory that an index will need, by part.

    Parameters
    ----------
    n, dim : int
        Vectors and their dimension.
    code_size : int or None
        Bytes of a code; None for the codes that would be chosen.
    limit : int or None
        Bytes for everything in memory.
    search, metric : str
        As for the index.

    Returns
    -------
    dict of str to int
        Bytes by part, their ``"total"`` in memory, and ``"disk"``.

    Raises
    ------
    InputError
        A number outside its range, or a limit below the smallest codes.
    """
    n, dim = check_count(n, name="n", minimum=0), check_count(dim, name="dim")
    limit = None if limit is None else check_count(limit, name="memory_limit_bytes")
    links, learned = {}, 0
    if check_choice(search, ("scan", "graph"), name="search") == "graph":
        plan = chosen_plan(dim, metric=check_metric(metric), limit=limit, rows=n)
        code_size, learned = graph_code_size(plan), _graph_learned(dim + (metric == "dot"), plan)
        links = {"links": n * (graph_row_bytes(plan) - code_size)}
    elif code_size is None:
        _, code_size, learned = chosen_quantizer(dim, limit=limit, rows=n)
    out = {"codes": n * check_count(code_size, name="code_size"), **links, "ids": 8 * n, "marks": n, "learned": learned}
    return {**out, "total": sum(out.values()), "disk": 4 * n * dim}
