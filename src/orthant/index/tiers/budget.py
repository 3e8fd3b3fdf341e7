"""Which codes fit the memory that may be used, and what an index will weigh."""

from __future__ import annotations

from typing import Any

from orthant.errors import InputError, message

__all__ = ["ROW_BYTES", "chosen_quantizer", "light_bytes", "quantizer_bytes"]

ROW_BYTES = 9
"""Of a row beside its code: the id, and a mark once rows were removed."""

_LOOKUP_BYTES = 16
_ENTRIES = 256


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
