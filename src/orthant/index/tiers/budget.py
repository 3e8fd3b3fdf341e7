"""Which codes fit the memory that may be used, and what an index will weigh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orthant.errors import InputError, message
from orthant.kernels.graph.sketch import MOST_DIMS, SKETCH_BYTES, code_bytes
from orthant.types import Metric

__all__ = [
    "ROW_BYTES",
    "Plan",
    "chosen_plan",
    "chosen_quantizer",
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


def chosen_quantizer(dim: int, *, limit: int | None, rows: int) -> tuple[Any, int]:
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
    tuple of Quantizer and int
        An unfitted one, and the bytes of a code.

    Raises
    ------
    InputError
        Not even one byte for each vector fits.
    """
    from orthant.quantization.lvq import LVQ
    from orthant.quantization.product import ProductQuantizer

    half = 4 + -(-dim // 2)
    if limit is None:
        return LVQ(bits=4), half
    # Constants of scalar codes are one vector; codebooks and a rotation are 256 and d of them.
    for bits, size in ((8, 4 + dim), (4, half)):
        if light_bytes(rows, size) + 8 * dim <= limit:
            return LVQ(bits=bits), size
    books = 4 * dim * min(_ENTRIES, max(rows, 1))
    for m in (m for m in range(dim // 2, 0, -1) if dim % m == 0):
        for rotation, matrix in (("opq", 4 * dim * dim), (None, 0)):
            if light_bytes(rows, m) + books + matrix <= limit:
                return ProductQuantizer(m=m, rotation=rotation), m
    least = light_bytes(rows, 1) + books
    raise InputError(
        message(
            f"memory_limit_bytes={limit} for {rows} vectors",
            f"at least {least}, one byte of code, the id and the mark of each",
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
        # The basis and the mean of a reduction are learned once.
        least = light_bytes(rows, graph_row_bytes(plan)) + 4 * (width + 1) * plan.dims
        if limit is None or least <= limit:
            return plan
    raise InputError(
        message(
            f"memory_limit_bytes={limit} for {rows} vectors in a graph",
            f"at least {least}",
            "raise the limit, or search='scan', whose codes take a byte and more each",
        )
    )
