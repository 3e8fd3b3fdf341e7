"""Where and how far fine-tuning moved a model: one row per tensor, and per layer."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, message
from orthant.learn.merging.arrays import inner_product
from orthant.learn.merging.compatibility import renamed
from orthant.learn.merging.sources import (
    FolderWeights,
    Weights,
    WeightSource,
    agreed_names,
    check_finite,
    layer_of,
    open_weights,
)
from orthant.validate import check_fraction

__all__ = ["TensorDifference", "WeightDifference", "weight_difference"]

_ROWS = 4096


@dataclass(frozen=True)
class TensorDifference:
    """How one tensor, or one layer, changed.

    Attributes
    ----------
    name, layer : str
        Of the tensor; in a table of layers both are the layer.
    entries : int
        Number of weights.
    norm_before, norm_after, norm : float
        Lengths of the old weights, the new ones and their difference.
    relative : float
        ``norm / norm_before``; infinite when something grew out of zero.
    mean_absolute, largest : float
        Mean and maximum of the entries' absolute changes.
    cosine : float
        Of old and new weights; 1.0 when nothing changed, 0.0 when one of them is zero.
    changed : float
        Share of entries that are not bit for bit what they were, 0 to 1.
    rank_at_energy : int or None
        Fewest singular directions of the difference that hold the asked share of its squared norm. None for vectors,
        layers, and matrices beyond the size asked for.
    rank : int or None
        Singular values of the difference above what rounding to the stored type leaves.
    """

    name: str
    layer: str
    entries: int
    norm_before: float
    norm_after: float
    norm: float
    relative: float
    mean_absolute: float
    largest: float
    cosine: float
    changed: float
    rank_at_energy: int | None = None
    rank: int | None = None


@dataclass(frozen=True)
class WeightDifference:
    """A report on two models.

    Attributes
    ----------
    tensors : tuple of TensorDifference
        In the order of the model.
    """

    tensors: tuple[TensorDifference, ...]

    def layers(self) -> tuple[TensorDifference, ...]:
        """Sum the rows up by layer.

        Returns
        -------
        tuple of TensorDifference
            In the order of the model, without ranks.
        """
        groups: dict[str, list[TensorDifference]] = defaultdict(list)
        for row in self.tensors:
            groups[row.layer].append(row)
        return tuple(_sum_up(layer, rows) for layer, rows in groups.items())

    def rows(self) -> list[dict[str, Any]]:
        """List the tensors as plain dictionaries, for a table."""
        return [asdict(row) for row in self.tensors]

    def to_json(self, path: str | Path) -> None:
        """Write tensors and layers as JSON.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        report = {"tensors": self.rows(), "layers": [asdict(row) for row in self.layers()]}
        for row in (*report["tensors"], *report["layers"]):
            # JSON has no infinity.
            row["relative"] = row["relative"] if math.isfinite(row["relative"]) else None
        write_bytes_atomically(path, (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())

    def plot(self, path: str | Path) -> None:
        """Draw the relative change of every layer.

        Parameters
        ----------
        path : str or Path
            A picture file; the ending decides the format.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        from orthant.learn.analysis.pictures import draw_bars

        values = {row.name: row.relative if math.isfinite(row.relative) else 0.0 for row in self.layers()}
        draw_bars(path, values, title="relative change of the weights")


def weight_difference(
    before: Weights, after: Weights, *, energy: float | None = 0.99, largest_rank: int = 2048
) -> WeightDifference:
    """Compare two models tensor by tensor, holding one tensor of each.

    Use it to see how deep fine-tuning went, whether frozen layers stayed as they were, and whether a change is of low
    rank, so that an adapter would have done.

    Parameters
    ----------
    before, after : folder, state dict or module
        Two models with equal names and shapes; a folder and a module are matched by name.
    energy : float, optional
        Share of the squared norm that `rank_at_energy` asks for, 0 to 1; 0.99 by default. None leaves both ranks out,
        which is faster.
    largest_rank : int, default 2048
        Matrices with both sides longer are passed over for ranks: the cost grows with the cube of the shorter side.

    Returns
    -------
    WeightDifference
        Floating tensors only.

    Raises
    ------
    InputError
        The models do not agree (all mismatches listed), have an unmerged adapter, or no floating tensor.
    NonFiniteError
        NaN or infinity in one of them.

    Notes
    -----
    Norms and products are summed in float64. Noise of rounding in a (m, n) matrix has singular values of about
    ``eps rms (sqrt(m) + sqrt(n))``, and `rank` counts what lies above.

    Examples
    --------
    >>> before, after = {"w": torch.eye(3)}, {"w": torch.eye(3) + torch.ones(3, 3)}
    >>> row = weight_difference(before, after).tensors[0]
    >>> row.rank, row.changed, round(row.norm, 6)
    (1, 1.0, 3.0)
    """
    if energy is not None:
        check_fraction(energy, name="energy")
    old, new = _matched(open_weights(before), open_weights(after))
    names = [name for name in agreed_names([old, new]) if old.dtype(name).is_floating_point]
    if not names:
        raise InputError(message("models without floating tensors", "weights", "check what was passed"))
    return WeightDifference(tuple(_tensor(old, new, name, energy, largest_rank) for name in names))


def _matched(old: WeightSource, new: WeightSource) -> tuple[WeightSource, WeightSource]:
    if isinstance(old, FolderWeights) and not isinstance(new, FolderWeights):
        return renamed(old, new.names)[0], new
    return old, renamed(new, old.names)[0]


def _tensor(
    old: WeightSource, new: WeightSource, name: str, energy: float | None, largest_rank: int
) -> TensorDifference:
    wide = torch.float64 if torch.float64 in (old.dtype(name), new.dtype(name)) else torch.float32
    a = check_finite(old.read(name).to(wide), name=name, origin=old.origin)
    b = check_finite(new.read(name).to(wide), name=name, origin=new.origin)
    difference = b - a
    count = difference.numel()
    changed = int(torch.count_nonzero(difference))
    norms = [math.sqrt(inner_product(tensor, tensor)) for tensor in (a, b, difference)]
    product = inner_product(a, b)
    ranks: tuple[int | None, int | None] = (None, None)
    if energy is not None and a.ndim >= 2 and count and min(_matrix(a).shape) <= largest_rank:
        stored = max(torch.finfo(source.dtype(name)).eps for source in (old, new))
        ranks = _ranks(_matrix(difference), energy, stored * max(norms[0], norms[1]) / math.sqrt(count))
    absolute = difference.abs()
    return TensorDifference(
        name=name,
        layer=layer_of(name),
        entries=count,
        norm_before=norms[0],
        norm_after=norms[1],
        norm=norms[2],
        relative=_relative(norms[2], norms[0]),
        mean_absolute=float(absolute.sum(dtype=torch.float64)) / count if count else 0.0,
        largest=float(absolute.max()) if count else 0.0,
        cosine=_cosine(product, norms[0], norms[1], changed),
        changed=changed / count if count else 0.0,
        rank_at_energy=ranks[0],
        rank=ranks[1],
    )


def _relative(norm: float, before: float) -> float:
    return norm / before if before else (math.inf if norm else 0.0)


def _cosine(product: float, a: float, b: float, changed: int | float) -> float:
    if not changed:
        return 1.0
    return max(-1.0, min(1.0, product / (a * b))) if a and b else 0.0


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(tensor.shape[0], -1)


def _ranks(difference: torch.Tensor, energy: float, noise: float) -> tuple[int, int]:
    """Ranks from the eigenvalues of the smaller Gram matrix, summed in float64 over blocks of rows."""
    rows, columns = difference.shape
    tall = difference if rows >= columns else difference.T
    gram = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64)
    for start in range(0, tall.shape[0], _ROWS):
        block = tall[start : start + _ROWS].double()
        gram += block.T @ block
    values = torch.linalg.eigvalsh(gram).flip(0).clamp_min(0)
    total = float(values.sum())
    if total == 0:
        return 0, 0
    held = torch.cumsum(values, 0) / total
    # Squaring loses half the digits: what lies below 1e-7 of the largest singular value is the method's own noise.
    floor = max(noise * (math.sqrt(rows) + math.sqrt(columns)), 1e-7 * math.sqrt(float(values[0])))
    return int((held < energy - 1e-12).sum()) + 1, int((values.sqrt() > floor).sum())


def _sum_up(layer: str, rows: list[TensorDifference]) -> TensorDifference:
    entries = sum(row.entries for row in rows)
    before, after, norm = (
        math.sqrt(sum(getattr(row, field) ** 2 for row in rows)) for field in ("norm_before", "norm_after", "norm")
    )
    changed = sum(row.changed * row.entries for row in rows)
    # |a|^2 + |b|^2 - |b - a|^2 is twice the product.
    product = (before**2 + after**2 - norm**2) / 2
    return TensorDifference(
        name=layer,
        layer=layer,
        entries=entries,
        norm_before=before,
        norm_after=after,
        norm=norm,
        relative=_relative(norm, before),
        mean_absolute=sum(row.mean_absolute * row.entries for row in rows) / entries if entries else 0.0,
        largest=max(row.largest for row in rows),
        cosine=_cosine(product, before, after, changed),
        changed=changed / entries if entries else 0.0,
    )
