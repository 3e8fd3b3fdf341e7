"""Vectors described by their similarities to anchors: coordinates that two encoders share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.errors import EncoderMismatchError, InputError, message
from orthant.estimator import check_is_fitted
from orthant.kernels.clustering.kmeans import kmeans
from orthant.kernels.distances import norms
from orthant.transforms.alignment.spaces import SpaceMap, as_pairs, unit_rows
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["RelativeRepresentation"]

_KIND = "transform.relative"
_SELECTIONS = ("uniform", "spread", "medoids", "first")
_SPACES = ("relative", "target")


class RelativeRepresentation(SpaceMap):
    """Describe every vector by its cosines to anchor items, which rotations and rescalings of the space leave alone.

    A classifier or an index made on such coordinates of one encoder serves another that saw the same anchors, with
    nothing trained. The coordinates are coarser than the vectors, so compare with `Procrustes`, which needs the same
    pairs, before you settle.

    Parameters
    ----------
    anchors : int, optional
        How many of the fitted rows become anchors. A few dozen lose detail, many cost one product each; left out, as
        many as there are dimensions, or rows where those are fewer.
    selection : {"uniform", "spread", "medoids", "first"}, default "uniform"
        Drawn evenly, each as far as possible from those before, the rows nearest to k-means centroids, or the first
        rows as given (for lists that were chosen by hand).
    center : bool, default False
        Subtract each space's own mean first. Offsets then cancel as well, and spaces in which all cosines are near 1
        become usable.
    space : {"relative", "target"}, default "relative"
        What ``transform`` gives: cosines to the anchors, or the row of the target space that has these cosines to its
        own anchors, by least squares. The latter makes an ordinary map between two spaces of it.
    ridge : float, default 1.0
        Penalty of that least squares, as a share of the mean energy of the anchors. Far smaller follows what the two
        encoders do not share, far larger shrinks all rows to a few directions. Without
        effect, and therefore left alone, for ``space="relative"``.
    seed : int, default 0
        Of the choice of anchors.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    anchor_rows_ : ndarray of shape (m,), int64
        Which of the fitted rows are anchors.
    anchors_ : ndarray of shape (m, d_source), float32
        Anchors of the source space, at length 1.
    target_anchors_ : ndarray of shape (m, d_target), float32
        The same items in the target space; those of the source where no target was given.
    source_mean_, target_mean_ : ndarray of shape (d_source,) and (d_target,), float32
        What is subtracted; zeros without centring.
    decoder_ : ndarray of shape (m, d_target), float32
        From cosines to rows of the target space; no rows for ``space="relative"``.

    Notes
    -----
    ``r(x) = (cos(x, a_1), ..., cos(x, a_m))``. Back in the target space, ``y = l (A^T A + r I)^-1 A^T r(x)`` with A
    the target's anchors and l the mean length of the target's rows about their mean. Cosines between relative vectors
    are not those between the vectors.
    Cost: O(n m d) to transform; choosing anchors that are spread O(n m d), medoids some rounds of that.

    References
    ----------
    Moschella, Maiorca, Fumero, Norelli, Locatello, Rodolà: Relative representations enable zero-shot latent space
    communication. ICLR 2023, arXiv 2209.15430, section 3.
    Maiorca, Moschella, Fumero, Locatello, Rodolà: Latent space translation via inverse relative projection.
    arXiv 2406.15057, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = rng.standard_normal((50, 4)).astype(np.float32)
    >>> new = 3 * old @ np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    >>> shared = RelativeRepresentation(anchors=20).fit(old, new)
    >>> bool(np.allclose(shared.transform(old), shared.transform_target(new), atol=1e-5))
    True
    """

    _kind: ClassVar[str] = _KIND
    _arrays: ClassVar[tuple[str, ...]] = (
        "anchor_rows",
        "anchors",
        "target_anchors",
        "source_mean",
        "target_mean",
        "decoder",
    )

    anchor_rows_: IdArray
    anchors_: FloatArray
    target_anchors_: FloatArray
    source_mean_: FloatArray
    target_mean_: FloatArray
    decoder_: FloatArray

    def __init__(
        self,
        *,
        anchors: int | None = None,
        selection: str = "uniform",
        center: bool = False,
        space: str = "relative",
        ridge: float = 1.0,
        seed: int = 0,
        source: str | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(source=source, target=target)
        self.anchors = anchors
        self.selection = selection
        self.center = center
        self.space = space
        self.ridge = ridge
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None) -> RelativeRepresentation:
        """Choose the anchors, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space from which anchors are chosen.
        y : array-like of shape (n, d_target), optional
            The same items in the target space (parallel anchors); left out, one space is described alone.

        Returns
        -------
        RelativeRepresentation
            Self.

        Raises
        ------
        InputError
            Fewer than two rows or anchors, unequal lengths, an anchor of length 0, more anchors than rows, NaN or
            infinity, or ``space="target"`` without target rows.
        """
        check_choice(self.space, _SPACES, name="space")
        check_choice(self.selection, _SELECTIONS, name="selection")
        if y is None and self.space == "target":
            raise InputError(message("space='target' without target rows", "pairs", "pass y, or space='relative'"))
        one_space = y is None
        source, target = as_pairs(X, X if one_space else y, name="RelativeRepresentation")
        count = min(len(source), max(2, source.shape[1]))
        if self.anchors is not None:
            count = check_count(self.anchors, name="anchors", minimum=2, maximum=len(source))
        self.source_mean_, self.target_mean_ = (_mean(side, bool(self.center)) for side in (source, target))
        centred = source - self.source_mean_
        rng = np.random.default_rng(check_count(self.seed, name="seed", minimum=0))
        self.anchor_rows_ = np.sort(_select(unit_rows(centred), count, self.selection, rng))
        self.anchors_ = self._directions(source[self.anchor_rows_], self.source_mean_, "source")
        self.target_anchors_ = self._directions(target[self.anchor_rows_], self.target_mean_, "target")
        self.decoder_ = self._decoder(float(norms(target - self.target_mean_).mean()))
        self.n_features_in_ = source.shape[1]
        self.n_features_out_ = target.shape[1] if self.space == "target" else count
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return rows of the source space by their cosines to the anchors, or as rows of the target space.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Vectors.

        Returns
        -------
        ndarray of shape (n, m), or (n, d_target) for ``space="target"``, float32
            What both sides have in common.
        """
        check_is_fitted(self)
        rows = as_vectors(X, dim=self.n_features_in_)
        cosines: FloatArray = unit_rows(rows - self.source_mean_) @ self.anchors_.T
        if self.space == "target":
            cosines = np.matmul(cosines, self.decoder_) + self.target_mean_
        return cosines

    def transform_target(self, Y: npt.ArrayLike) -> FloatArray:
        """Return rows of the target space in the same coordinates as ``transform`` gives.

        Parameters
        ----------
        Y : array-like of shape (n, d_target)
            Vectors of the target space.

        Returns
        -------
        ndarray of shape (n, m), or (n, d_target) for ``space="target"``, float32
            Cosines to the target's anchors; for ``space="target"`` the rows as they are.
        """
        check_is_fitted(self)
        rows = as_vectors(Y, dim=self.target_anchors_.shape[1])
        if self.space == "target":
            return rows.copy()
        return np.matmul(unit_rows(rows - self.target_mean_), self.target_anchors_.T)

    def check_anchors(self, other: RelativeRepresentation) -> None:
        """Raise unless another representation has the same anchor items in the same order.

        Parameters
        ----------
        other : RelativeRepresentation
            Fitted on its own, on the same list of items.

        Raises
        ------
        EncoderMismatchError
            Different anchors: coordinates of the two mean different things.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        if not np.array_equal(self.anchor_rows_, other.anchor_rows_):
            raise EncoderMismatchError(
                message(
                    f"{len(self.anchor_rows_)} and {len(other.anchor_rows_)} anchors that are not the same items",
                    "the same items in the same order",
                    "fit both sides at once: fit(source, target)",
                )
            )

    def _directions(self, rows: FloatArray, mean: FloatArray, side: str) -> FloatArray:
        if not self.center:
            as_vectors(rows, name=f"{side} anchors", nonzero=True)
        return unit_rows(rows - mean)

    def _decoder(self, length: float) -> FloatArray:
        wide = self.target_anchors_.astype(np.float64)
        if self.space == "relative":
            return np.zeros((0, wide.shape[1]), dtype=np.float32)
        ridge = check_fraction(self.ridge, name="ridge", high=1e6)
        gram = wide.T @ wide
        gram += (ridge * np.trace(gram) / len(gram) + np.finfo(np.float32).eps) * np.eye(len(gram))
        return np.ascontiguousarray(length * np.linalg.solve(gram, wide.T).T, dtype=np.float32)


def _mean(rows: FloatArray, wanted: bool) -> FloatArray:
    mean = rows.mean(axis=0, dtype=np.float64) if wanted else np.zeros(rows.shape[1])
    return mean.astype(np.float32)


def _select(rows: FloatArray, count: int, selection: str, rng: np.random.Generator) -> IdArray:
    if selection == "first" or count == len(rows):
        return np.arange(count)
    if selection == "uniform":
        return rng.choice(len(rows), count, replace=False)
    if selection == "spread":
        return _spread(rows, count, rng)
    return _medoids(rows, count, rng)


def _spread(rows: FloatArray, count: int, rng: np.random.Generator) -> IdArray:
    """Each anchor is the row whose nearest anchor so far is farthest away."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = rows @ rows[chosen[0]]
    nearest[chosen[0]] = np.inf
    for _ in range(1, count):
        chosen.append(int(nearest.argmin()))
        np.maximum(nearest, rows @ rows[chosen[-1]], out=nearest)
        nearest[chosen[-1]] = np.inf
    return np.array(chosen, dtype=np.int64)


def _medoids(rows: FloatArray, count: int, rng: np.random.Generator) -> IdArray:
    """The row nearest to each centroid; what is then still missing is drawn evenly."""
    centroids = kmeans(rows, count, seed=rng, threads=1).centroids
    nearest = (rows @ centroids.T - 0.5 * (centroids * centroids).sum(axis=1)).argmax(axis=0)
    chosen = np.unique(nearest)
    others = np.setdiff1d(np.arange(len(rows)), chosen)
    return np.concatenate([chosen, rng.choice(others, count - len(chosen), replace=False)])
