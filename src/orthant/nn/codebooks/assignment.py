"""The nearest codeword of each vector, found as `orthant.kernels.clustering.nearest` finds it: the same codes."""

from __future__ import annotations

import torch

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message

__all__ = ["as_rows", "check_indices", "nearest_codes"]

_TILE_VALUES = 1 << 22
_PAIR_VALUES = 1 << 20
# Half the machine epsilon of float32, and of the tensor cores' short floats where those are allowed.
_U, _U_SHORT = 2.0**-24, 2.0**-9


def as_rows(z: torch.Tensor, dim: int) -> torch.Tensor:
    """Return vectors as a matrix, checked.

    Parameters
    ----------
    z : Tensor of shape (..., dim), floating
        Vectors.
    dim : int
        Last axis required.

    Returns
    -------
    Tensor of shape (n, dim)
        A view where it can be one.

    Raises
    ------
    InputError
        Another last axis, integers, NaN or infinity.
    """
    if not torch.is_floating_point(z):
        raise DtypeError(message(f"vectors of dtype {z.dtype}", "floating ones", "convert them with .float()"))
    if z.ndim < 1 or z.shape[-1] != dim:
        given, expected = f"vectors of shape {tuple(z.shape)}", f"(..., {dim}), the codebook's dimension last"
        raise DimensionError(message(given, expected, "move the channels to the last axis"))
    if not bool(torch.isfinite(z).all()):
        remedy = "lower the learning rate or warm it up, and look for the step before this one"
        raise NonFiniteError(message("vectors with NaN or infinity", "finite ones", remedy))
    return z.reshape(-1, dim)


def check_indices(indices: torch.Tensor, entries: int, *, lowest: int = 0) -> None:
    """Refuse codes that a book does not have.

    Parameters
    ----------
    indices : Tensor of any shape, integer
        Codes.
    entries : int
        Codes of the book.
    lowest : {0, -1}, default 0
        -1 where a code may be missing.

    Raises
    ------
    InputError
        Not integers, or out of range.
    """
    if torch.is_floating_point(indices) or indices.dtype == torch.bool:
        raise DtypeError(message(f"codes of dtype {indices.dtype}", "integers", "pass what encode returned"))
    if indices.numel() and (int(indices.min()) < lowest or int(indices.max()) >= entries):
        given = f"codes from {int(indices.min())} to {int(indices.max())}"
        raise InputError(message(given, f"{lowest} to {entries - 1}", "pass what encode of this module returned"))


@torch.no_grad()
def nearest_codes(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the codeword nearest to each vector in Euclidean distance; the first of several equally near ones.

    Parameters
    ----------
    z : Tensor of shape (n, d), floating
        Finite vectors.
    codebook : Tensor of shape (k, d), floating
        Finite codewords.

    Returns
    -------
    Tensor of shape (n,), int64
        Codes, those of distances in float64, and so the same as in NumPy.

    Notes
    -----
    Distances come from one matrix product in float32 for each tile of at most 16 MiB, so that no matrix of all vectors
    by all codewords exists; rows whose second codeword is within the rounding bound of the first are compared again in
    float64.
    Cost: O(n k d).

    Examples
    --------
    >>> nearest_codes(torch.tensor([[0.9, 0.0], [0.0, 5.0]]), torch.eye(2)).tolist()
    [0, 1]
    """
    rows, words = z.detach().float(), codebook.detach().float()
    shift = words.double().mean(dim=0).float()
    moved = (words - shift).T.contiguous()
    squares = moved.double().square().sum(dim=0)
    longest = squares.max().sqrt()
    half = (squares / 2).float()
    out = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    tile = max(1, _TILE_VALUES // len(words))
    short = rows.is_cuda and torch.get_float32_matmul_precision() != "highest"
    unit = 2.02 * (rows.shape[1] + 8) * (_U_SHORT if short else _U)
    with torch.autocast(rows.device.type, enabled=False):
        for start in range(0, len(rows), tile):
            part = rows[start : start + tile]
            centred = part - shift
            scores = half - centred @ moved
            best, labels = scores.min(dim=1)
            slack = unit * longest * (centred.double().norm(dim=1) + longest)
            limit = best + slack.float().clamp_min(torch.finfo(torch.float32).tiny)
            # Also where a product has overflowed and compares with nothing.
            unsure = ((scores <= limit[:, None]).sum(dim=1) != 1) | ~torch.isfinite(limit)
            again = unsure.nonzero()[:, 0]
            if len(again):
                labels[again] = _exactly(part[again], words)
            out[start : start + tile] = labels
    return out


def _exactly(rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    wide = words.double()
    step = max(1, _PAIR_VALUES // wide.numel())
    parts = [
        (rows[a : a + step, None].double() - wide).square().sum(dim=2).argmin(dim=1) for a in range(0, len(rows), step)
    ]
    return torch.cat(parts)
