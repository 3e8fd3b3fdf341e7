"""Which fields made two records similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.records.rules import Path, shown
from orthant.encoders.records.walking import Leaf
from orthant.types import FloatArray

__all__ = ["Contribution", "RecordAccount", "account"]


@dataclass(frozen=True)
class Contribution:
    """What one path added to a similarity.

    Attributes
    ----------
    path : str
        Such as ``"authors[0].name"``.
    a, b : tuple
        The values that stood there; several in a list without order.
    share : float
        Part of the cosine.
    """

    path: str
    a: tuple[Any, ...]
    b: tuple[Any, ...]
    share: float


@dataclass(frozen=True)
class RecordAccount:
    """A similarity, taken apart.

    Attributes
    ----------
    similarity : float
        Cosine of the two vectors.
    contributions : tuple of Contribution
        Paths that both records have, largest share first.
    crosstalk : float
        The rest: chance resemblance between parts of different paths, about 1/sqrt(dim).
    only_a, only_b : tuple of str
        Paths that only one of them has.
    """

    similarity: float
    contributions: tuple[Contribution, ...]
    crosstalk: float
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line per path."""
        lines = [f"similarity {self.similarity:.3f}"]
        lines += [f"  {one.share:+.3f}  {one.path}: {_listed(one.a)} | {_listed(one.b)}" for one in self.contributions]
        return "\n".join([*lines, f"  {self.crosstalk:+.3f}  crosstalk"])


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(f"{value!r:.40}" for value in values)


def account(
    batch: Sequence[Leaf],
    owners: npt.NDArray[np.int64],
    vectors: FloatArray,
    index: npt.NDArray[np.int64],
    sums: FloatArray,
) -> RecordAccount:
    """Take the cosine of two records apart by paths, which is possible since turning keeps inner products.

    Parameters
    ----------
    batch : sequence of Leaf
        m leaves of both.
    owners : ndarray of shape (m,), int64
        0 for the first, 1 for the second.
    vectors : ndarray of shape (u, dim), float32
        Distinct leaf vectors.
    index : ndarray of shape (m,), int64
        Row of each leaf.
    sums : ndarray of shape (2, dim), float32
        The two records, not normalised.

    Returns
    -------
    RecordAccount
        Shares and crosstalk add up to the similarity.
    """
    held: tuple[dict[Path, list[int]], dict[Path, list[int]]] = ({}, {})
    for i, leaf in enumerate(batch):
        held[owners[i]].setdefault(leaf.path, []).append(i)
    wide = sums.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    scale = 1 / max(float(lengths[0] * lengths[1]), 1e-30)
    both = [path for path in held[0] if path in held[1]]
    found = []
    for path in both:
        sides = [_side(batch, vectors, index, members[path]) for members in held]
        values = [tuple(batch[i].raw for i in members[path]) for members in held]
        found.append(Contribution(shown(path), values[0], values[1], float(sides[0] @ sides[1]) * scale))
    similarity = float(wide[0] @ wide[1]) * scale
    return RecordAccount(
        similarity=similarity,
        contributions=tuple(sorted(found, key=lambda one: (-one.share, one.path))),
        crosstalk=similarity - sum(one.share for one in found),
        only_a=tuple(sorted(shown(path) for path in held[0] if path not in held[1])),
        only_b=tuple(sorted(shown(path) for path in held[1] if path not in held[0])),
    )


def _side(
    batch: Sequence[Leaf], vectors: FloatArray, index: npt.NDArray[np.int64], members: list[int]
) -> npt.NDArray[np.float64]:
    factors = np.array([batch[i].factor for i in members])
    return np.asarray(factors @ vectors[index[members]].astype(np.float64))
