"""What a graph will weigh, before it is built."""

from __future__ import annotations

from orthant.kernels.graph.sketch import MOST_DIMS, SKETCH_BYTES, code_bytes

__all__ = ["estimate_memory"]


def estimate_memory(n: int, dim: int, *, degree: int, reduced_dim: int | None, own: bool) -> dict[str, int]:
    """Return bytes by part for n vectors, as ``State.memory`` counts them.

    Parameters
    ----------
    n, dim : int
        Vectors and dimension.
    degree : int
        Links of a pruned row.
    reduced_dim : int or None
        Dimensions kept.
    own : bool
        Whether the graph keeps the full vectors itself.

    Returns
    -------
    dict of str to int
        Sizes by part and ``"total"``; ``"building"`` is what building needs besides.
    """
    dims = min(dim, MOST_DIMS if reduced_dim is None else reduced_dim)
    out = {
        "sketches": n * SKETCH_BYTES,
        "codes": n * code_bytes(dims, 8 if dims <= 128 else 4),
        "links": n * 8 * degree,
        "ids": n * 24,
        "bitmaps": n // 4,
        "lookup": n * 4,
        "vectors": n * dim * 4 if own else 0,
    }
    out["total"] = sum(out.values())
    out["building"] = min(n, 4096) * degree * 32 + min(n, 20_000) * dim * 24 + n * 16
    return out
