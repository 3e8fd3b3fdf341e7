"""MinHash signatures of sets, and the candidates that bands of them bring together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from orthant.collection.duplicates.shingles import ShingleSets
from orthant.errors import InputError, message
from orthant.types import IdArray

__all__ = ["PERMUTATIONS", "Bands", "candidates", "choose_bands", "signatures"]

PERMUTATIONS = 128
"""Hash functions per signature: 512 bytes per text, and some 0.04 of error of a similarity told by them alone."""

_WANTED = 0.99
_MAX_CANDIDATES = 50_000_000


class Bands(tuple[int, int]):
    """How a signature is cut: a number of bands, and the rows of each.

    Examples
    --------
    >>> Bands((25, 5)).chance(0.8) > 0.99
    True
    """

    def chance(self, similarity: float) -> float:
        """Return the probability that two sets of a similarity agree in at least one band.

        Parameters
        ----------
        similarity : float
            Their Jaccard similarity, 0 to 1.

        Returns
        -------
        float
            ``1 - (1 - similarity ** rows) ** bands``.
        """
        bands, rows = self
        return float(1.0 - (1.0 - similarity**rows) ** bands)


def choose_bands(threshold: float, *, permutations: int = PERMUTATIONS) -> Bands:
    """Return the longest bands that bring a pair at the threshold together with a probability of 0.99.

    Parameters
    ----------
    threshold : float
        Least similarity of interest, above 0. Small ones need short bands, which bring many strangers together.
    permutations : int, default 128
        Hash functions at hand.

    Returns
    -------
    Bands
        Number of bands, rows per band; one row per band where none reaches 0.99.

    Examples
    --------
    >>> choose_bands(0.8), choose_bands(0.5)
    ((21, 6), (42, 3))
    """
    for rows in range(permutations, 1, -1):
        bands = Bands((permutations // rows, rows))
        if bands.chance(threshold) >= _WANTED:
            return bands
    return Bands((permutations, 1))


def signatures(
    sets: ShingleSets,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    advance: Callable[[float], None] | None = None,
) -> npt.NDArray[np.uint32]:
    """Return MinHash signatures: two sets agree in each value with the probability of their Jaccard similarity.

    Parameters
    ----------
    sets : ShingleSets
        Not empty sets.
    permutations : int, default 128
        Values per signature. Fewer need smaller bands, and so bring more strangers together.
    seed : int, default 0
        Of the hash functions.
    advance : callable of float, optional
        Told how many further hash functions are done.

    Returns
    -------
    ndarray of shape (n, permutations), uint32
        The smallest hash value of each set under each function.

    Notes
    -----
    Cost: one pass over all shingles per hash function.

    References
    ----------
    Broder: On the resemblance and containment of documents. SEQUENCES 1997.
    """
    rng = np.random.default_rng(seed)
    factors = rng.integers(1, 1 << 63, size=permutations, dtype=np.uint64) | np.uint64(1)
    shifts = rng.integers(0, 1 << 63, size=permutations, dtype=np.uint64)
    mixed = _mixed(sets.values.astype(np.uint64))
    out = np.empty((len(sets), permutations), dtype=np.uint32)
    for i, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
        values = ((mixed * factor + shift) >> np.uint64(32)).astype(np.uint32)
        out[:, i] = np.minimum.reduceat(values, sets.offsets[:-1]) if len(sets) else 0
        if advance is not None:
            advance(1)
    return out


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread shingle numbers over 64 bits: numbers in a row would make multiples in a row (splitmix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def candidates(marks: npt.NDArray[np.uint32], bands: Bands) -> tuple[IdArray, IdArray]:
    """Return the pairs of sets that agree in at least one band.

    Parameters
    ----------
    marks : ndarray of shape (n, permutations), uint32
        Signatures.
    bands : Bands
        How they are cut.

    Returns
    -------
    left, right : ndarray of shape (m,), int64
        Positions, ``left < right``, each pair once.

    Raises
    ------
    InputError
        More than 50 million pairs agree in one band: the threshold is too low for these texts.
    """
    count, rows = bands
    keys: list[IdArray] = []
    n = len(marks)
    for band in range(count):
        part = np.ascontiguousarray(marks[:, band * rows : (band + 1) * rows])
        _, bucket = np.unique(part.view(np.dtype((np.void, part.itemsize * rows))).ravel(), return_inverse=True)
        sizes = np.bincount(bucket)
        total = int((sizes * (sizes - 1) // 2).sum())
        if total > _MAX_CANDIDATES:
            raise InputError(
                message(
                    f"{total:,} pairs of texts that look alike to one band",
                    f"at most {_MAX_CANDIDATES:,}",
                    "raise the threshold, or narrow the records with where",
                )
            )
        order = np.argsort(bucket, kind="stable")
        grouped = bucket[order]
        for step in range(1, int(sizes.max(initial=0))):
            same = np.flatnonzero(grouped[step:] == grouped[:-step])
            a, b = order[same], order[same + step]
            keys.append(np.minimum(a, b) * n + np.maximum(a, b))
        if len(keys) > 64:
            keys = [np.unique(np.concatenate(keys))]
    joined = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))
    return joined // max(n, 1), joined % max(n, 1)
